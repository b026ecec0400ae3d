"""When a certificate is due, and what a renewal keeps; what events and sweeps may start (checks 42 to 44)."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certrelay.certificates import adopt, edit
from certrelay.certificates import create as creations
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Outcome, Pending, Rejected, SigningRequest, Unavailable
from certrelay.errors import Conflict, NotFound, NotPermitted, NotReady
from certrelay.keyvault import policy
from certrelay.keyvault.client import Vault
from certrelay.keyvault.tags import threshold_of
from certrelay.operations import find
from certrelay.operations.submit import Origin
from certrelay.renewal import events, sweep
from certrelay.renewal import renew as renewal
from certrelay.renewal.due import due_at
from certrelay.renewal.renew import Changes
from certrelay.storage.operation import Operation, State
from tests.world import ALIAS, World

KEY = {"key_props": {"kty": "EC", "crv": "P-256"}}
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


def made(world: World, name: str, **changes: object) -> Operation:
    asked = CertificateSpec(
        authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY, tags={"team": "web"}
    )
    creations.create(world.services, ALIAS, name, replace(asked, **changes), requested_by="test")  # type: ignore[arg-type]
    ended = world.finish(name)
    assert ended.state is State.COMPLETED
    return ended


def grow_old(world: World, name: str, days_left: float) -> None:
    bundle = world.vault.get(name)
    assert bundle is not None
    world.clock.advance(bundle["attributes"]["exp"] - days_left * 86_400 - world.clock.now())


def leaf(world: World, name: str) -> x509.Certificate:
    bundle = world.vault.get(name)
    assert bundle is not None
    return x509.load_der_x509_certificate(base64.b64decode(bundle["cer"]))


def near_expiry(world: World, name: str) -> None:
    identifier = f"{world.server.url}/certificates/{name}/00000000000000000000000000000000"
    events.handle(world.services, events.NEAR_EXPIRY, {"Id": identifier, "ObjectName": name})


def test_a_renewal_keeps_policy_tags_names_and_authority_and_makes_a_new_key(world: World) -> None:
    name = world.name()
    first = made(world, name)
    before, old = world.vault.get(name), leaf(world, name)
    grow_old(world, name, 20)
    near_expiry(world, name)
    second = world.finish(name)
    assert (second.kind, second.state, second.replaces) == ("renew", State.COMPLETED, first.version)
    after, new = world.vault.get(name), leaf(world, name)
    assert before is not None
    assert after is not None
    assert after["tags"] == before["tags"]
    kept = ("key_props", "secret_props", "x509_props", "lifetime_actions", "issuer")
    assert {part: after["policy"].get(part) for part in kept} == {part: before["policy"].get(part) for part in kept}
    assert policy.names(after["policy"]).dns_names == (f"{name}.contoso.example",)
    assert new.public_key() != old.public_key()
    assert new.not_valid_after_utc > old.not_valid_after_utc + timedelta(days=60)
    assert world.ca.seen[-1].replaces == base64.b64decode(before["cer"])


def lifetime(world: World, name: str) -> int:
    """Days."""
    found = leaf(world, name)
    return round((found.not_valid_after_utc - found.not_valid_before_utc) / timedelta(days=1))


@pytest.mark.parametrize("adopted", [False, True])
def test_a_renewal_lives_as_long_as_the_policy_says_once_that_is_changed(world: World, adopted: bool) -> None:
    name = world.name()
    made(world, name, validity_days=365)
    if adopted:
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", validity_days=60))
    edit.update_policy(world.services, ALIAS, name, {"x509_props": {"validity_months": 3}})
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    assert world.finish(name).state is State.COMPLETED
    assert lifetime(world, name) == 91


@pytest.mark.parametrize(("days", "adopted"), [(47, False), (47, True), (1825, False)])
def test_a_policy_that_is_read_and_sent_back_changes_no_lifetime(world: World, days: int, adopted: bool) -> None:
    name = world.name()
    made(world, name, validity_days=365 if adopted else days)
    if adopted:
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", validity_days=days))
    bundle = world.vault.get(name)
    assert bundle is not None
    asked = {part: bundle["policy"][part] for part in ("key_props", "x509_props", "lifetime_actions")}
    edit.update_policy(world.services, ALIAS, name, asked)
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    assert world.finish(name).state is State.COMPLETED
    assert lifetime(world, name) == days


@pytest.mark.parametrize("other", [{"authority": "another-ca"}, {"reuse_key": True}])
def test_a_renewal_in_another_way_than_the_open_one_is_refused_not_forgotten(world: World, other: Any) -> None:
    name = world.name()
    waiting_renewal(world, name)
    known = world.services.settings.authorities
    settings = replace(world.services.settings, authorities={**known, "another-ca": known["test-ca"]})
    services = replace(world.services, settings=settings)
    with pytest.raises(Conflict) as refused:
        renewal.renew(services, ALIAS, name, Origin(requested_by="t"), Changes(**other))
    assert refused.value.code == "NameBusy"
    same = {"authority": "test-ca", "reuse_key": False}
    again = renewal.renew(services, ALIAS, name, Origin(requested_by="t"), Changes(**same))  # type: ignore[arg-type]
    open_one = services.storage.open(ALIAS, name)
    assert open_one is not None
    assert again.id == open_one.id
    world.finish(name)


def test_a_renewal_that_is_asked_for_again_with_its_key_is_found_whatever_was_changed_since(world: World) -> None:
    name = world.name()
    made(world, name, validity_days=365)

    def renew(**other: Any) -> Operation:
        return renewal.renew(
            world.services, ALIAS, name, Origin(requested_by="t", idempotency_key=name), Changes(**other)
        )

    first = renew()
    assert world.finish(name).state is State.COMPLETED
    edit.update_policy(world.services, ALIAS, name, {"x509_props": {"validity_months": 3}})
    again = renew()
    assert (again.id, again.state) == (first.id, State.COMPLETED)
    assert len(world.versions(name)) == 2
    with pytest.raises(Conflict):
        renew(reuse_key=True)


def test_names_that_are_written_into_the_policy_are_normalised_like_those_of_a_creation(world: World) -> None:
    name = world.name()
    made(world, name)
    wanted = {"subject": "CN=www.contoso.example", "sans": {"dns_names": ["Bücher.Example.", "www.contoso.example"]}}
    edit.update_policy(world.services, ALIAS, name, {"x509_props": wanted})
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    assert world.finish(name).state is State.COMPLETED
    assert world.ca.seen[-1].names.dns_names == ("xn--bcher-kva.example", "www.contoso.example")


def waiting_renewal(world: World, name: str) -> None:
    """A renewal that is at the authority, which takes its time."""
    made(world, name)
    world.ca.wait = 1
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    world.advance(name)
    assert world.ca.seen[-1].replaces is not None


def test_tags_and_threshold_that_are_changed_while_a_renewal_waits_are_kept(world: World) -> None:
    name = world.name()
    waiting_renewal(world, name)
    edit.update(world.services, ALIAS, name, {"team": "shop", "cost": "42"}, None)
    action = {"trigger": {"days_before_expiry": 20}, "action": {"action_type": "EmailContacts"}}
    edit.update_policy(world.services, ALIAS, name, {"lifetime_actions": [action]})
    before = world.vault.get(name)
    assert world.finish(name).state is State.COMPLETED
    after = world.vault.get(name)
    assert before is not None
    assert after is not None
    assert after["tags"] == before["tags"]
    assert (after["tags"]["team"], after["tags"]["certrelay-renewal"]) == ("shop", "days_before_expiry=20")
    assert len(world.versions(name)) == 2


def test_a_certificate_whose_tags_somebody_took_away_while_its_renewal_waited_is_not_managed_again(
    world: World,
) -> None:
    name = world.name()
    waiting_renewal(world, name)
    world.vault.call("PATCH", f"/certificates/{name}", {"tags": {"team": "web"}})
    assert world.finish(name).state is State.COMPLETED
    bundle = world.vault.get(name)
    assert bundle is not None
    assert bundle["tags"] == {"team": "web"}


def test_the_same_event_twice_makes_one_renewal(world: World) -> None:
    name = world.name()
    made(world, name)
    grow_old(world, name, 20)
    near_expiry(world, name)
    near_expiry(world, name)
    world.finish(name)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None, "Key Vault's dates say that it is fresh"
    assert len(world.versions(name)) == 2


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (events.NEAR_EXPIRY, {}),
        (events.NEAR_EXPIRY, {"Id": 7}),
        (events.NEAR_EXPIRY, {"Id": "https://other.vault.azure.net/certificates/{name}/1"}),
        (events.NEAR_EXPIRY, {"Id": "{url}/certificates/no-such-certificate/1"}),
        (events.NEAR_EXPIRY, {"Id": "{url}/secrets/{name}/1"}),
        (events.NEAR_EXPIRY, {"Id": "{url}/certificates/{name}/../../x"}),
        ("Microsoft.KeyVault.CertificateNewVersionCreated", {"Id": "{url}/certificates/{name}/1"}),
        ("Microsoft.KeyVault.SomethingOfTheFuture", {"Id": "{url}/certificates/{name}/1"}),
        ("", {"Id": "{url}/certificates/{name}/1"}),
    ],
)
def test_an_event_that_is_foreign_forged_or_of_the_future_does_nothing(
    world: World, kind: str, data: dict[str, str]
) -> None:
    name = world.name()
    made(world, name)
    grow_old(world, name, 20)
    filled = {
        key: value.format(url=world.server.url, name=name) if isinstance(value, str) else value
        for key, value in data.items()
    }
    events.handle(world.services, kind, filled)
    assert world.services.storage.open(ALIAS, name) is None


def test_a_forged_near_expiry_of_a_fresh_certificate_does_nothing(world: World) -> None:
    name = world.name()
    made(world, name)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None


def test_an_event_of_a_disabled_certificate_does_nothing(world: World) -> None:
    name = world.name()
    made(world, name)
    edit.update(world.services, ALIAS, name, None, enabled=False)
    grow_old(world, name, 20)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None, "the sweep leaves it alone too"


def test_an_event_that_the_app_may_not_look_into_does_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> None:
        raise NotPermitted("the app may not read certificates", "Forbidden")

    monkeypatch.setattr(world.vault, "get", refuse)
    for kind in (events.NEAR_EXPIRY, events.EXPIRED):
        events.handle(world.services, kind, {"Id": f"{world.server.url}/certificates/{world.name()}"})


@pytest.mark.parametrize("kind", [events.NEAR_EXPIRY, events.EXPIRED])
def test_an_event_of_a_vault_that_is_not_ready_is_delivered_again(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def throttle(_name: str) -> None:
        raise NotReady("Key Vault answered 429", 10)

    monkeypatch.setattr(world.vault, "get", throttle)
    with pytest.raises(NotReady):
        events.handle(world.services, kind, {"Id": f"{world.server.url}/certificates/{world.name()}"})


def test_an_event_of_a_certificate_that_is_not_ours_does_nothing(world: World) -> None:
    name = world.name()
    world.vault.create(
        name, creations.complete(world.services, ALIAS, name, CertificateSpec(subject="CN=x")).policy, {}, True
    )
    world.clock.advance(60)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None


def test_a_lost_event_is_made_good_by_the_sweep(lonely_world: World) -> None:
    """Check 43."""
    world = lonely_world
    name = world.name()
    made(world, name, validity_days=6)
    grow_old(world, name, 1.9)
    swept = sweep.sweep(world.services)
    assert f"{ALIAS}/{name}" in swept.started
    assert world.finish(name).kind == "renew"
    assert f"{ALIAS}/{name}" not in sweep.sweep(world.services).started


@pytest.mark.slow
@pytest.mark.parametrize("answer", [Pending("never done", 3600), Unavailable("down"), Rejected("not now")])
def test_a_certificate_of_six_days_gets_three_tries_on_different_sweeps_whatever_its_authority_answers(
    lonely_world: World, answer: Outcome
) -> None:
    """Check 43."""
    world, name = lonely_world, lonely_world.name()
    made(world, name, validity_days=6)
    grow_old(world, name, 2)
    world.ca.answers = [answer] * 1000
    started = []
    for _ in range(48):
        started += sweep.sweep(world.services).started
        sweep.advance_due(world.services)
        world.clock.advance(3600)
    assert len(started) >= 3


def test_the_sweep_takes_the_soonest_expiry_first_and_no_more_than_its_batch(lonely_world: World) -> None:
    """Check 44."""
    world = lonely_world
    names = {days: world.name(f"-{days}") for days in (9, 7, 8)}
    for days, name in names.items():
        made(world, name, validity_days=days)
    world.clock.advance(6.5 * 86_400)
    limited = replace(world.services, settings=replace(world.services.settings, renewal_batch=2))
    assert sweep.sweep(limited).started == [f"{ALIAS}/{names[7]}", f"{ALIAS}/{names[8]}"]
    for days in (7, 8):
        world.finish(names[days])


def test_one_bad_certificate_does_not_stop_the_sweep(lonely_world: World) -> None:
    world = lonely_world
    bad, good = world.name("-bad"), world.name("-good")
    made(world, bad, validity_days=6)
    made(world, good, validity_days=6)
    bundle = world.vault.get(bad)
    assert bundle is not None
    world.vault.call("PATCH", f"/certificates/{bad}", {"tags": {**bundle["tags"], "certrelay-authority": "gone"}})
    world.clock.advance(4.5 * 86_400)
    swept = sweep.sweep(world.services)
    assert f"{ALIAS}/{good}" in swept.started
    assert any(bad in refusal and "gone" in refusal for refusal in swept.refused)
    world.finish(good)


def test_a_renewal_that_somebody_overtook_ends_without_a_new_version(world: World) -> None:
    name = world.name()
    made(world, name)
    started = renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    stale = replace(started, replaces="0" * 32)
    world.services.storage.save(stale)
    ended = world.finish(name)
    assert (ended.state, len(world.versions(name))) == (State.CANCELED, 1)


def test_a_failed_renewal_leaves_the_old_version_in_use(world: World) -> None:
    name = world.name()
    made(world, name)
    old = leaf(world, name)
    world.ca.answers = [Rejected("no longer yours")]
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    assert world.finish(name).state is State.FAILED
    assert leaf(world, name) == old


def test_what_is_not_there_or_not_ours_cannot_be_renewed(world: World) -> None:
    with pytest.raises(NotFound):
        renewal.renew(world.services, ALIAS, world.name(), Origin(requested_by="t"))
    name = world.name("-own")
    asked = CertificateSpec(subject="CN=own.contoso.example", policy=KEY)
    creations.create(world.services, ALIAS, name, asked, requested_by="t")
    world.finish(name)
    for authority in (None, "test-ca"):
        with pytest.raises(Conflict) as refused:
            renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"), Changes(authority=authority))
        assert refused.value.code == "NotManaged"


def test_the_poll_timer_advances_what_is_due_and_one_crash_stops_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check 13."""
    names = [world.name(f"-{number}") for number in range(3)]
    for name in names:
        asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY)
        creations.create(world.services, ALIAS, name, asked, requested_by="test")
    create = world.vault.create

    def create_or_crash(name: str, *wanted: Any) -> Any:
        if name == names[1]:
            raise ZeroDivisionError
        return create(name, *wanted)

    with monkeypatch.context() as patched:
        patched.setattr(world.vault, "create", create_or_crash)
        assert sweep.advance_due(world.services) == 3
    states = [find.latest(world.services, ALIAS, name).state for name in names]
    assert states == [State.COMPLETED, State.REQUESTED, State.COMPLETED]
    assert world.finish(names[1]).state is State.COMPLETED
    assert sweep.advance_due(world.services) == 0


