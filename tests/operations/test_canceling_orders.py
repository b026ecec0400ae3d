"""An order that nobody waits for any more is withdrawn, however its operation ended."""

import logging
from datetime import timedelta

import pytest

from certrelay.connectors.base import ConnectorError, Issued, Outcome, Pending, Rejected, Unavailable
from certrelay.operations import intervene
from certrelay.storage.operation import State
from tests.operations.creations import create
from tests.world import ALIAS, World

PLACED = Pending("order-1", retry_after=60)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [Pending("order-1", retry_after=3600), Unavailable("out of order")])
def test_an_order_that_is_not_done_by_the_deadline_is_withdrawn(world: World, answer: Outcome) -> None:
    name = world.name()
    world.ca.answers = [PLACED, *[answer] * 200]
    create(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "TimedOut"
    assert set(world.ca.canceled) == {"order-1"}


@pytest.mark.parametrize("answer", [Rejected("no"), Issued(b"no certificate")])
def test_an_order_that_fails_is_withdrawn(world: World, answer: Outcome) -> None:
    name = world.name()
    world.ca.answers = [PLACED, answer]
    create(world, name)
    assert world.finish(name).state is State.FAILED
    assert world.ca.canceled == ["order-1"]


def test_a_crash_before_the_order_is_withdrawn_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()
    world.ca.answers = [PLACED, Rejected("no")]
    create(world, name)
    world.advance(name)
    with monkeypatch.context() as crash:
        crash.setattr(world.ca, "cancel", lambda reference: _die())
        with pytest.raises(KeyboardInterrupt):
            world.advance(name)
    world.outlive_lease()
    assert world.finish(name).state is State.FAILED
    assert world.ca.canceled == ["order-1"]


def test_an_order_is_withdrawn_when_somebody_brings_another_certificate_for_it(world: World) -> None:
    name = world.name()
    world.ca.answers = [PLACED]
    create(world, name)
    world.advance(name)
    ended = intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(world.ca.seen[0]))
    assert ended.state is State.COMPLETED
    assert world.ca.canceled == ["order-1"]


def _die() -> None:
    raise KeyboardInterrupt


def test_an_order_that_cannot_be_withdrawn_keeps_nobody_waiting_and_the_log_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(reference: str) -> None:
        raise ConnectorError("the record _acme-challenge.a.contoso.example is left behind")

    monkeypatch.setattr(world.ca, "cancel", refuse)
    name = world.name()
    world.ca.answers = [PLACED, Rejected("no")]
    create(world, name)
    with caplog.at_level(logging.WARNING):
        ended = world.finish(name)
    assert ended.state is State.FAILED
    assert ended.ended_at is not None
    assert ended.ended_at - ended.requested_at < timedelta(hours=1)
    assert "the record _acme-challenge.a.contoso.example is left behind" in caplog.text
