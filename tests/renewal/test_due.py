"""When a certificate is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrelay.keyvault.tags import threshold_of
from certrelay.renewal.due import due_at

BEGINS = datetime(2026, 11, 23, tzinfo=UTC)
TRIGGERS = st.one_of(
    st.just(""),
    st.sampled_from(["nonsense", "lifetime_percentage=", "days_before_expiry=x", "=5"]),
    st.integers(0, 10_000).map(lambda number: f"lifetime_percentage={number}"),
    st.integers(0, 10_000).map(lambda number: f"days_before_expiry={number}"),
)


@given(hours=st.integers(1, 24 * 730), trigger=TRIGGERS)
def test_whatever_the_lifetime_and_the_threshold_there_is_time_for_several_tries(hours: int, trigger: str) -> None:
    lifetime = timedelta(hours=hours)
    due = due_at(BEGINS, BEGINS + lifetime, threshold_of({"certrelay-renewal": trigger}))
    left = BEGINS + lifetime - due
    assert left >= min(lifetime / 6, timedelta(days=3)) - timedelta(seconds=1)
    assert due - BEGINS >= lifetime / 3 - timedelta(seconds=1), "no renewal follows upon the last one"


@pytest.mark.parametrize(
    ("days", "trigger", "left"),
    [
        (90, "", 30),
        (6, "", 2),
        (730, "", 730 / 3),
        (365, "days_before_expiry=30", 30),
        (90, "days_before_expiry=365", 60),
        (200, "lifetime_percentage=80", 40),
        (90, "lifetime_percentage=99", 3),
        (6, "lifetime_percentage=99", 1),
    ],
)
def test_the_threshold_is_a_third_of_the_lifetime_or_what_was_asked(days: int, trigger: str, left: float) -> None:
    expires = BEGINS + timedelta(days=days)
    assert expires - due_at(BEGINS, expires, threshold_of({"certrelay-renewal": trigger})) == timedelta(days=left)