def test_a_poll_that_has_no_time_left_leaves_the_rest_to_the_next_one(world: World) -> None:
    names = [world.name(f"-{number}") for number in range(3)]
    for name in names:
        asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY)
        creations.create(world.services, ALIAS, name, asked, requested_by="test")
    signed = world.ca.signed

    def slow(request: SigningRequest) -> bytes:
        world.clock.advance(200)
        return signed(request)

    world.ca.issue = slow
    assert sweep.advance_due(world.services) == 3
    assert len(list(world.services.storage.worklist())) == 2
    for _ in range(2):
        sweep.advance_due(world.services)
    assert [find.latest(world.services, ALIAS, name).state for name in names] == [State.COMPLETED] * 3


def test_an_operation_that_crashes_at_every_look_of_the_timer_ends_at_its_deadline(world: World) -> None:
    """Its message in the queue is lost, so that no poison queue ends it."""
    name = world.name()
    asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY)
    opened = creations.create(world.services, ALIAS, name, asked, requested_by="test")
    vault = Vault(world.vault._client)

    def bug(name: str) -> None:
        raise RuntimeError("nobody foresaw this")

    vault.pending = bug  # type: ignore[method-assign]
    broken = replace(world.services, vault=lambda alias: vault)
    sweep.advance_due(broken)
    current = world.services.storage.open(ALIAS, name)
    assert current is not None
    assert current.crashes == 1, "before the deadline it is only counted"
    world.clock.advance((opened.deadline - world.services.now()).total_seconds() + 1)
    for _ in range(2):
        sweep.advance_due(broken)
    assert world.services.storage.open(ALIAS, name) is None
    ended = find.latest(world.services, ALIAS, name)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert ended.failure.code == "TimedOut"


