"""The records of dns-persist-01: their two formats, by the vectors of the draft, and what is none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certrelay.connectors.acme.dns_persist import (
    Format,
    NotUsable,
    Offer,
    Record,
    best,
    check_consistency,
    checked_prefix,
    format_of,
    hashed_uri,
    offer_of,
    record_of,
)

THUMBPRINT, ACCOUNT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "https://ca.example/acct/123"
END = datetime(2027, 6, 1, tzinfo=UTC)
RECORD = Record("ca.example", ACCOUNT)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("example.com", "5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"),
        ("*", "NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"),
        ("www.example.com", "-DOo-0FYz3izjZCLExkKNuhpAI8To5TBY1pooKesYdE"),
        ("xn--bcher-kva.example", "sAhud5uMEj0H_DwOAUMzpZMNqxR4d6mQIGYvyPi6lRk"),
    ],
)
def test_the_hash_is_that_of_the_draft(name: str, digest: str) -> None:
    """draft-ietf-acme-dns-persist-02, section 10.2, for the first two; the prefix is joined as it stands."""
    assert hashed_uri("https://ca.example/h/", name, THUMBPRINT, ACCOUNT) == f"https://ca.example/h/sha-256/{digest}"
    assert hashed_uri("urn:x:", name, THUMBPRINT, ACCOUNT) == f"urn:x:sha-256/{digest}"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (RECORD, f"ca.example; accounturi={ACCOUNT}"),
        (replace(RECORD, wildcard=True), f"ca.example; accounturi={ACCOUNT}; policy=wildcard"),
        (replace(RECORD, until=END), f"ca.example; accounturi={ACCOUNT}; persistUntil=1811808000"),
        (
            replace(RECORD, wildcard=True, until=END),
            f"ca.example; accounturi={ACCOUNT}; policy=wildcard; persistUntil=1811808000",
        ),
    ],
)
def test_a_record_is_written_and_read(record: Record, text: str) -> None:
    assert record.text() == text
    assert record_of(text.encode()) == record


def test_a_long_record_is_split_into_strings_that_join_to_the_same() -> None:
    record = replace(RECORD, account_uri=f"https://ca.example/{'a' * 500}", wildcard=True, until=END)
    strings = record.strings()
    assert len(strings) == 3
    assert max(map(len, strings)) == 255
    assert record_of("".join(strings).encode()) == record


@pytest.mark.parametrize(
    "text",
    [
        f"CA.example. ;accounturi={ACCOUNT}",
        f"ca.example;AccountURI = {ACCOUNT}",
        f"ca.example;\taccounturi={ACCOUNT}; unknown-tag=x; other=",
        f"ca.example; accounturi={ACCOUNT}; policy=subdomains",
    ],
)
def test_what_readers_must_tolerate_is_read(text: str) -> None:
    assert record_of(text.encode()) == RECORD


@pytest.mark.parametrize("policy", ["wildcard", "WildCard"])
def test_the_policy_wildcard_is_read_in_any_case(policy: str) -> None:
    assert record_of(f"ca.example;accounturi={ACCOUNT};POLICY={policy}".encode()) == replace(RECORD, wildcard=True)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"ca.example",
        b"ca.example; accounturi=",
        b"ca.example; policy=wildcard",
        f"ca.example; accounturi={ACCOUNT};".encode(),
        f"ca.example;; accounturi={ACCOUNT}".encode(),
        f"ca.example; accounturi={ACCOUNT}; accounturi={ACCOUNT}".encode(),
        f"ca.example; accounturi={ACCOUNT}; x=1; X=2".encode(),
        f"ca.example; accounturi={ACCOUNT}; persistUntil=soon".encode(),
        f"ca.example; accounturi={ACCOUNT}; persistUntil=-1".encode(),
        f"ca.example; accounturi={ACCOUNT}; persistUntil=1.5".encode(),
        f"ca.example; accounturi={ACCOUNT}; persistUntil=".encode(),
        f"ca.example; accounturi={ACCOUNT}; persistUntil={'9' * 400}".encode(),
        f"ca.example; accounturi={ACCOUNT} x".encode(),
        f"ca.example; -tag=x; accounturi={ACCOUNT}".encode(),
        f"ca.example; accounturi={ACCOUNT}ü".encode(),
        b"\xff\xfe",
        b"v=spf1 -all",
    ],
)
def test_a_malformed_record_is_none(text: bytes) -> None:
    """Section 9.3.1, and as Boulder and pebble judge it."""
    assert record_of(text) is None


def test_a_record_for_ever_ends_when_time_does() -> None:
    found = record_of(f"ca.example; accounturi={ACCOUNT}; persistUntil={'9' * 20}".encode())
    assert found is not None
    assert found.until == datetime.max.replace(tzinfo=UTC)


def test_of_several_records_the_one_that_lasts_longest_counts_and_strangers_do_not() -> None:
    late = replace(RECORD, until=END + timedelta(days=9))
    others = [
        replace(RECORD, until=END),
        replace(RECORD, issuer="other.example"),
        replace(RECORD, account_uri="https://ca.example/acct/124"),
        replace(RECORD, account_uri=ACCOUNT.upper()),
    ]
    texts = [record.text().encode() for record in [*others, late]]
    assert best([*texts, b"ca.example;", b"\xff"], RECORD, []) == late
    assert best(texts, replace(RECORD, wildcard=True), []) is None
    assert best([*texts, RECORD.text().encode()], RECORD, []) == RECORD, "without an end is longest"
    assert best(texts, replace(RECORD, account_uri="urn:new"), ["https://ca.example/acct/124"]) == others[2]


URL = {"url": "https://ca.example/chall/1"}


@pytest.mark.parametrize(
    ("challenge", "offer"),
    [
        (
            {"issuer-domain-names": ["ca.example"]},
            Offer(URL["url"], Format.ACCOUNT_URL, ("ca.example",)),
        ),
        (
            {"issuer-domain-names": ["ca.example", "b.example"], "accounturi": ACCOUNT},
            Offer(URL["url"], Format.ACCOUNT_URL, ("ca.example", "b.example"), ACCOUNT),
        ),
        (
            {"issuerDomainNames": ["ca.example"], "accounturi": "https://evil.example"},
            Offer(URL["url"], Format.HASHED, ("ca.example",)),
        ),
    ],
)
def test_the_challenge_says_which_draft_the_server_speaks(challenge: dict[str, Any], offer: Offer) -> None:
    assert offer_of(URL | challenge) == offer


@pytest.mark.parametrize(
    "names",
    [None, [], ["a.example"] * 11, "ca.example", [5], ["CA.example"], ["ca.example."], ["a b"], ["x"], ["ü.example"]],
)
@pytest.mark.parametrize("member", ["issuerDomainNames", "issuer-domain-names"])
def test_a_challenge_with_a_wrong_list_of_issuers_is_rejected(names: Any, member: str) -> None:
    with pytest.raises(NotUsable):
        offer_of(URL | {member: names})


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ({}, Format.ACCOUNT_URL),
        ({"accountHashPrefix": "urn:x"}, Format.ACCOUNT_URL),
        ({"issuerDomainNames": ["ca.example"]}, Format.ACCOUNT_URL),
        ({"issuerDomainNames": ["ca.example"], "accountHashPrefix": "urn:x"}, Format.HASHED),
    ],
)
def test_the_directory_says_which_draft_the_server_speaks(meta: dict[str, Any], found: Format) -> None:
    assert format_of(meta) is found


HASHED = Offer(URL["url"], Format.HASHED, ("ca.example", "b.example"))


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"issuerDomainNames": ["b.example"]},
        {"caaIdentities": ["CA.example.", "b.example", "c"]},
        {"caaIdentities": []},
    ],
)
def test_a_challenge_may_agree_with_the_directory(meta: dict[str, Any]) -> None:
    check_consistency(HASHED, meta)


@pytest.mark.parametrize("meta", [{"issuerDomainNames": ["b.example", "c.example"]}, {"caaIdentities": ["ca.example"]}])
def test_a_challenge_that_contradicts_the_directory_is_not_used(meta: dict[str, Any]) -> None:
    with pytest.raises(NotUsable):
        check_consistency(HASHED, meta)


@pytest.mark.parametrize("prefix", [None, "", 5, "a b", "a;b", "ü", "x" * 1001, ["x"]])
def test_a_prefix_that_cannot_stand_in_a_record_is_not_used(prefix: Any) -> None:
    with pytest.raises(NotUsable):
        checked_prefix(prefix)
