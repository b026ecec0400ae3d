"""What the sweep remembers of a certificate, and what follows from it for the next renewal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from certrelay.storage.renewal_record import RenewalRecord, from_entity, to_entity, unreadable_columns

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RECORD = RenewalRecord("main", "Www", thumbprint="aa")
FULL = replace(
    RECORD, failures=2, backed_off_until=NOW, window_start=NOW, window_end=NOW + DAY, renew_at=NOW + HOUR, ask_at=NOW,
    explanation_url="https://ca.example/x", alerted="7 aa", unfinished="{}",
    last_failure="no",
)  # fmt: skip


def test_a_record_is_about_one_version_and_only_the_alert_outlives_it() -> None:
    assert FULL.about("aa") == FULL
    assert FULL.about("bb") == RenewalRecord("main", "Www", thumbprint="bb", alerted="7 aa")
    assert replace(FULL, thumbprint="").about("bb") == replace(FULL, thumbprint="bb"), "it did not know which"


@pytest.mark.parametrize(
    ("window_start", "renew_at", "backed_off_until", "due"),
    [
        (None, None, None, 10 * DAY),
        (None, 5 * DAY, None, 5 * DAY),
        (None, 11 * DAY, None, 10 * DAY),
        (4 * DAY, 5 * DAY, None, 5 * DAY - HOUR),
        (5 * DAY - HOUR, 5 * DAY, None, 5 * DAY - HOUR),
        (5 * DAY - HOUR / 2, 5 * DAY, None, 5 * DAY - HOUR / 2),
        (5 * DAY, 5 * DAY, None, 5 * DAY),
        (6 * DAY, 5 * DAY, None, 5 * DAY),
        (4 * DAY, None, None, 10 * DAY),
        (None, None, 9 * DAY, 10 * DAY),
        (None, None, 12 * DAY, 12 * DAY),
        (None, 5 * DAY, 6 * DAY, 6 * DAY),
    ],
)
def test_a_renewal_is_due_by_its_dates_or_its_window_and_never_before_its_rest_is_over(
    window_start: timedelta | None, renew_at: timedelta | None, backed_off_until: timedelta | None, due: timedelta
) -> None:
    times = {"window_start": window_start, "renew_at": renew_at, "backed_off_until": backed_off_until}
    known: dict[str, Any] = {name: None if after is None else NOW + after for name, after in times.items()}
    assert replace(RECORD, **known).due(NOW + 10 * DAY) == NOW + due


@pytest.mark.parametrize(
    ("failures", "left", "rest"),
    [
        (1, 80 * DAY, HOUR),
        (2, 80 * DAY, 2 * HOUR),
        (4, 80 * DAY, 8 * HOUR),
        (11, 999 * DAY, 1024 * HOUR),
        (12, 999 * DAY, 1024 * HOUR),
        (9999, 999 * DAY, 1024 * HOUR),
        (4, 8 * HOUR, HOUR),
        (4, 80 * timedelta(minutes=1), timedelta(minutes=10)),
        (4, HOUR, timedelta(minutes=10)),
        (4, -DAY, timedelta(minutes=10)),
    ],
)
def test_a_rest_doubles_from_an_hour_up_to_an_eighth_of_what_is_left(
    failures: int, left: timedelta, rest: timedelta
) -> None:
    rested = RECORD.backed_off(failures, "why" * 1000, NOW, NOW + left)
    assert rested == replace(RECORD, failures=failures, backed_off_until=NOW + rest, last_failure=rested.last_failure)
    assert rested.last_failure == ("why" * 167)[:500]


def test_a_record_survives_its_way_through_a_row_and_only_what_changed_is_written() -> None:
    assert from_entity(to_entity(FULL)) == FULL
    assert from_entity(to_entity(RECORD)) == RECORD
    keys = {"PartitionKey": "main", "RowKey": "www", "vault": "main", "name": "Www", "thumbprint": "aa"}
    assert to_entity(FULL, FULL) == keys
    assert to_entity(replace(FULL, failures=3), FULL) == keys | {"failures": 3}
    assert to_entity(replace(FULL, renew_at=None), FULL) == keys | {"renew_at": ""}
    assert from_entity({"PartitionKey": "main", "RowKey": "www"}) == RenewalRecord("main", "www")
    assert from_entity(keys | {"name": "other"}).name == "www"


def test_a_time_of_another_zone_is_the_same_moment_in_utc() -> None:
    local = NOW.astimezone(timezone(5 * HOUR)).isoformat()
    read = from_entity({"PartitionKey": "main", "RowKey": "www", "renew_at": local}).renew_at
    assert read == NOW
    assert read is not None
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("failures", [0, 7, None, ""], [-1, "7", 1.5]),
        ("renew_at", ["", NOW.isoformat()], ["soon", 7, None, "9999-12-31T23:59:59-05:00"]),
        ("unfinished", ["", "{}"], [7, None, b""]),
    ],
)
def test_a_column_that_was_never_written_so_counts_as_missing(column: str, good: list[Any], bad: list[Any]) -> None:
    row = to_entity(FULL)
    for value in good:
        assert unreadable_columns(row | {column: value}) == []
    for value in bad:
        assert unreadable_columns(row | {column: value}) == [column]
        default = getattr(RenewalRecord("", ""), column)
        assert from_entity(row | {column: value}) == replace(FULL, **{column: default})