def test_an_event_wakes_no_certificate_that_rests_after_a_failure(world: World) -> None:
    """Whoever can post events could use up the authority's limits otherwise."""
    name = world.name()
    made(world, name)
    grow_old(world, name, 20)
    world.ca.answers = [Rejected("closed")]
    near_expiry(world, name)
    assert world.finish(name).state is State.FAILED
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None
    world.clock.advance(3601)
    near_expiry(world, name)
    assert world.finish(name).state is State.COMPLETED


@pytest.mark.parametrize("how", ["by its policy", "as asked"])
def test_a_renewal_keeps_the_key_where_that_is_wanted(world: World, how: str) -> None:
    name = world.name()
    by_policy = {"policy": {"key_props": {**KEY["key_props"], "reuse_key": True}}}
    made(world, name, **(by_policy if how == "by its policy" else {}))
    old, reuse_key = leaf(world, name), True if how == "as asked" else None
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"), Changes(reuse_key=reuse_key))
    assert world.finish(name).state is State.COMPLETED
    new = leaf(world, name)
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number


def test_a_renewal_with_the_same_key_whose_pending_operation_is_gone_is_not_taken_for_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that it renews has the key of the certificate that was issued, too."""
    name = world.name()
    made(world, name, policy={"key_props": {**KEY["key_props"], "reuse_key": True}})

    def not_ready(*_: Any) -> None:
        raise NotReady("Key Vault answered 503")

    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    with monkeypatch.context() as patched:
        patched.setattr(world.vault, "merge", not_ready)
        world.advance(name)
    waiting = world.services.storage.open(ALIAS, name)
    assert waiting is not None
    assert waiting.state is State.ISSUED
    world.vault.call("DELETE", f"/certificates/{name}/pending")
    ended = world.finish(name)
    assert ended.failure is not None
    assert (ended.state, ended.failure.code) == (State.FAILED, "PendingOperationReplaced")
    assert len(world.versions(name)) == 1
