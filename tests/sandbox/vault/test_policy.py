"""Policies as values: read, filled in, merged; and when their actions become due."""

import copy
import datetime
import queue
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sandbox.vault.crypto import KeyPool, add_months, dump_key, key_usage, load_key
from sandbox.vault.errors import KeyVaultError
from sandbox.vault.model import Certificate, Deletion, Operation, Version
from sandbox.vault.policy import KEY_USAGES, alternative_names, complete, merged, read_policy
from sandbox.vault.schedule import next_due

NOW = 1_800_000_000
DAY = 86400


def policy(**members: Any) -> dict[str, Any]:
    """A whole policy of issuer Self."""
    return complete(read_policy({"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a"}, **members}), NOW)


# -- reading and filling in -----------------------------------------------------------------------------------------


def test_unknown_members_are_dropped_and_null_is_as_good_as_absent() -> None:
    sent = {"id": "x", "nonsense": 1, "issuer": {"name": "Self", "cty": None, "x": 1}, "key_props": None}
    assert read_policy(sent) == {"issuer": {"name": "Self"}}


@pytest.mark.parametrize(
    "raw",
    [
        [],
        "x",
        5,
        {"issuer": "Self"},
        {"issuer": {"name": 5}},
        {"key_props": {"exportable": "yes"}},
        {"key_props": {"key_size": 2048.0}},
        {"key_props": {"key_size": True}},
        {"x509_props": {"ekus": ["1.2", 3]}},
        {"x509_props": {"sans": {"emails": [None]}}},
        {"lifetime_actions": {}},
        {"platformManaged": {"metadata": []}},
    ],
)
def test_members_of_a_wrong_type_are_refused(raw: object) -> None:
    with pytest.raises(KeyVaultError) as refused:
        read_policy(raw)
    assert (refused.value.status, refused.value.code) == (400, "BadParameter")
    assert refused.value.message.startswith("Property policy has invalid value")


def test_what_is_read_is_a_copy() -> None:
    sent = {"platformManaged": {"certificateUsage": "x", "metadata": {"a": [1]}}}
    read = read_policy(sent)
    read["platformManaged"]["metadata"]["a"].append(2)
    assert sent["platformManaged"]["metadata"] == {"a": [1]}


def test_a_complete_policy_is_complete_already() -> None:
    whole = policy(key_props={"kty": "EC", "crv": "P-384"})
    again = complete(read_policy(whole), NOW)
    assert again == whole


@pytest.mark.parametrize(
    ("sent", "filled"),
    [
        ({}, {"kty": "RSA", "key_size": 2048}),
        ({"kty": "rsa"}, {"kty": "RSA", "key_size": 2048}),
        ({"kty": "EC"}, {"kty": "EC", "key_size": 256, "crv": "P-256"}),
        ({"crv": "P-521"}, {"kty": "EC", "key_size": 521, "crv": "P-521"}),
        ({"kty": "EC", "key_size": 384}, {"kty": "EC", "key_size": 384, "crv": "P-384"}),
        ({"kty": "EC", "crv": "P-256K"}, {"kty": "EC", "key_size": 256, "crv": "P-256K"}),
        ({"kty": "RSA", "key_size": 4096, "crv": "P-256"}, {"kty": "RSA", "key_size": 4096}),
    ],
)
def test_the_kind_of_key_is_filled_in(sent: dict[str, Any], filled: dict[str, Any]) -> None:
    found = policy(key_props=sent)["key_props"]
    assert found == {"exportable": True, "reuse_key": False, **filled}


@given(st.lists(st.sampled_from(KEY_USAGES), unique=True))
def test_key_usages_come_back_sorted_without_regard_to_case(usages: list[str]) -> None:
    props = {"subject": "CN=a", "key_usage": [usage.swapcase() for usage in usages]}
    assert policy(x509_props=props)["x509_props"]["key_usage"] == sorted(usages, key=str.lower)


