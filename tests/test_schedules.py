"""Schedules are checked at start, as the Functions host would take them or not."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certrelay import settings
from certrelay.errors import SettingsError
from certrelay.schedules import HORIZON, SCHEDULES, late_at, next_run, schedule_faults
from sandbox.host.ncrontab import Schedule

NUMBERS = st.integers(0, 70).map(str)
VALUES = st.one_of(NUMBERS, st.sampled_from(["*", "mon", "JAN", "sunday", "L", "?", "", "x", "-1", "febr"]))
SPANS = st.one_of(VALUES, st.tuples(NUMBERS, NUMBERS).map("-".join))
PARTS = st.one_of(SPANS, st.tuples(SPANS, st.sampled_from(["0", "5", "15", "x", ""])).map("/".join))
EXPRESSIONS = st.lists(st.lists(PARTS, min_size=1, max_size=2).map(",".join), min_size=6, max_size=6).map(" ".join)


@given(EXPRESSIONS)
def test_a_schedule_is_taken_when_the_host_takes_it(text: str) -> None:
    try:
        taken = len(text.split()) == 6 and bool(Schedule(text))
    except ValueError:
        taken = False
    assert (schedule_faults({**SCHEDULES, "CERTRELAY_POLL_SCHEDULE": text}) == []) is taken


@pytest.mark.parametrize("text", ["* * * * *", "0 60 * * * *", "00:05:00", "0 0 25 * * *", "every hour", "0 * * * * 7"])
def test_a_wrong_schedule_is_refused_with_an_example(text: str) -> None:
    (fault,) = schedule_faults({**SCHEDULES, "CERTRELAY_SWEEP_SCHEDULE": text})
    assert fault.startswith(f"CERTRELAY_SWEEP_SCHEDULE is {text!r}: ")
    assert fault.endswith("write six NCRONTAB fields, in UTC, such as '0 7 * * * *'")


def test_a_missing_schedule_is_one_of_all_faults() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load({}, with_schedules=True)
    assert {fault.split()[0] for fault in refused.value.faults} >= {*SCHEDULES, "CERTRELAY_VAULTS"}


def fields(lowest: int, highest: int) -> st.SearchStrategy[str]:
    """What the host takes for one field."""
    number = st.integers(lowest, highest).map(str)
    spans = st.one_of(st.just("*"), st.just("*"), number, st.tuples(number, number).map("-".join))
    return st.one_of(spans, st.tuples(spans, st.integers(1, 20).map(str)).map("/".join))


VALID = st.tuples(*(fields(*ends) for ends in ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)))).map(" ".join)
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


@given(VALID, TIMES)
@example("0 0 0 29 2 *", datetime(2027, 3, 1, tzinfo=UTC))
@example("5/15 22-2 */7 * * *", datetime(2027, 3, 1, tzinfo=UTC))
def test_the_next_run_is_the_hosts(text: str, after: datetime) -> None:
    expected = Schedule(text).next(after)
    if expected is not None and expected - after < HORIZON:
        assert next_run(text, after) == expected
    else:
        assert next_run(text, after) is None


@pytest.mark.parametrize(
    ("schedule", "late"),
    [
        ("0 * * * * *", timedelta(minutes=9)),
        ("0 */5 * * * *", timedelta(minutes=13)),
        ("0 0 * * * *", timedelta(hours=2)),
        ("0 0 */6 * * *", timedelta(hours=8)),
        ("0 0 6 * * *", timedelta(hours=20)),  # the next day at eight
        ("0 0 6 * * mon", timedelta(days=3, hours=20)),
        ("0 0 0 31 2 *", None),
    ],
)
def test_a_timer_is_late_by_a_margin_that_fits_its_schedule(schedule: str, late: timedelta | None) -> None:
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)  # a Thursday
    assert late_at(schedule, noon) == (late and noon + late)
