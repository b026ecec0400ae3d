"""Cancellation, an answer that an operator brings, messages in the poison queue."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certrelay.connectors.base import Pending, SigningRequest
from certrelay.errors import Invalid, NotFound, Unverified
from certrelay.operations import intervene
from certrelay.storage.operation import State
from tests.operations.creations import create
from tests.world import ALIAS, World


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
