"""When a certificate is due."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrelay.keyvault.certificate import CertificateItem
from certrelay.keyvault.tags import threshold_of
from certrelay.renewal.due import can_wait, due_at, due_of, half_time

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


def test_a_threshold_that_makes_no_sense_for_a_certificate_without_end_is_no_error() -> None:
    """RFC 5280, section 4.1.2.5: 9999-12-31 is no well-defined expiration date."""
    endless = datetime.max.replace(tzinfo=UTC)
    assert endless - due_at(BEGINS, endless, ("lifetime_percentage", 99_999)) == timedelta(days=3)
    assert due_at(BEGINS, endless, ("days_before_expiry", 99_999)) == endless - timedelta(days=99_999)


def item(**changes: Any) -> CertificateItem:
    made = CertificateItem(
        "www", True, None, BEGINS, BEGINS + timedelta(days=90), {"certrelay-authority": "corp"}, "aa"
    )
    return replace(made, **changes)


def test_only_what_is_managed_enabled_and_expires_is_due() -> None:
    assert due_of(item()) == BEGINS + timedelta(days=60)
    never: tuple[dict[str, Any], ...] = ({"tags": {}}, {"enabled": False}, {"expires": None})
    for changes in never:
        assert due_of(item(**changes)) is None
        assert half_time(item(**changes)) is None
        assert not can_wait(item(**changes), BEGINS)


def test_a_certificate_without_a_start_counts_from_its_creation_and_else_is_due_at_its_end() -> None:
    created = BEGINS + timedelta(days=30)
    assert due_of(item(not_before=None, created=created)) == BEGINS + timedelta(days=70)
    assert due_of(item(created=created)) == BEGINS + timedelta(days=60)
    assert due_of(item(not_before=None)) == BEGINS + timedelta(days=90)


def test_the_threshold_of_its_tag_counts() -> None:
    tags = {"certrelay-authority": "corp", "certrelay-renewal": "days_before_expiry=10"}
    assert due_of(item(tags=tags)) == BEGINS + timedelta(days=80)


def test_it_can_wait_until_half_of_the_time_that_is_left_has_passed() -> None:
    half = BEGINS + timedelta(days=75)
    assert half_time(item()) == half
    assert can_wait(item(), half - timedelta(microseconds=1))
    assert not can_wait(item(), half)
