"""What Key Vault throttles is waited out for some seconds only."""

import pytest
from azure.core.pipeline.transport import RequestsTransport

from certrelay.operations import reconcile
from certrelay.renewal import sweep
from certrelay.storage.operation import State
from tests.world import ALIAS, DAY, World, create, made, with_vaults


def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What Azure's SDK sleeps from now on, without sleeping it."""
    slept: list[float] = []
    monkeypatch.setattr(RequestsTransport, "sleep", lambda _, seconds: slept.append(seconds))
    return slept


@pytest.mark.parametrize("status", [429, 503])
def test_a_vault_that_asks_for_patience_is_asked_again_then_and_no_function_sleeps_till_then(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Check 15."""
    world, name = lonely_world, lonely_world.name()
    create(world, name)
    world.server.faults.add(operation="CreateCertificate", status=status, retry_after=600, times=None)
    slept = sleeps(monkeypatch)
    reconcile.advance(world.services, ALIAS, name)
    assert sum(slept) < 30
    waiting = world.services.storage.open(ALIAS, name)
    assert waiting is not None
    assert waiting.failure is not None
    assert str(status) in waiting.failure.message
    assert (waiting.next_attempt_at - world.services.now()).total_seconds() > 590
    world.server.faults.clear()
    assert world.finish(name).state is State.COMPLETED


def test_a_vault_that_throttles_for_a_moment_is_waited_for(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, name = lonely_world, lonely_world.name()
    create(world, name)
    world.server.faults.add(operation="CreateCertificate", status=429, retry_after=2, times=2)
    slept = sleeps(monkeypatch)
    ended = reconcile.advance(world.services, ALIAS, name)
    assert ended is not None
    assert ended.state is State.COMPLETED
    assert slept == [2, 2]


def test_a_vault_that_throttles_its_list_for_long_stops_the_sweep_of_no_other(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name, validity_days=30)
    world.clock.advance(25 * DAY)
    services = with_vaults(world, 10, a=world.vault, b=world.vault)
    world.server.faults.add(operation="GetCertificates", status=429, retry_after=600, times=1)
    slept = sleeps(monkeypatch)
    swept = sweep.sweep(services)
    assert sum(slept) < 30
    assert len(swept.refused) == len(swept.started) == 1
