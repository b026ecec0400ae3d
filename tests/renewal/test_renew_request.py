"""What a renewal asks for, of which version, and when it is not begun; the vault and the record are in memory."""

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from certrelay.errors import Booked, Conflict, Invalid, NameBusy, NotDue, NotFound, NotPermitted, NotReady
from certrelay.keyvault.certificate import PendingOperation
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.renewal.renew import Changes
from certrelay.setting_models import Rules
from certrelay.storage.operation import CertificateRequest, Kind, Operation, State
from certrelay.storage.renewal_record import RenewalRecord
from tests.renewal.memory import NEWEST, NOW, THUMBPRINT, Memory, bundle

HOUR, DAY, TICK = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
RECORD = RenewalRecord("main", "www", thumbprint=THUMBPRINT.hex())
SWEEP = Origin(requested_by="sweep", reason="due")


def renewed(memory: Memory, changes: Changes = Changes()) -> Operation:  # noqa: B008 - frozen
    return renew.renew(memory.services, "main", "www", SWEEP, changes)


def if_due(memory: Memory) -> Operation:
    return renew.renew_if_due(memory.services, "main", "www", SWEEP)


def test_a_renewal_asks_for_the_same_again_by_its_authority() -> None:
    ended = bundle()["policy"]
    found = renewed(Memory(bundle()))
    request = found.request
    assert (found.kind, found.state, found.reason) == (Kind.RENEW, State.REQUESTED, "due")
    assert (found.replaces, found.replaced, found.requested_by) == (NEWEST, b"certificate", "sweep")
    assert (request.authority, request.validity_days, request.enabled) == ("corp", 60, True)
    assert request.tags == bundle()["tags"]
    kept = {part: ended[part] for part in ("key_props", "x509_props", "lifetime_actions")}
    assert request.policy == kept | {"issuer": {"name": "Unknown", "cert_transparency": False}}
    without_issuer = {**ended, "issuer": None}
    assert renewed(Memory(bundle(policy=without_issuer))).request.policy["issuer"] == {"name": "Unknown"}
    assert found.deadline == NOW + DAY
    assert renewed(Memory(bundle(left=2 * DAY))).deadline == NOW + 16 * HOUR, "a third of what is left, or 16 hours"


@pytest.mark.parametrize(
    ("tags", "changes", "days", "after"),
    [
        ({}, Changes(authority="other"), 60, {"certrelay-authority": "other", "certrelay-validity-days": "60"}),
        ({"certrelay-validity-days": "x"}, Changes(), 90, {"certrelay-validity-days": "90"}),
        ({"certrelay-renewal": "days_before_expiry=9"}, Changes(), 60, {"certrelay-renewal": "days_before_expiry=9"}),
        ({"certrelay-renewal": "nonsense"}, Changes(), 60, {"certrelay-renewal": None}),
    ],
)
def test_the_tags_say_by_whom_when_and_for_how_long(
    tags: dict[str, str], changes: Changes, days: int, after: dict[str, Any]
) -> None:
    request = renewed(Memory(bundle(tags=bundle()["tags"] | tags)), changes).request
    assert (request.authority, request.validity_days) == (request.tags["certrelay-authority"], days)
    assert {tag: request.tags.get(tag) for tag in after} == after
    assert request.tags["team"] == "web"


@pytest.mark.parametrize("reuse_key", [None, True, False])
def test_a_key_is_reused_as_asked_or_else_as_the_policy_says(reuse_key: bool | None) -> None:
    for by_policy in (True, False):
        key = bundle()["policy"]["key_props"] | {"reuse_key": by_policy}
        memory = Memory(bundle(policy=bundle()["policy"] | {"key_props": key}))
        wanted = by_policy if reuse_key is None else reuse_key
        assert renewed(memory, Changes(reuse_key=reuse_key)).request.policy["key_props"] == key | {"reuse_key": wanted}


def test_a_default_validity_keeps_to_the_rules_of_vault_and_authority() -> None:
    memory = Memory(bundle(tags={"certrelay-authority": "corp"}))
    memory.rules = {"vault": Rules(max_validity_days=47), "corp": Rules(max_validity_days=60)}
    assert renewed(memory).request.validity_days == 47


def test_what_the_renewed_version_had_to_meet_exactly_its_successor_has_to_meet_too() -> None:
    memory = Memory(bundle(attributes={**bundle()["attributes"], "enabled": False}))
    kinds = {"1" * 32: ("ekus",), "0" * 32: ("key_usage",)}
    one, other = (
        SimpleNamespace(id="", version=version, authority=None, request=SimpleNamespace(exact=exact, policy={}))
        for version, exact in kinds.items()
    )
    for history, exact in (((), ()), ((other,), ()), ((other, one), ("ekus",))):
        memory.history = history
        assert renewed(memory).request.exact == exact
    assert not renewed(memory).request.enabled


