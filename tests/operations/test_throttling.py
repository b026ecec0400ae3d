"""What Key Vault throttles is waited out for some seconds only."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azure.core.pipeline.transport import RequestsTransport

from certrelay.operations import reconcile
from certrelay.renewal import sweep
from certrelay.setting_models import VaultRate
from certrelay.storage.operation import State
from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.vault.server import VaultServer
from tests.fixtures import connected
from tests.world import ALIAS, DAY, World, create, made, with_vaults

pytestmark = pytest.mark.slow

OTHER = {
    "key_props": {"kty": "EC", "crv": "P-256"},
    "x509_props": {"subject": "CN=other.contoso.example"},
    "issuer": {"name": "Unknown"},
}


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


class StandingClock(Clock):
    """Moves only when it is told to, so that no machine is too slow for a window of ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.time()

    def now(self) -> float:
        return self._begun + self.offset


@pytest.fixture
def throttled_world(tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """With Key Vault's published limits: 20 creations in ten seconds."""
    with VaultServer(tmp_path, clock=StandingClock()) as server:
        server.faults.throttle()
        yield connected(server, azurite, monkeypatch)


def seconds_to_finish(world: World, names: list[str]) -> float:
    """Advance each operation when it is due, as the queue does. Returns how long it took on the world's clock."""
    begun, storage = world.services.now(), world.services.storage
    while waiting := list(storage.worklist()):
        soonest = min(entry.next_attempt_at for entry in waiting)
        world.clock.advance(max((soonest - world.services.now()).total_seconds() + 0.001, 0))
        for entry in waiting:
            if entry.next_attempt_at <= world.services.now():
                reconcile.advance(world.services, entry.vault, entry.name, entry.id)
    assert all(storage.ended(ALIAS, name)[0].state is State.COMPLETED for name in names)
    return (world.services.now() - begun).total_seconds()


def throttled_creations(world: World) -> int:
    recent = world.server.requests.recent()
    return sum(request["operation"] == "CreateCertificate" and request["status"] == 429 for request in recent)


def test_a_burst_is_spread_as_key_vault_limits_it_and_nothing_is_throttled(throttled_world: World) -> None:
    """The limit itself takes 10 seconds for 22: 20 at once, 2 after 10 seconds."""
    world, names = throttled_world, [throttled_world.name(f"-{number}") for number in range(22)]
    for name in names:
        create(world, name)
    assert seconds_to_finish(world, names) <= 1.5 * 10  # the last ones are spread over their window
    assert throttled_creations(world) == 0


def test_what_is_throttled_nevertheless_takes_a_new_place_and_none_sleeps_for_long(throttled_world: World) -> None:
    """Somebody else uses the vault, too: nobody's own back-off doubles, and all workers share the new places."""
    world, names = throttled_world, [throttled_world.name(f"-{number}") for number in range(16)]
    for number in range(15):
        world.vault.create(world.name(f"-other-{number}"), OTHER, {}, enabled=True)
    for name in names:
        create(world, name)
    assert seconds_to_finish(world, names) <= 27
    assert 0 < throttled_creations(world) <= 20


def test_a_vault_that_throttles_every_creation_is_asked_less_and_less_often(throttled_world: World) -> None:
    """Up to once a minute: somebody else takes all that it allows, and each refusal is one request more."""
    world, name = throttled_world, throttled_world.name()
    create(world, name)
    world.server.faults.add(operation="CreateCertificate", status=429, times=None)
    waits = []
    for _ in range(12):
        reconcile.advance(world.services, ALIAS, name)
        waiting = world.services.storage.open(ALIAS, name)
        assert waiting is not None
        waits.append((waiting.next_attempt_at - world.services.now()).total_seconds())
        world.clock.advance(waits[-1])
    assert max(waits[:3]) <= 10  # at first it only takes a new place
    assert min(waits[-4:]) >= 48  # a minute, ±20 %
    assert max(waits) <= 72
    world.server.faults.clear()
    assert world.finish(name).state is State.COMPLETED


def test_keys_in_hardware_start_at_half_the_pace(throttled_world: World) -> None:
    world = throttled_world
    hardware = {"key_props": {"kty": "EC-HSM", "crv": "P-256"}}
    operations = [create(world, world.name(f"-{number}"), policy=hardware) for number in range(21)]
    waits = [(operation.next_attempt_at - operation.requested_at).total_seconds() for operation in operations]
    assert waits == [0.0] * 10 + [10.0 + number for number in range(10)] + [20.0]


def test_a_rate_of_the_settings_replaces_key_vaults_own(throttled_world: World) -> None:
    world = throttled_world
    known = world.services.settings.vaults[ALIAS].model_copy(update={"rate": VaultRate(requests=1, seconds=60)})
    settings = replace(world.services.settings, vaults={ALIAS: known})
    slow = replace(world, services=replace(world.services, settings=settings))
    operations = [create(slow, slow.name(f"-{number}")) for number in range(3)]
    waits = [(operation.next_attempt_at - operation.requested_at).total_seconds() for operation in operations]
    assert waits == [0.0, 60.0, 120.0]
