"""The poll timer advances what is due."""

from dataclasses import replace
from typing import Any

import pytest

from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import SigningRequest
from certrelay.keyvault.client import Vault
from certrelay.operations import find
from certrelay.renewal import sweep
from certrelay.storage.operation import State
from tests.world import ALIAS, KEY, World


def test_the_poll_timer_advances_what_is_due_and_one_crash_stops_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check 13."""
    names = [world.name(f"-{number}") for number in range(3)]
    for name in names:
        asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY)
        creations.create(world.services, ALIAS, name, asked, requested_by="test")
    create = world.vault.create

    def create_or_crash(name: str, *wanted: Any) -> Any:
        if name == names[1]:
            raise ZeroDivisionError
        return create(name, *wanted)

    with monkeypatch.context() as patched:
        patched.setattr(world.vault, "create", create_or_crash)
        assert sweep.advance_due(world.services) == 3
    states = [find.latest(world.services, ALIAS, name).state for name in names]
    assert states == [State.COMPLETED, State.REQUESTED, State.COMPLETED]
    assert world.finish(names[1]).state is State.COMPLETED
    assert sweep.advance_due(world.services) == 0


def test_a_poll_that_has_no_time_left_leaves_the_rest_to_the_next_one(world: World) -> None:
    names = [world.name(f"-{number}") for number in range(3)]
    for name in names:
        asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY)
        creations.create(world.services, ALIAS, name, asked, requested_by="test")
    signed = world.ca.signed

    def slow(request: SigningRequest) -> bytes:
        world.clock.advance(200)
        return signed(request)

    world.ca.issue = slow
    assert sweep.advance_due(world.services) == 3
    assert len(list(world.services.storage.worklist())) == 2
    for _ in range(2):
        sweep.advance_due(world.services)
    assert [find.latest(world.services, ALIAS, name).state for name in names] == [State.COMPLETED] * 3


def test_an_operation_that_crashes_at_every_look_of_the_timer_ends_at_its_deadline(world: World) -> None:
    """Its message in the queue is lost, so that no poison queue ends it."""
    name = world.name()
    asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY)
    opened = creations.create(world.services, ALIAS, name, asked, requested_by="test")
    vault = Vault(world.vault._client)

    def bug(*_arguments: object) -> None:
        raise RuntimeError("nobody foresaw this")

    vault.create = bug  # type: ignore[assignment,method-assign]
    broken = replace(world.services, vault=lambda alias: vault)
    sweep.advance_due(broken)
    current = world.services.storage.open(ALIAS, name)
    assert current is not None
    assert current.crashes == 1, "before the deadline it is only counted"
    world.clock.advance((opened.deadline - world.services.now()).total_seconds() + 1)
    for _ in range(2):
        sweep.advance_due(broken)
    assert world.services.storage.open(ALIAS, name) is None
    ended = find.latest(world.services, ALIAS, name)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert ended.failure.code == "TimedOut"