def earlier(**changes: Any) -> Operation:
    policy: dict[str, Any] = {"issuer": {"name": "Unknown"}, "key_props": {"reuse_key": False}}
    made = Operation(
        id="main.www.1", vault="main", name="www", kind=Kind.RENEW, state=State.SUBMITTED, requested_by="test",
        request=CertificateRequest(policy, authority="corp"), requested_at=NOW, deadline=NOW, next_attempt_at=NOW,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        (Changes(), True),
        (Changes("corp", False), True),
        (Changes("other"), False),
        (Changes(reuse_key=True), False),
        (Changes("other", True), False),
    ],
)
def test_an_open_renewal_is_returned_unless_it_does_another_thing(changes: Changes, same: bool) -> None:
    memory = Memory(bundle())
    memory.open = earlier()
    if same:
        assert renewed(memory, changes) is memory.open
    else:
        with pytest.raises(NameBusy, match="www has a different renewal: "):
            renewed(memory, changes)
    assert if_due(memory) is memory.open
    assert memory.events == [], "nothing is read"
    key = {"key_props": {"reuse_key": True}}
    memory.open = earlier(request=CertificateRequest(key, authority="corp"))
    assert renewed(memory, Changes(reuse_key=True)) is memory.open
    with pytest.raises(NameBusy):
        renewed(memory, Changes(reuse_key=False))
    memory.open = earlier(kind=Kind.CREATE)
    with pytest.raises(NameBusy, match="different operation"):
        renewed(memory)


def test_what_is_not_there_not_ours_or_not_allowed_is_not_renewed() -> None:
    def refused(memory: Memory, error: type[Exception], words: str, changes: Changes = Changes()) -> None:  # noqa: B008
        with pytest.raises(error, match=words):
            renewed(memory, changes)
        assert memory.writes == []

    refused(Memory(None), NotFound, "no certificate 'www'")
    refused(Memory(bundle(cer="")), NotFound, "no certificate 'www'")
    refused(Memory(bundle(tags=None)), Conflict, "adopt it first")
    refused(Memory(bundle(tags={"team": "web"})), Conflict, "adopt it first", Changes(authority="corp"))
    refused(Memory(bundle()), Invalid, "no authority 'gone'", Changes(authority="gone"))
    ruled = Memory(bundle())
    ruled.rules = {"vault": Rules(key_types=("RSA",)), "corp": Rules()}
    refused(ruled, NotPermitted, "does not allow EC keys")
    begun = Memory(bundle())
    begun.pending = PendingOperation("x", "inProgress", b"csr", "Self")
    refused(begun, NameBusy, "a pending operation in Key Vault that CertRelay did not create")
    fixed = Memory(bundle())
    made = CertificateRequest({"key_props": {"exportable": False}})
    fixed.history = (SimpleNamespace(id="", version=NEWEST, request=made),)
    refused(fixed, Invalid, "not exportable", Changes(reuse_key=True))


def test_a_change_that_was_cut_off_is_finished_before_its_certificate_is_renewed() -> None:
    tags = {"certrelay-authority": "corp", "certrelay-validity-days": "30"}
    memory = Memory(bundle(), replace(RECORD, unfinished=json.dumps({"tags": tags, "policy": {}})))
    assert renewed(memory).request.validity_days == 30, "read again"
    assert memory.writes == ["tags", "policy", "save", "insert"]
    older = Memory(bundle(), replace(RECORD, thumbprint="older", unfinished="{}"))
    assert renewed(older).request.validity_days == 60
    assert older.writes == ["insert"]
    broken = Memory(bundle(), memory.row)
    broken.row = replace(RECORD, unfinished=json.dumps({"tags": tags, "policy": {}}))
    broken.fails = {"policy": [NotReady("out of order")]}
    with pytest.raises(NotReady):
        renewed(broken)
    assert "insert" not in broken.writes


@pytest.mark.parametrize(
    ("left", "record", "changes", "due"),
    [
        (30 * DAY, {}, {}, True),
        (30 * DAY + 2 * TICK, {}, {}, False),
        (60 * DAY, {"renew_at": NOW}, {}, True),
        (60 * DAY, {"renew_at": NOW + TICK}, {}, False),
        (20 * DAY, {"backed_off_until": NOW}, {}, True),
        (20 * DAY, {"backed_off_until": NOW + TICK}, {}, False),
        (20 * DAY, {}, {"attributes": {"enabled": False, "nbf": 0, "exp": NOW.timestamp()}}, False),
        (20 * DAY, {"backed_off_until": NOW + TICK, "thumbprint": "older"}, {}, True),
    ],
)
def test_a_renewal_by_itself_waits_until_it_is_due(
    left: timedelta, record: dict[str, Any], changes: dict[str, Any], due: bool
) -> None:
    memory = Memory(bundle(left, **changes), replace(RECORD, **record))
    if due:
        assert if_due(memory).kind is Kind.RENEW
    else:
        with pytest.raises(NotDue):
            if_due(memory)
        assert memory.writes == []


@pytest.mark.parametrize(
    ("left", "start", "booked"),
    [
        (16 * DAY, 6 * HOUR, False),
        (16 * DAY, 6 * HOUR + TICK, True),
        (15 * DAY, 9 * HOUR, False),
        (1 * DAY, 9 * HOUR, False),
    ],
)
def test_what_can_wait_does_not_queue_for_longer_than_six_hours(
    left: timedelta, start: timedelta, booked: bool
) -> None:
    memory = Memory(bundle(left))
    memory.next_start = NOW + start
    if booked:
        with pytest.raises(Booked):
            if_due(memory)
        assert memory.writes == []
    else:
        assert if_due(memory).state is State.REQUESTED
    assert renewed(memory).state is State.REQUESTED, "who asks for it need not wait"
