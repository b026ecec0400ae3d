"""Cancellation, an answer that an operator brings, messages in the poison queue."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certrelay.certificates import create as creations
from certrelay.certificates import edit
from certrelay.connectors.base import Pending, SigningRequest
from certrelay.errors import Conflict, Invalid, NameBusy, NotFound, NotReady, Unverified
from certrelay.operations import find, intervene, lease, signing
from certrelay.storage.operation import CertificateRequest, Kind, Operation, State, operation_id
from tests.operations.creations import asked, create, row
from tests.world import ALIAS, DAY, KEY, Killed, World

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("step", ["requested", "submitted"])
def test_a_canceled_operation_ends_canceled_and_frees_the_name(world: World, step: str) -> None:
    """Check 41."""
    name = world.name()
    world.ca.wait = 3
    create(world, name)
    if step == "submitted":
        world.advance(name)
    assert intervene.cancel(world.services, ALIAS, name).cancel_requested
    assert intervene.cancel(world.services, ALIAS, name).cancel_requested, "twice is no error"
    ended = world.finish(name)
    assert ended.state is State.CANCELED
    assert world.vault.pending(name) is None
    assert bool(world.ca.canceled) is (step == "submitted")
    create(world, name)
    assert world.finish(name).state is State.COMPLETED


def test_a_cancellation_while_a_worker_is_busy_is_kept(world: World) -> None:
    """Check 41: the worker's write and the caller's meet in one row."""
    name = world.name()

    def canceled_meanwhile(request: SigningRequest) -> bytes:
        intervene.cancel(world.services, ALIAS, name)
        return world.ca.signed(request)

    world.ca.issue = canceled_meanwhile
    create(world, name)
    ended = world.finish(name)
    assert ended.state is State.CANCELED
    assert (world.vault.get(name) or {}).get("cer") is None, "a late certificate is not merged"


def test_canceling_what_does_not_run_is_an_error(world: World) -> None:
    with pytest.raises(NotFound):
        intervene.cancel(world.services, ALIAS, world.name())


def test_a_message_in_the_poison_queue_closes_only_an_operation_that_crashed(world: World) -> None:
    """Check 10."""
    name = world.name()
    opened = create(world, name)
    assert not intervene.fail(world.services, ALIAS, name, opened.id), "it never crashed: the message is forged"
    world.services.storage.save(replace(opened, crashes=5))
    assert intervene.fail(world.services, ALIAS, name, opened.id)
    ended = world.services.storage.ended(ALIAS, name)[0]
    assert ended.failure is not None
    assert ended.failure.code == "Abandoned"
    assert world.services.storage.open(ALIAS, name) is None


def test_an_operator_may_bring_the_certificate(world: World) -> None:
    name = world.name()
    world.ca.answers = [Pending("by hand", retry_after=86_400)]
    create(world, name)
    world.advance(name)
    request = world.ca.seen[0]
    with pytest.raises(Invalid):
        intervene.provide_answer(world.services, ALIAS, name, b"nonsense")
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(Unverified):
        intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(request, public_key=stranger))
    ended = intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(request))
    assert ended.state is State.COMPLETED
    assert len(world.versions(name)) == 1


def waiting(world: World, name: str) -> SigningRequest:
    world.ca.answers = [Pending("by hand", retry_after=86_400)]
    create(world, name)
    world.advance(name)
    return world.ca.seen[-1]


def while_verified(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let this happen just before an answer is accepted."""
    verify = signing.accept

    def accept(*args: Any) -> Operation:
        act()
        return verify(*args)

    monkeypatch.setattr(signing, "accept", accept)


def test_an_answer_whose_operation_is_canceled_while_it_is_verified_is_not_merged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.name()
    request = waiting(world, name)
    while_verified(monkeypatch, lambda: intervene.cancel(world.services, ALIAS, name))
    with pytest.raises(Conflict, match="was canceled meanwhile, and the certificate was not merged") as caught:
        intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(request))
    assert caught.value.code == "NotWaiting"
    assert find.latest(world.services, ALIAS, name).state is State.CANCELED
    assert world.services.storage.open(ALIAS, name) is None
    assert world.vault.pending(name) is None


def test_an_answer_whose_operation_was_taken_away_while_it_is_verified_is_not_merged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.name()
    request = waiting(world, name)
    while_verified(
        monkeypatch,
        lambda: world.services.storage.save(lease.with_lease(row(world, name), world.services.now())),
    )
    with pytest.raises(NameBusy, match="try again"):
        intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(request))


def soft_delete(world: World, name: str) -> None:
    world.vault.call("DELETE", f"/certificates/{name}")


def lose_pending(world: World, name: str) -> None:
    pending = world.vault.pending(name)
    world.vault.delete_pending(name, pending.request_id if pending else "")


def cancel(world: World, name: str) -> None:
    intervene.cancel(world.services, ALIAS, name)


def give_up(world: World, name: str) -> None:
    """What the poison queue does; a wake-up may be in there although the poll timer goes on."""
    intervene.fail(world.services, ALIAS, name, row(world, name).id)


def refused(world: World, name: str) -> None:
    for act in (lambda: edit.delete(world.services, ALIAS, name),
                lambda: edit.delete_pending(world.services, ALIAS, name, force=True)):  # fmt: skip
        with pytest.raises(NameBusy):
            act()


