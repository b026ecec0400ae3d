"""NCRONTAB is not cron."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.ncrontab import Schedule

MONDAY = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("* * * * *", datetime(2026, 11, 23, 12, 1)),
        ("*/5 * * * * *", datetime(2026, 11, 23, 12, 0, 5)),
        ("0 7 * * * *", datetime(2026, 11, 23, 12, 7)),
        ("0 30 9 * Jan Mon", datetime(2027, 1, 4, 9, 30)),
        ("0 0 0 13 * fri", datetime(2026, 11, 13) + timedelta(days=273)),
        ("0 0 22-2 * * *", datetime(2026, 11, 23, 13)),
        ("0 5/15 * * * *", datetime(2026, 11, 23, 12, 5)),
        ("0 0 0 29 2 *", datetime(2028, 2, 29)),
        ("00:00:30", datetime(2026, 11, 23, 12, 0, 30)),
        ("1.00:00:00", datetime(2026, 11, 24, 12)),
    ],
)
def test_the_next_moment(text: str, following: datetime) -> None:
    assert Schedule(text).next(MONDAY) == following.replace(tzinfo=UTC)


def test_a_day_that_never_comes_is_none() -> None:
    assert Schedule("0 0 0 31 2 *").next(MONDAY) is None


@pytest.mark.parametrize(
    "text", ["", "* *", "60 * * * * *", "* * * * * 7", "* * L * *", "* * * * ?", "x * * * *", "*/0 * * * *", "00:00:00"]
)
def test_what_the_host_would_not_take_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Schedule(text)


@given(
    second=st.integers(0, 59), minute=st.integers(0, 59), hour=st.integers(0, 23), weekday=st.integers(0, 6),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),
)  # fmt: skip
def test_the_next_moment_matches_and_none_before_it_does(
    second: int, minute: int, hour: int, weekday: int, start: datetime
) -> None:
    found = Schedule(f"{second} {minute} {hour} * * {weekday}").next(start)
    assert found is not None
    assert (found.second, found.minute, found.hour, found.isoweekday() % 7) == (second, minute, hour, weekday)
    assert timedelta(0) < found - start <= timedelta(days=7)


@pytest.mark.parametrize(
    ("text", "is_monitored"),
    [
        ("*/1 * * * * *", False),
        ("*/30 * * * * *", False),
        ("0,59 * * * * *", False),
        ("00:00:59", False),
        ("0 * * * * *", True),
        ("* * * * *", True),
        ("*/10 * 3 * * *", True),
        ("*/10 */2 * * * *", True),
        ("00:01:00", True),
        ("1.00:00:00", True),
    ],
)
def test_what_comes_several_times_in_every_minute_has_no_status(text: str, is_monitored: bool) -> None:
    assert Schedule(text).is_monitored == is_monitored
