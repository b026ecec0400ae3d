"""What a renewal keeps, and which renewals are refused (checks 42 to 44)."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.certificates import adopt, edit
from certrelay.certificates import create as creations
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Rejected
from certrelay.errors import Conflict, NotFound, NotReady
from certrelay.keyvault import policy
from certrelay.keyvault.certificate import item_of
from certrelay.operations import intervene
from certrelay.operations.submit import Origin
from certrelay.renewal import renew as renewal
from certrelay.renewal.renew import Changes
from certrelay.storage.operation import Operation, State
from tests.renewal.versions import grow_old, leaf, made, near_expiry
from tests.world import ALIAS, KEY, World


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


def failed(world: World, name: str) -> Operation:
    """A renewal that the authority rejects."""
    world.ca.answers = [Rejected("closed")]
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    ended = world.finish(name)
    assert ended.state is State.FAILED
    return ended


def renewed_by_somebody_else(world: World, name: str) -> None:
    """A new version that CertRelay has nothing to do with."""
    bundle = world.vault.get(name) or {}
    kept = {key: value for key, value in bundle["policy"].items() if key not in ("id", "attributes")}
    pending = world.vault.create(name, kept, bundle["tags"], True)
    pem = world.ca.signed(replace(world.ca.seen[-1], csr=pending.csr, not_after=world.services.now() + timedelta(90)))
    chain = tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))
    world.vault.merge(name, chain[:1], bundle["tags"], True)


@pytest.mark.parametrize("renewed", [made, renewed_by_somebody_else])
def test_failures_to_renew_an_earlier_version_do_not_count_for_a_newer_one(
    world: World, renewed: Callable[[World, str], object]
) -> None:
    name = world.name()
    made(world, name)
    for count in (1, 2, 3):
        failed(world, name)
        assert world.services.storage.renewals.record(ALIAS, name).failures == count
    renewed(world, name)
    ended = failed(world, name)
    record = world.services.storage.renewals.record(ALIAS, name)
    assert record.failures == 1
    assert ended.ended_at is not None
    assert record.backed_off_until == ended.ended_at + timedelta(hours=1)


def test_a_renewal_that_was_canceled_is_no_failure_of_its_version(world: World) -> None:
    name = world.name()
    made(world, name)
    for _ in range(3):
        renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
        intervene.cancel(world.services, ALIAS, name)
        assert world.finish(name).state is State.CANCELED
    failed(world, name)
    assert world.services.storage.renewals.record(ALIAS, name).failures == 1


def test_a_failed_renewal_says_nothing_of_the_version_that_somebody_else_made_meanwhile(world: World) -> None:
    name = world.name()
    made(world, name)
    world.ca.wait = 3
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    waiting = world.advance(name)
    assert waiting is not None
    world.vault.delete_pending(name, waiting.request_id)
    renewed_by_somebody_else(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "PendingOperationReplaced"
    newest = item_of(world.vault.get(name) or {})
    record = world.services.storage.renewals.record(ALIAS, name).about(newest.thumbprint)
    assert (record.failures, record.last_failure, record.backed_off_until) == (0, "", None)