@given(st.sets(st.sampled_from(KEY_USAGES[:1] + KEY_USAGES[1:2] + KEY_USAGES[3:4] + KEY_USAGES[5:]), min_size=1))
def test_the_key_usage_extension_is_encoded_as_by_the_library(usages: set[str]) -> None:
    expected = x509.KeyUsage(
        digital_signature="digitalSignature" in usages,
        content_commitment="nonRepudiation" in usages,
        key_encipherment="keyEncipherment" in usages,
        data_encipherment="dataEncipherment" in usages,
        key_agreement="keyAgreement" in usages,
        key_cert_sign="keyCertSign" in usages,
        crl_sign="cRLSign" in usages,
        encipher_only=False,
        decipher_only=False,
    )
    assert key_usage(sorted(usages)).public_bytes() == expected.public_bytes()


@pytest.mark.parametrize("length", [1, 127, 128, 255, 256, 1000])
def test_a_principal_name_of_any_length_is_one_utf8_string(length: int) -> None:
    (name,) = alternative_names({"upns": ["ü" + "x" * (length - 1)]})
    assert isinstance(name, x509.OtherName)
    assert name.value.endswith(("ü" + "x" * (length - 1)).encode())
    header = len(name.value) - length - 1
    assert name.value[0] == 0x0C
    assert header == (2 if length + 1 < 128 else 3 if length + 1 < 256 else 4)


# -- merging --------------------------------------------------------------------------------------------------------


def test_an_empty_change_changes_the_time_of_the_update_only() -> None:
    whole = policy()
    changed = merged(whole, {}, NOW + 5)
    assert changed["attributes"] == {"enabled": True, "created": NOW, "updated": NOW + 5}
    assert {**changed, "attributes": None} == {**whole, "attributes": None}


def test_a_change_leaves_the_stored_policy_alone() -> None:
    whole = policy()
    before = copy.deepcopy(whole)
    merged(whole, read_policy({"x509_props": {"ekus": ["1.2.3"], "sans": {"dns_names": ["a"]}}}), NOW + 5)
    assert whole == before


def test_lists_are_replaced_and_objects_merged() -> None:
    whole = policy(x509_props={"subject": "CN=a", "sans": {"dns_names": ["a", "b"], "emails": ["x@y"]}})
    changed = merged(whole, read_policy({"x509_props": {"sans": {"dns_names": ["c"]}}}), NOW)
    assert changed["x509_props"]["sans"] == {"dns_names": ["c"], "emails": ["x@y"]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kty": "EC"}, ("EC", 256, "P-256")),
        ({"kty": "EC", "crv": "P-521"}, ("EC", 521, "P-521")),
        ({"key_size": 4096}, ("RSA", 4096, None)),
    ],
)
def test_size_and_curve_follow_the_changed_kind(change: dict[str, Any], expected: tuple[str, int, str | None]) -> None:
    found = merged(policy(), {"key_props": change}, NOW)["key_props"]
    assert (found["kty"], found["key_size"], found.get("crv")) == expected


def test_a_changed_curve_brings_its_size() -> None:
    found = merged(policy(key_props={"crv": "P-256"}), {"key_props": {"crv": "P-384"}}, NOW)["key_props"]
    assert (found["crv"], found["key_size"]) == ("P-384", 384)


def test_a_change_to_something_impossible_is_refused() -> None:
    with pytest.raises(KeyVaultError):
        merged(policy(), {"x509_props": {"subject": "nonsense"}}, NOW)


# -- keys and months ------------------------------------------------------------------------------------------------


def test_the_pool_gives_every_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyPool, "_keys", queue.Queue())
    pool = KeyPool(size=2)
    pool.start()
    try:
        kind = {"kty": "RSA", "key_size": 2048}
        numbers = [pool.take(kind).public_key().public_numbers() for _ in range(5)]
    finally:
        pool.stop()
    assert len({str(number) for number in numbers}) == 5


def test_a_pool_that_was_never_started_can_be_stopped() -> None:
    KeyPool().stop()


