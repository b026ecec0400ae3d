"""Schedules are checked at start, as the Functions host would take them or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrelay import settings
from certrelay.errors import SettingsError
from certrelay.schedules import SCHEDULES, schedule_faults
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
