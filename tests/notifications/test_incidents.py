"""An incident that two timers meet at the same time."""

from typing import Any

import pytest

from certrelay.notifications import incidents, outbox
from certrelay.notifications.incidents import Incident
from certrelay.storage.watch import time_of
from tests.world import World

INCIDENT = Incident("vault-unreadable", "main", "closed", "open it")


def test_two_timers_that_meet_an_incident_at_once_tell_of_it_by_one_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poll and sweep begin in the same second; a receiver tells a repetition by its id."""
    told: list[str] = []
    watch = world.services.storage.watch
    add = watch.add

    def enqueue(_services: object, _kind: str, _subject: str, _data: object, identifier: str, *_: object) -> bool:
        told.append(identifier)
        return True

    def slow(*row: Any) -> bool:
        """The other timer, three seconds later, is faster."""
        patched.undo()
        world.clock.advance(3)
        incidents.report(world.services, INCIDENT)
        return add(*row)

    monkeypatch.setattr(outbox, "enqueue", enqueue)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watch, "add", slow)
        incidents.report(world.services, INCIDENT)
    row = watch.get("incident", "vault-unreadable|main")
    since = time_of(row, "since")
    assert row is not None
    assert since is not None
    assert row["told"]
    assert set(told) == {f"vault-unreadable.main.{int(since.timestamp())}"}
