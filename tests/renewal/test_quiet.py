"""What a sweep need not look at: whatever is quiet would have asked for nothing; and what is looked at costs little."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from certrelay.errors import NotReady
from certrelay.keyvault.certificate import CERTIFICATES, CertificateItem
from certrelay.renewal import alerts, renewal_info, sweep
from certrelay.renewal.due import is_renewed
from certrelay.renewal.next_read import LONGEST_REST, is_quiet, read_by
from certrelay.renewal.vault_list import BLOCK, in_blocks
from certrelay.storage.renewal_record import RenewalRecord
from tests.renewal.fleet import DAY, HOUR, Fleet, Run
from tests.renewal.memory import NOW

UNTIL = NOW + LONGEST_REST
YEAR = CertificateItem("www", True, None, NOW - 65 * DAY, NOW + 300 * DAY, {"certrelay-authority": "corp"}, "aa")
RECORD, TICK = RenewalRecord("main", "www", thumbprint="aa"), timedelta(microseconds=1)
DUE = NOW + 300 * DAY - 365 * DAY / 3


def any_item(chance: random.Random) -> CertificateItem:
    lifetime = chance.choice([HOUR, DAY, 6 * DAY, 90 * DAY, 365 * DAY, -9 * DAY])
    ends = chance.choice([None, NOW + lifetime * chance.uniform(-0.2, 1.1), NOW + 99 * DAY])
    begins = chance.choice([None, ends - lifetime]) if ends else None
    tags = {"certrelay-authority": chance.choice(["corp", "x"])} if chance.random() < 0.8 else {}
    tags |= {"certrelay-renewal": chance.choice(["days_before_expiry=7", "lifetime_percentage=50", "junk"])}
    created = chance.choice([None, NOW - 5 * DAY])
    return CertificateItem("www", chance.random() < 0.9, created, begins, ends, tags, "aa")


def any_record(chance: random.Random) -> RenewalRecord | None:
    if chance.random() < 0.3:
        return None
    times: dict[str, Any] = {
        name: NOW + chance.choice([-2, 1, 7, 29, 31, 300, 9000]) * HOUR
        for name in ("backed_off_until", "renew_at", "ask_at", "window_start") if chance.random() < 0.3
    }  # fmt: skip
    alerted, unfinished = chance.choice(["", "expiring:aa"]), "{}" if chance.random() < 0.1 else ""
    thumbprint = chance.choice(["", "aa", "aa", "older"])
    return RenewalRecord("main", "www", thumbprint=thumbprint, alerted=alerted, unfinished=unfinished, **times)


def services(suggests: bool) -> Any:
    """Their only authority, `corp`, may suggest renewals."""
    connector = SimpleNamespace(renewal_window=None) if suggests else SimpleNamespace()
    settings = SimpleNamespace(authorities={"corp": SimpleNamespace(connector_class=connector)})
    return SimpleNamespace(now=lambda: NOW, settings=settings)


def test_what_is_quiet_would_have_asked_for_nothing() -> None:
    chance, quiet = random.Random(17), Counter[bool]()
    for _ in range(6_000):
        item, saved = any_item(chance), any_record(chance)
        world = services(chance.random() < 0.5)
        if not (is_renewed(item) or alerts.stage(item, NOW)):
            saved = None  # as a sweep reads it
        suggests = renewal_info.suggests(world, item.tags.get("certrelay-authority", ""))
        quiet[is_quiet(item, saved, suggests, UNTIL)] += 1
        if not is_quiet(item, saved, suggests, UNTIL):
            continue
        record = (saved or RenewalRecord("main", "www")).about(item.thumbprint)
        assert saved is None or saved in (record, replace(record, thumbprint=""))
        assert (alerts.state(item, NOW), record.unfinished) == ("valid" if item.enabled else "disabled", "")
        assert sweep._due(item, record, NOW) is None
        assert alerts.unsent(item, record, NOW) == ""
        assert read_by(item, record, NOW, HOUR) >= UNTIL
        assert not is_renewed(item) or renewal_info.inquiry(world, item, record) is None
    assert min(quiet.values()) > 1_000, "both kinds were among them"


@pytest.mark.parametrize(
    ("item", "record", "suggests", "quiet"),
    [
        ({}, None, False, True),
        ({}, {}, False, True),
        ({"expires": NOW + 300 * DAY - (DUE - UNTIL)}, {}, False, False),
        ({"tags": {}, "expires": UNTIL}, None, False, False),
        ({"tags": {}, "not_before": None, "expires": UNTIL + TICK}, None, False, True),
        ({"enabled": False, "expires": NOW}, None, True, True),
        ({"expires": None}, None, True, True),
        ({}, None, True, False),
        ({}, {}, True, False),
        ({}, {"ask_at": UNTIL}, True, False),
        ({}, {"ask_at": UNTIL + TICK}, True, True),
        ({}, {"ask_at": UNTIL + DAY}, True, True),
        ({}, {"ask_at": UNTIL + DAY + TICK}, True, False),
        ({}, {"renew_at": UNTIL}, False, False),
        ({}, {"renew_at": UNTIL + TICK}, False, True),
        ({}, {"unfinished": "{}"}, False, False),
        ({}, {"thumbprint": "older"}, False, False),
        ({}, {"thumbprint": ""}, False, True),
    ],
)  # fmt: skip
def test_a_certificate_is_quiet_until_the_first_moment_that_is_its_own(
    item: dict[str, Any], record: dict[str, Any] | None, suggests: bool, quiet: bool
) -> None:
    known = None if record is None else replace(RECORD, **record)
    lifetime = {"not_before": item["expires"] - 365 * DAY} if item.get("expires") and "not_before" not in item else {}
    assert is_quiet(replace(YEAR, **lifetime, **item), known, suggests, UNTIL) is quiet


def pages(*sizes: int, fails: bool = False) -> Any:
    for size in sizes:
        yield [YEAR] * size
    if fails:
        raise NotReady("down")


def test_pages_come_in_blocks_and_what_was_read_before_an_error_comes_before_it() -> None:
    assert list(map(len, in_blocks(pages()))) == []
    assert list(map(len, in_blocks(pages(25, 25, 3)))) == [53]
    assert list(map(len, in_blocks(pages(*[25] * 41)))) == [BLOCK, BLOCK, 25]
    assert list(map(len, in_blocks(pages(BLOCK)))) == [BLOCK]
    found: list[int] = []
    with pytest.raises(NotReady):
        found.extend(map(len, in_blocks(pages(25, 25, fails=True))))
    assert found == [50]
    with pytest.raises(NotReady):
        list(in_blocks(pages(BLOCK, fails=True)))


def test_records_are_read_by_one_request_for_500_certificates_and_none_for_those_of_others(swept: Run) -> None:
    names = {f"c{number:02}": 300.0 for number in range(25)}
    years = dict.fromkeys(names, 365)
    fleet = Fleet({"one": names}, pages=41, lifetimes=years)
    found = swept(fleet)
    assert (found.looked_at, len(fleet.asked)) == (1_025, 3)
    assert found.states == {("corp", "valid"): 1_025}
    others = Fleet({"one": names}, pages=41, lifetimes=years, tags={"team": "web"})
    assert (swept(others).looked_at, others.asked) == (1_025, [])


def test_what_was_listed_before_a_vault_failed_is_started(swept: Run) -> None:
    fleet = Fleet({"one": {"a": 5}}, pages=3, answers={f"one {CERTIFICATES}|3": NotReady("down")})
    found = swept(fleet)
    assert (found.started, list(found.unreadable)) == (["one/a", "one/a"], ["one"])
