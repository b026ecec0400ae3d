"""The facts of a step: whose pending operation, and whose version, is in Key Vault."""

from dataclasses import replace
from datetime import timedelta

from certrelay.operations import lease
from certrelay.operations.decide import Facts
from certrelay.operations.gather import gather, gather_anew
from certrelay.storage.operation import Kind, Operation, State
from tests.operations.creations import create
from tests.pki.builders import Authority, der
from tests.world import World

YEARS = timedelta(days=3650)


def submitted(world: World, name: str) -> Operation:
    """At the authority, after a version that has another key."""
    create(world, name)
    world.finish(name)
    world.ca.wait = 99
    create(world, name, force=True)
    found = world.advance(name)
    assert found is not None
    assert found.state is State.SUBMITTED
    return replace(found, pending=world.vault.pending(name))


def somebody_begins(world: World, name: str) -> None:
    policy = world.vault.call("GET", f"/certificates/{name}/policy")
    world.vault.call("POST", f"/certificates/{name}/create", {"policy": {**policy, "issuer": {"name": "Unknown"}}})


def somebody_deletes(world: World, name: str) -> None:
    world.vault.call("DELETE", f"/certificates/{name}/pending")


def test_the_newest_version_is_ours_only_if_it_has_our_key(world: World) -> None:
    name = world.name()
    issued = replace(submitted(world, name), state=State.ISSUED, chain=(der(Authority.root().certificate),))
    somebody_deletes(world, name)
    assert len(world.versions(name)) == 1
    assert gather_anew(world.services, issued) == Facts(None, "")


def test_our_version_is_found_although_somebody_has_begun_the_next_one(world: World) -> None:
    name = world.name()
    create(world, name)
    merged = replace(world.finish(name), state=State.ISSUED)
    somebody_begins(world, name)
    [version] = world.versions(name)
    assert version.endswith(f"/{gather_anew(world.services, merged).merged_version}")


def test_only_the_first_try_does_not_look_for_a_pending_operation(world: World) -> None:
    name = world.name()
    requested = create(world, name)
    world.vault.call("POST", f"/certificates/{name}/create", {"policy": requested.request.policy})
    assert gather(world.services, requested).pending is None
    assert gather_anew(world.services, requested).pending is not None
    assert gather(world.services, replace(requested, crashes=1)).pending is not None


def test_an_order_of_key_vault_is_read_again_each_time_and_one_of_ours_is_not(world: World) -> None:
    name = world.name()
    found = submitted(world, name)
    somebody_deletes(world, name)
    assert gather(world.services, found).pending == found.pending
    by_key_vault = replace(found, request=replace(found.request, authority=None))
    assert gather(world.services, by_key_vault).pending is None


def test_an_import_that_was_cut_off_has_succeeded_only_if_its_certificate_is_the_newest(world: World) -> None:
    name = world.name()
    create(world, name)
    made = replace(world.finish(name), kind=Kind.IMPORT, state=State.REQUESTED)
    assert gather(world.services, replace(made, chain=(b"another",))) == Facts(None, "")


def test_a_request_whose_time_only_a_wrong_clock_can_have_set_is_due(world: World) -> None:
    name = world.name()
    opened = create(world, name)
    wrong = {"requested_at": opened.requested_at + YEARS, "next_attempt_at": opened.requested_at + YEARS}
    assert lease.is_due(replace(opened, **wrong), world.services.now())  # type: ignore[arg-type]
