"""What cannot be read in a vault costs itself only: in lists, sweeps, forecasts, digests and replacements."""

from datetime import timedelta
from typing import Any

import pytest

from certrelay.certificates import read
from certrelay.certificates.read import Filters
from certrelay.keyvault.certificate import item_of
from certrelay.operations.signing import public_key_of
from certrelay.renewal import digest, forecast, replacement_run, replacements, sweep
from certrelay.renewal.replacements import JOBS, Criteria
from certrelay.storage.operation import State
from tests.renewal.nonsense import broken
from tests.world import ALIAS, World, made

GARBAGE = "MIIBAAAA"
BROKEN: dict[str, Any] = {
    "x5t": "%%%\u00e9", "attributes": {"exp": 10**15, "nbf": -(10**15), "created": None, "enabled": True},
    "tags": {"certrelay-authority": "test-ca", "certrelay-renewal": None, "certrelay-validity-days": 3},
}  # fmt: skip


def test_a_line_of_a_list_that_makes_no_sense_stops_neither_lists_nor_sweeps(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lonely_world
    first, second = world.name("-a"), world.name("-b")
    made(world, first)
    made(world, second)
    broken(world, monkeypatch, first, **BROKEN)
    world.clock.advance(80 * 86_400)
    assert [item.name for item in read.certificates(world.services, ALIAS, Filters(), 25, None)[0]] == [first, second]
    assert read.detail(world.services, ALIAS, first).plan.due is None
    assert {one.name for one in forecast.expected(world.services, 365).renewals} == {second}
    assert digest.send_digest(world.services)["certificates"] == 2
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{second}"]


def test_a_certificate_that_cannot_be_read_is_refused_by_a_replacement_and_the_others_are_replaced(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lonely_world
    first, second = world.name("-a"), world.name("-b")
    made(world, first)
    made(world, second)
    with monkeypatch.context() as patched:
        broken(world, patched, first, cer=GARBAGE)
        until = world.services.now() + timedelta(days=1)
        job = replacements.start(world.services, Criteria(issued_before=until), "test")
        replacement_run.advance_all(world.services)
    assert replacements.progress(world.services, job.id) == {"matched": 2, "refused": 1, "inProgress": 1}
    row = world.services.storage.replacements.get(job.id, f"{ALIAS}|{first}")
    assert row is not None
    assert "cannot be read, so whether it has to be replaced is not known" in row["detail"]


def test_only_what_a_criterion_needs_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()
    made(world, name)

    def unreadable(_: object) -> str:
        raise ValueError("no such key")

    monkeypatch.setattr(replacement_run, "_kind_of", unreadable)
    before = world.services.now() + timedelta(days=1)
    assert replacement_run.matches(world.services, ALIAS, name, Criteria(issued_before=before))


def test_a_certificate_that_cannot_be_read_is_none_of_ours() -> None:
    assert public_key_of(b"0\x82\x01\x00") == b""
    assert item_of({"id": "https://v.example/certificates/www"}).thumbprint == ""


def nameless_lines(world: World, monkeypatch: pytest.MonkeyPatch, *lines: Any) -> None:
    """Let each page of Key Vault's list have these lines as well."""
    ask = world.vault.page

    def page(path: str) -> tuple[list[Any], str]:
        found, following = ask(path)
        return [*lines, *found], following

    monkeypatch.setattr(world.vault, "page", page)


def test_a_line_of_a_list_without_a_name_is_replaced_by_nobody_and_stops_no_replacement(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lonely_world
    made(world, name := world.name())
    nameless_lines(world, monkeypatch, {"attributes": {"enabled": True}}, {"id": "https://v.example/"}, None)
    job = replacements.start(world.services, Criteria(authority="test-ca"), "test")
    sweep.advance_due(world.services)
    assert world.finish(name).state is State.COMPLETED
    sweep.advance_due(world.services)
    assert replacements.find(world.services, job.id).state == "settled"
    assert replacements.progress(world.services, job.id) == {"matched": 1, "completed": 1}


@pytest.mark.parametrize(
    "spoiled", [{"cursor": "{"}, {"criteria_00": b"x"}, {"requested_at": "yesterday"}, {"looked_at": "many"}, {}]
)
def test_a_replacement_that_cannot_be_read_costs_itself_only(
    lonely_world: World, caplog: pytest.LogCaptureFixture, spoiled: dict[str, Any]
) -> None:
    world, table = lonely_world, lonely_world.services.storage.replacements
    made(world, name := world.name())
    first, second = sorted(
        (replacements.start(world.services, Criteria(authority="test-ca"), "test") for _ in range(2)),
        key=lambda job: job.id,
    )
    row = {"PartitionKey": JOBS, "RowKey": first.id, "state": "running"}
    if spoiled:
        table.merge(row | spoiled)
    else:
        table.upsert(row)
    sweep.advance_due(world.services)
    assert world.finish(name).state is State.COMPLETED
    sweep.advance_due(world.services)
    assert replacements.find(world.services, second.id).state == "settled"
    assert [job.id for job in replacements.page(world.services, 10)[0]] == [second.id]
    assert first.id in caplog.text


@pytest.mark.parametrize("since", ["", "yesterday", None])
def test_a_certificate_that_waits_since_nobody_knows_when_is_tried_again(
    lonely_world: World, since: str | None
) -> None:
    world, table = lonely_world, lonely_world.services.storage.replacements
    made(world, name := world.name())
    job = replacements.start(world.services, Criteria(authority="test-ca"), "test")
    keys = {"PartitionKey": job.id, "RowKey": f"{ALIAS}|{name.lower()}", "name": name, "operation": "", "detail": ""}
    table.upsert(keys | {"state": "waiting"} | ({} if since is None else {"since": since}))
    sweep.advance_due(world.services)
    assert world.finish(name).state is State.COMPLETED


@pytest.mark.parametrize("state", ["waiting", "inProgress", "refused", None])
def test_a_certificate_of_a_replacement_that_lost_its_columns_stops_no_replacement(
    lonely_world: World, state: str | None
) -> None:
    world, table = lonely_world, lonely_world.services.storage.replacements
    made(world, name := world.name())
    job = replacements.start(world.services, Criteria(authority="test-ca"), "test")
    table.upsert({"PartitionKey": job.id, "RowKey": f"{ALIAS}|gone"} | ({"state": state} if state else {}))
    for _ in range(2):
        sweep.advance_due(world.services)
        assert world.finish(name).state is State.COMPLETED
    sweep.advance_due(world.services)
    assert replacements.find(world.services, job.id).state == "settled"
    assert replacements.progress(world.services, job.id)["completed"] == 1
    refused = [one.vault for one in replacements.refused(world.services, job.id)]
    assert refused == ([ALIAS] if state in ("waiting", "refused") else [])


def test_a_replacement_is_not_settled_while_the_row_of_a_renewal_cannot_be_read(lonely_world: World) -> None:
    world = lonely_world
    first, second = world.name("-a"), world.name("-b")
    for name in (first, second):
        made(world, name)
    job = replacements.start(world.services, Criteria(authority="test-ca"), "test")
    replacement_run.advance_all(world.services)
    operations = world.services.storage._operations
    row = operations.get(ALIAS, first.lower())
    assert row is not None
    operations.merge({"PartitionKey": ALIAS, "RowKey": first.lower(), "next_attempt_at": "soon"})
    world.finish(second)
    for _ in range(2):
        replacement_run.advance_all(world.services)
    assert replacements.find(world.services, job.id).state == "started"
    assert replacements.progress(world.services, job.id) == {"matched": 2, "completed": 1, "inProgress": 1}
    operations.delete(ALIAS, first.lower())  # as the log says
    for _ in range(2):
        replacement_run.advance_all(world.services)
    assert replacements.find(world.services, job.id).state == "settled"
    assert replacements.progress(world.services, job.id) == {"matched": 2, "completed": 1, "failed": 1}