@pytest.mark.parametrize("merged_by", ["the authority", "hand"])
@pytest.mark.parametrize(
    ("act", "after", "state"),
    [
        (cancel, False, State.COMPLETED),
        (cancel, True, State.COMPLETED),
        (give_up, False, State.COMPLETED),
        (give_up, True, State.COMPLETED),
        (refused, False, State.COMPLETED),
        (refused, True, State.COMPLETED),
        (soft_delete, True, State.COMPLETED),
        (soft_delete, False, State.FAILED),
        (lose_pending, False, State.FAILED),
    ],
)
def test_what_happens_during_a_merge_ends_as_key_vault_did(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[World, str], None],
    after: bool,
    state: State,
    merged_by: str,
) -> None:
    name = world.name()
    merge = world.vault.merge

    def merging(*args: Any) -> Any:
        if not after:
            act(world, name)
        bundle = merge(*args)
        if after:
            act(world, name)
        return bundle

    monkeypatch.setattr(world.vault, "merge", merging)
    if merged_by == "hand":
        request = waiting(world, name)
        ended = intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(request))
    else:
        opened = create(world, name)
        world.services.storage.save(replace(row(world, name), crashes=4))
        ended = world.finish(name)
        assert ended.id == opened.id
    assert (ended.state, bool(ended.version)) == (state, state is State.COMPLETED)
    assert world.services.storage.open(ALIAS, name) is None, "nothing is stuck"
    assert (ended.failure is None) is (state is State.COMPLETED)


def test_an_order_that_is_deleted_while_it_waits_is_canceled_at_the_authority(world: World) -> None:
    name = world.name()
    waiting(world, name)
    deleted = edit.delete_pending(world.services, ALIAS, name, force=False)
    assert deleted is not None
    assert (deleted.state, deleted.failure and deleted.failure.code) == (State.CANCELED, "Deleted")
    assert world.ca.canceled == ["by hand"]
    assert (world.vault.pending(name), world.services.storage.open(ALIAS, name)) == (None, None)


def test_an_order_is_not_deleted_while_the_authority_is_being_asked(world: World) -> None:
    name, asked = world.name(), []

    def meanwhile(request: SigningRequest) -> bytes:
        refused(world, name)
        asked.append(name)
        return world.ca.signed(request)

    world.ca.issue = meanwhile
    create(world, name)
    assert world.finish(name).state is State.COMPLETED
    assert asked == [name]


SELF = {**KEY, "issuer": {"name": "Self"}, "x509_props": {"subject": "CN=self.contoso.example"}}
OF_KEY_VAULT = {"authority": None, "dns_names": (), "policy": SELF}


@pytest.mark.parametrize(
    ("asked", "lost"),
    [({}, None), ({}, NotReady("lost")), ({}, Killed("dead")), (OF_KEY_VAULT, None), (OF_KEY_VAULT, NotReady("lost"))],
)
def test_an_operation_that_is_deleted_leaves_nothing_pending_in_key_vault(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], lost: BaseException | None
) -> None:
    name, made = world.name(), world.vault.create
    world.ca.wait = 3

    def creating(*args: Any) -> Any:
        pending = made(*args)
        if lost is not None:
            raise lost
        return pending

    create(world, name, **asked)
    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(world.vault, "create", creating)
        world.advance(name)
    if isinstance(lost, Killed):
        world.outlive_lease()
    deleted = edit.delete_pending(world.services, ALIAS, name, force=False)
    assert deleted is not None
    assert deleted.state is State.CANCELED
    assert world.vault.pending(name) is None
    world.clock.advance(DAY)
    assert (world.vault.get(name) or {}).get("cer") is None, "Key Vault issues nothing later"
    create(world, name, dns_names=("another.contoso.example",))
    assert world.finish(name).state is State.COMPLETED, "the name is free"


@pytest.mark.parametrize("tried", [False, True])
def test_what_somebody_else_has_pending_stays_when_an_operation_is_deleted(world: World, tried: bool) -> None:
    name = world.name()
    create(world, name)
    if tried:
        world.services.storage.save(replace(row(world, name), failed_at=world.services.now(), attempts=1))
    foreign = creations.complete(world.services, ALIAS, name, asked(name, dns_names=("foreign.contoso.example",)))
    theirs = world.vault.create(name, foreign.policy, {}, True)
    edit.delete_pending(world.services, ALIAS, name, force=False)
    assert world.vault.pending(name) == theirs


def test_an_import_that_is_canceled_asks_key_vault_for_nothing_pending(world: World) -> None:
    name, now = world.name(), world.services.now()
    policy: dict[str, Any] = {"issuer": {"name": "Unknown"}, "key_props": {"exportable": True}}
    begun = Operation(
        id=operation_id(ALIAS, name), vault=ALIAS, name=name, kind=Kind.IMPORT, state=State.REQUESTED,
        request=CertificateRequest(policy), requested_by="t", requested_at=now, deadline=now + timedelta(hours=1),
        next_attempt_at=now, crashes=1,
    )  # fmt: skip
    world.services.storage.insert(begun)
    world.server.requests.clear()
    edit.delete_pending(world.services, ALIAS, name, force=False)
    assert world.server.requests.counts() == {}