def test_a_key_is_read_back_as_it_was_written() -> None:
    for key in (ec.generate_private_key(ec.SECP521R1()), KeyPool().take({"kty": "RSA", "key_size": 2048})):
        again = load_key(dump_key(key))
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        assert again.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2027-01-31", 1, "2027-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2027-12-15", 1, "2028-01-15"),
        ("2027-11-30", 3, "2028-02-29"),
        ("2027-05-05", 24, "2029-05-05"),
        ("2027-05-05", 1200, "2127-05-05"),
        ("9990-05-05", 1200, "9999-05-05"),
    ],
)
def test_months_are_calendar_months(start: str, months: int, end: str) -> None:
    assert add_months(datetime.datetime.fromisoformat(start), months) == datetime.datetime.fromisoformat(end)


# -- what falls due -------------------------------------------------------------------------------------------------


def version(**changes: Any) -> Version:
    """A completed version, valid from NOW for 100 days."""
    given: dict[str, Any] = {"certificate": b"x", "not_before": NOW, "expires": NOW + 100 * DAY} | changes
    return Version(id="0" * 32, created=NOW, updated=NOW, key=b"", **given)


def action(kind: str, **trigger: int) -> list[dict[str, Any]]:
    return [{"trigger": trigger, "action": {"action_type": kind}}]


def due(
    held: Version, pending: Operation | None = None, deletion: Deletion | None = None, **members: Any
) -> float | None:
    """In days after NOW."""
    moment = next_due(Certificate("a", policy(**members), (held,), pending, deletion))
    return None if moment is None else (moment - NOW) / DAY


AT_99: dict[str, Any] = {"lifetime_actions": action("EmailContacts", lifetime_percentage=99)}


def test_near_expiry_comes_thirty_days_ahead_then_the_action_then_the_end() -> None:
    assert due(version(), **AT_99) == 70
    assert due(version(near_expiry_raised=True), **AT_99) == pytest.approx(99)
    assert due(version(near_expiry_raised=True, lifetime_action_done=True), **AT_99) == 100
    done = version(near_expiry_raised=True, lifetime_action_done=True, expired_raised=True)
    assert due(done, **AT_99) is None


@pytest.mark.parametrize(("trigger", "expected"), [({"lifetime_percentage": 50}, 50), ({"days_before_expiry": 60}, 40)])
def test_an_action_comes_at_its_share_or_its_days(trigger: dict[str, int], expected: float) -> None:
    assert due(version(), lifetime_actions=action("AutoRenew", **trigger)) == expected


def test_nothing_renews_for_an_unknown_issuer_but_its_contacts_are_mailed() -> None:
    renewing: dict[str, Any] = {
        "issuer": {"name": "Unknown"},
        "lifetime_actions": action("AutoRenew", lifetime_percentage=10),
    }
    mailing: dict[str, Any] = {
        "issuer": {"name": "Unknown"},
        "lifetime_actions": action("EmailContacts", lifetime_percentage=10),
    }
    assert due(version(), **renewing) == 70
    assert due(version(), **mailing) == 10


def operation(**changes: Any) -> Operation:
    return Operation(version="0" * 32, request_id="1" * 32, issuer="Self", csr=b"", **changes)


def test_an_issuers_answer_and_a_cancellation_have_their_moments() -> None:
    waiting = version(certificate=None)
    assert due(waiting, operation(due=NOW + DAY)) == 1
    assert due(waiting, operation(due=NOW + 5 * DAY, cancellation_requested=True, cancel_due=NOW + DAY)) == 1
    assert due(waiting, operation(due=NOW + DAY, cancellation_requested=True, cancel_due=NOW + 5 * DAY)) == 5
    assert due(waiting, operation()) is None
    assert due(waiting, operation(status="failed", due=NOW)) is None


def test_an_action_waits_for_the_operation_in_progress() -> None:
    held = version(near_expiry_raised=True)
    early: dict[str, Any] = {"lifetime_actions": action("AutoRenew", lifetime_percentage=1)}
    assert due(held, operation(), **early) == 100
    assert due(held, operation(status="completed"), **early) == 1


def test_only_the_purge_is_due_for_what_is_deleted() -> None:
    deletion = Deletion(deleted=NOW, visible=NOW, scheduled_purge=NOW + 90 * DAY)
    assert due(version(), operation(due=NOW), deletion) == 90
