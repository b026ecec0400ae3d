"""A row that cannot be read costs itself only."""

from datetime import UTC, datetime
from typing import Any

import pytest

from certrelay.certificates import create, read
from certrelay.certificates.create import CertificateSpec
from certrelay.errors import NotFound, NotReady
from certrelay.operations import find
from certrelay.renewal import sweep
from certrelay.storage.operation import State
from tests.world import ALIAS, World

pytestmark = pytest.mark.slow

SPEC = CertificateSpec(authority="test-ca", dns_names=("www.contoso.example",))
BROKEN: list[dict[str, Any]] = [
    {"next_attempt_at": "soon"}, {"next_attempt_at": "0001-01-01T00:00:00+14:00"}, {"state": "lost"}, {"request": b"{"},
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_an_open_row_that_cannot_be_read_stops_no_other_operation(
    world: World, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = world.name("-bad"), world.name("-good")
    for name in (bad, good):
        create.create(world.services, ALIAS, name, SPEC, requested_by="test")
    world.services.storage._operations.merge({"PartitionKey": ALIAS, "RowKey": bad, **broken})
    for _ in range(2):
        sweep.advance_due(world.services)
    assert find.latest(world.services, ALIAS, good).state is State.COMPLETED
    with pytest.raises(NotReady, match="cannot be read"):
        world.services.storage.open(ALIAS, bad)
    assert len([line for line in caplog.messages if "cannot be read (" in line]) <= 1


@pytest.mark.parametrize(
    "broken",
    [
        {"transitions": b"["}, {"transitions": b"[" * 60_000}, {"vault": 7}, {"name": True}, {"requested_by": b"\xff"},
        {"reason": datetime(9999, 12, 31, tzinfo=UTC)}, {"failure_code": 1.5}, {"attempts": "many"},
        {"cancel_requested": "no"}, {"traceparent": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_of_the_history_that_cannot_be_read_is_left_out(world: World, broken: dict[str, Any]) -> None:
    name = world.name()
    for _ in range(2):
        create.create(world.services, ALIAS, name, SPEC, requested_by="test")
        world.finish(name)
    older, newer = reversed(world.services.storage.ended(ALIAS, name))
    keys = {"PartitionKey": f"{ALIAS}|{name}", "RowKey": older.id.split(".")[-1]}
    world.services.storage._history.merge(keys | broken)
    assert [operation.id for operation in read.history(world.services, ALIAS, name)] == [newer.id]
    assert read.detail(world.services, ALIAS, name).chain == newer.chain


@pytest.mark.parametrize("identifier", ["a/b.www.0", "main.w/w.0", "main.www", "..", "main#.www.0", "Main.www.0"])
def test_an_id_that_is_none_is_not_found_and_never_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch, identifier: str
) -> None:
    """A slash in a key made storage refuse it, which was a 503 after some seconds."""
    asked: list[str] = []
    monkeypatch.setattr(type(world.services.storage), "open", lambda *keys: asked.append(str(keys)))
    with pytest.raises(NotFound):
        find.by_id(world.services, identifier)
    assert asked == []
