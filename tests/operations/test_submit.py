"""Opening an operation: one for each certificate, found again by its idempotency key."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from certrelay.access import ownership
from certrelay.callers import Caller, Role
from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.errors import Conflict, Invalid, NotFound
from certrelay.operations import find
from certrelay.setting_models import Grant
from certrelay.storage.operation import MAX_COLUMN, Operation, State
from certrelay.storage.owners import Owner
from tests.operations.creations import asked, create
from tests.world import ALIAS, World

GRANT = Grant(principal="Requester", role="Requester")


def test_the_same_request_finds_the_open_operation_and_another_one_is_refused(world: World) -> None:
    name = world.name()
    first = create(world, name)
    assert create(world, name).id == first.id
    with pytest.raises(Conflict) as refused:
        create(world, name, dns_names=("other.contoso.example",))
    assert first.id in str(refused.value)


def test_an_idempotency_key_finds_the_ended_operation(world: World) -> None:
    name = world.name()

    def ask() -> Operation:
        key = "order-1"
        return creations.create(world.services, ALIAS, name, asked(name), requested_by="t", idempotency_key=key)

    first = ask()
    world.finish(name)
    assert ask().id == first.id
    assert len(world.versions(name)) == 1


@pytest.mark.slow
def test_many_callers_at_once_get_one_operation(world: World) -> None:
    """Check 7."""
    for turn in range(10):
        name = world.name(f"-{turn}")
        with ThreadPoolExecutor(3) as pool:
            found = {operation.id for operation in pool.map(lambda _, name=name: create(world, name), range(3))}
        assert len(found) == 1


def test_an_idempotency_key_finds_its_operation_while_another_one_is_open(world: World) -> None:
    name = world.name()

    def ask(key: str, **changes: object) -> Operation:
        wanted = asked(name, **changes)
        return creations.create(world.services, ALIAS, name, wanted, requested_by="t", idempotency_key=key)

    first = ask("order-1")
    world.finish(name)
    second = ask("order-2", dns_names=("second.contoso.example",))
    assert ask("order-1").id == first.id
    assert ask("order-2", dns_names=("second.contoso.example",)).id == second.id
    with pytest.raises(Conflict):
        ask("order-1", dns_names=("third.contoso.example",))


def large(length: int) -> CertificateSpec:
    """A request with names that are so long together."""
    uris = [f"https://contoso.example/{number}/" for number in range(60)]
    rest = length - sum(map(len, uris))
    uris = [uri + "x" * (rest // len(uris) + (number < rest % len(uris))) for number, uri in enumerate(uris)]
    return CertificateSpec(authority="test-ca", dns_names=("a.contoso.example",), uris=tuple(uris))


def test_a_request_that_is_too_large_for_a_row_is_refused_and_not_put_off(world: World) -> None:
    """Check 37. The names alone may be longer than what a column holds. Whoever is refused owns nothing."""
    name, caller = world.name(), Caller("alice", Role.REQUESTER, ("alice",), grants=(GRANT,))
    services = replace(world.services, caller=caller)
    completed = creations.complete(services, ALIAS, name, large(5000))
    length = 5000 + MAX_COLUMN - len(json.dumps(completed.to_json()).encode())
    with pytest.raises(Invalid, match="too large to be stored; shorten it"):
        creations.create(services, ALIAS, name, large(length + 1), requested_by="alice")
    assert world.vault.pending(name) is None
    assert ownership.owner(world.services, ALIAS, name) is None
    assert creations.create(services, ALIAS, name, large(length), requested_by="alice").state is State.REQUESTED
    assert ownership.owner(world.services, ALIAS, name) == Owner("alice")


@pytest.mark.parametrize("ended", [True, False])
def test_an_idempotency_key_and_an_id_find_their_operation_whatever_the_case_of_the_name(
    world: World, ended: bool
) -> None:
    name = world.name("-Web")

    def ask(name: str, key: str, **changes: object) -> Operation:
        wanted = asked("case", **changes)
        return creations.create(world.services, ALIAS, name, wanted, requested_by="t", idempotency_key=key)

    first = ask(name, "order-1")
    if ended:
        world.finish(name)
    assert ask(name.upper(), "order-1").id == first.id
    assert find.by_id(world.services, first.id.replace(name, name.lower())).id == first.id
    world.finish(name)
    assert len(world.versions(name)) == 1
    assert ask(name.lower(), "order-2", dns_names=("other.contoso.example",)).id != first.id
    with pytest.raises(NotFound):
        find.by_id(world.services, first.id[:-1] + ("0" if first.id[-1] != "0" else "1"))
