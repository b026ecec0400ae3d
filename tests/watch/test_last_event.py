"""The status tells the last event of Key Vault and what came of it."""

from typing import Any

import pytest

from certrelay.errors import NotReady
from certrelay.renewal import events
from certrelay.watch import status
from certrelay.watch.status import Run
from tests.renewal.versions import grow_old, made
from tests.world import World


def last_event(world: World) -> Run:
    return next(run for run in status.read(world.services).runs if run.name == "event")


def event(world: World, kind: str, name: str) -> None:
    world.clock.advance(90)  # one process notes the same thing seldom
    events.handle(world.services, kind, {"Id": f"{world.server.url}/certificates/{name}/1"})


def test_the_last_event_and_its_result_are_told(lonely_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    assert last_event(world).ok is None
    event(world, "Microsoft.KeyVault.CertificateNewVersionCreated", name)
    assert (last_event(world).ok, last_event(world).detail) == (
        True,
        "Microsoft.KeyVault.CertificateNewVersionCreated: noted",
    )
    event(world, events.NEAR_EXPIRY, name)
    assert "nothing to do" in last_event(world).detail
    grow_old(world, name, 20)
    event(world, events.NEAR_EXPIRY, name)
    assert "renewed by operation" in last_event(world).detail

    def refuse(_name: str) -> Any:
        raise NotReady("Key Vault answered 429", 10)

    monkeypatch.setattr(world.vault, "get", refuse)
    with pytest.raises(NotReady):
        event(world, events.EXPIRED, name)
    assert last_event(world).ok is False
    assert last_event(world).detail == f"{events.EXPIRED}: NotReady"
    assert last_event(world).ended_at is not None
