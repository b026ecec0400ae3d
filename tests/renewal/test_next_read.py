"""When the sweep reads a list again: the lifetimes in the vault decide, and nothing waits too long for it."""

from datetime import datetime, timedelta

import pytest

from certrelay.keyvault.certificate import CertificateItem
from certrelay.renewal.next_read import LONGEST_REST, read_by
from certrelay.renewal.vault_list import period_of
from certrelay.storage.renewal_record import RenewalRecord
from tests.renewal.memory import NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MANAGED = {"certrelay-authority": "corp"}


def item(lifetime: timedelta, left: timedelta, tags: dict[str, str] | None = None) -> CertificateItem:
    ends = NOW + left
    return CertificateItem("www", True, None, ends - lifetime, ends, MANAGED if tags is None else tags, "aa")


def hours(one: CertificateItem, period: timedelta = HOUR, **known: datetime) -> float:
    return (read_by(one, RenewalRecord("main", "www", **known), NOW, period) - NOW) / HOUR  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lifetime", "left", "wait"),
    [
        (6 * DAY, 2 * DAY, 1),  # due now: each hour, so that it gets its three tries
        (6 * DAY, 2 * DAY + 2 * HOUR, 3),  # due in two hours
        (6 * DAY, 1 * DAY, 1),
        (6 * DAY, 6 * DAY, 6),
        (90 * DAY, 30 * DAY, 6),
        (365 * DAY, 60 * DAY, 6),
        (365 * DAY, 2 * DAY, 1),  # late: each hour, however long it lived
        (365 * DAY, -DAY, 1),
        (DAY, 12 * HOUR, 5),  # due in four hours
        (HOUR, HOUR, 1.5),  # expiring halfway between due date and expiry … but by default due in 40 minutes
    ],
)
def test_a_list_rests_by_the_time_that_is_left(lifetime: timedelta, left: timedelta, wait: float) -> None:
    found = hours(item(lifetime, left))
    assert found == pytest.approx(wait, abs=0.2), "hours"


def test_no_list_rests_longer_than_six_hours_and_none_for_less_than_the_time_between_sweeps() -> None:
    for days in (0, 0.1, 1, 3, 10, 80, 400):
        for lifetime in (1, 6, 47, 90, 398):
            assert 1 <= hours(item(lifetime * DAY, days * DAY)) <= LONGEST_REST / HOUR
            assert hours(item(lifetime * DAY, days * DAY), timedelta(minutes=10)) >= 1 / 6


def test_what_an_authority_suggests_and_the_questions_to_it_wait_for_the_next_sweep_only() -> None:
    year = item(365 * DAY, 300 * DAY)
    assert hours(year, ask_at=NOW + 2 * HOUR) == 3
    assert hours(year, ask_at=NOW - HOUR) == 6, "asked now, or never"
    assert hours(year, renew_at=NOW + 3 * HOUR, window_start=NOW - DAY) == 3, "an hour ahead, and the next sweep"


def test_a_failed_renewal_is_tried_again_on_the_same_day_however_long_its_back_off_was() -> None:
    assert hours(item(365 * DAY, 100 * DAY), backed_off_until=NOW + HOUR) == 6
    assert hours(item(6 * DAY, 2 * DAY), backed_off_until=NOW + HOUR) == pytest.approx(2, abs=0.1)


def test_others_certificates_are_looked_at_for_their_alerts() -> None:
    assert hours(item(90 * DAY, 9 * DAY + HOUR, {})) == pytest.approx(5.5, abs=0.1), "a tenth is left in an hour"
    assert hours(item(90 * DAY, HOUR, {})) == 2, "expired in an hour"
    assert hours(item(90 * DAY, 80 * DAY, {})) == 6


def test_the_time_between_sweeps_is_read_from_their_schedule() -> None:
    at = NOW.replace(minute=7, second=1)
    assert period_of("0 7 * * * *", at) == HOUR
    assert period_of("0 */10 * * * *", at) == timedelta(minutes=10)
    assert period_of("0 0 1 * * *", at) == DAY
    assert period_of("0 0 8-18 * * *", NOW.replace(hour=18)) == 14 * HOUR
