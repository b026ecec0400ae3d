"""What keeps a whole fleet alive: adoption, mass replacement, rates, windows, alarms, notices."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from cryptography import x509
from cryptography.x509.oid import NameOID

from certrelay import authorities, health
from certrelay.authorities import publish_crls, roll_over
from certrelay.certificates import issuers
from certrelay.connectors.base import ConnectorError, Context, Rejected, RenewalWindow
from certrelay.errors import Conflict, Invalid, NotFound, NotPermitted, NotReady
from certrelay.keyvault import client as key_vault
from certrelay.keyvault.client import item_of
from certrelay.renewal import alerts, digest, replacement_run, replacements, sweep
from certrelay.renewal import events as hints
from certrelay.renewal.renewal_info import with_window
from certrelay.renewal.replacements import Criteria
from certrelay.storage.operation import State
from certrelay.storage.renewal_record import RenewalRecord
from tests.notifications.receiver import delivered, listening
from tests.world import ALIAS, DAY, KEY, TestCa, World, made, out_of_order


class TestReplacement:
    def run(self, world: World, criteria: Criteria) -> dict[str, int]:
        job = replacements.start(world.services, criteria, "test")
        replacement_run.advance_all(world.services)
        for entry in list(world.services.storage.worklist()):
            world.finish(entry.name)
        replacement_run.advance_all(world.services)
        return replacements.progress(world.services, job.id)

    def test_all_that_match_are_renewed_once_and_the_progress_can_be_read(self, lonely_world: World) -> None:
        world = lonely_world
        names = [world.name(f"-{number}") for number in range(3)]
        for name in names:
            made(world, name)
        other = world.name("x-other")
        made(world, other, authority=None)
        progress = self.run(world, Criteria(authority="test-ca"))
        assert progress == {"matched": 3, "completed": 3}
        assert [len(world.versions(name)) for name in (*names, other)] == [2, 2, 2, 1]
        replacement_run.advance_all(world.services)
        assert [len(world.versions(name)) for name in names] == [2, 2, 2], "going on changes nothing"

    def test_serials_issuer_and_key_type_are_read_in_the_certificate(self, lonely_world: World) -> None:
        world = lonely_world
        names = [world.name(f"-{number}") for number in range(2)]
        for name in names:
            made(world, name)
        bundle = world.vault.get(names[1])
        assert bundle is not None
        serial = x509.load_der_x509_certificate(base64.b64decode(bundle["cer"])).serial_number
        assert self.run(world, Criteria(serial_numbers=(f"{serial:X}",))) == {"matched": 1, "completed": 1}
        assert self.run(world, Criteria(authority="test-ca", issuer="CN=Nobody")) == {"matched": 0}
        assert self.run(world, Criteria(authority="test-ca", key_type="RSA")) == {"matched": 0}
        assert self.run(world, Criteria(issuer="CN=Test CA", names=(names[0],))) == {"matched": 1, "completed": 1}

    @pytest.mark.parametrize(
        "issuer",
        [
            "CN=R 3,O=Contoso\\, Inc.,ST=WA,C=US",
            'CN=R 3, O="Contoso, Inc.", S=WA, C=US',
            'C = US, ST = WA, O = "Contoso, Inc.", CN = R 3',
        ],
    )
    def test_issuer_and_serial_number_are_known_as_any_tool_writes_them(self, lonely_world: World, issuer: str) -> None:
        world, name, kinds = lonely_world, lonely_world.name(), NameOID
        parts = [(kinds.COUNTRY_NAME, "US"), (kinds.STATE_OR_PROVINCE_NAME, "WA"),
                 (kinds.ORGANIZATION_NAME, "Contoso, Inc."), (kinds.COMMON_NAME, "R 3")]  # fmt: skip
        world.ca.certificate = world.ca.self_signed(x509.Name([x509.NameAttribute(*part) for part in parts]))
        made(world, name)
        bundle = world.vault.get(name)
        assert bundle is not None
        digits = f"{x509.load_der_x509_certificate(base64.b64decode(bundle['cer'])).serial_number:040X}"
        spaced = " ".join(digits[at : at + 2] for at in range(0, 40, 2))
        for serial in (spaced, spaced.replace(" ", ":"), f"0x{digits}"):
            job = replacements.start(world.services, Criteria(issuer=issuer, serial_numbers=(serial,)), "test")
            assert replacement_run.matches(world.services, ALIAS, name, job.criteria)
        assert self.run(world, Criteria(issuer=issuer)) == {"matched": 1, "completed": 1}

    def test_a_refused_renewal_is_counted(self, lonely_world: World) -> None:
        world = lonely_world
        made(world, world.name())
        world.ca.answers = [Rejected("closed")]
        assert self.run(world, Criteria(authority="test-ca")) == {"matched": 1, "failed": 1}

    def test_criteria_that_name_nothing_or_nothing_known_are_refused(self, world: World) -> None:
        with pytest.raises(Invalid) as refused:
            replacements.start(world.services, Criteria(vaults=("gone",), authority="nobody", key_type="DSA"), "test")
        assert {fault.pointer for fault in refused.value.faults} == {"/vaults", "/authority", "/key_type"}
        with pytest.raises(Invalid):
            replacements.start(world.services, Criteria(), "test")
        with pytest.raises(Invalid) as refused:
            replacements.start(world.services, Criteria(issuer="R3", serial_numbers=("ab", "a-b")), "test")
        assert {fault.pointer for fault in refused.value.faults} == {"/issuer", "/serial_numbers/1"}

    def test_the_same_key_starts_one_and_a_canceled_one_stops(self, world: World) -> None:
        wanted = Criteria(names=("no-such-name",))
        first = replacements.start(world.services, wanted, "test", "key-1")
        assert replacements.start(world.services, wanted, "test", "key-1").id == first.id
        with pytest.raises(Conflict) as refused:
            replacements.start(world.services, Criteria(names=("another-name",)), "test", "key-1")
        assert refused.value.code == "KeyReused"
        assert replacements.cancel(world.services, first.id).state == "canceled"
        with pytest.raises(NotFound):
            replacements.find(world.services, "0" * 32)


class SuggestingCa(TestCa):
    """An authority with RFC 9773."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.window: RenewalWindow | None = None
        self.asked = 0

    def renewal_window(self, certificate: bytes) -> RenewalWindow | None:
        self.asked += 1
        return self.window


@pytest.fixture
def suggesting(lonely_world: World) -> World:
    ca = SuggestingCa(None, type("Context", (), {"now": staticmethod(lonely_world.services.now)}))
    known = lonely_world.services.settings.authorities["test-ca"]
    authority = replace(known, connector_class=SuggestingCa)
    settings = replace(lonely_world.services.settings, authorities={"test-ca": authority})
    services = replace(lonely_world.services, connector=lambda name: ca, settings=settings)
    return replace(lonely_world, services=services, ca=ca)


def test_a_window_decides_before_the_threshold_and_is_asked_for_only_when_it_is_time_to(suggesting: World) -> None:
    world, name = suggesting, suggesting.name()
    ca = world.ca
    assert isinstance(ca, SuggestingCa)
    made(world, name)
    now = world.services.now()
    ca.window = RenewalWindow(now + timedelta(days=2), now + timedelta(days=4), retry_after=6 * 3600)
    for _ in range(3):
        assert sweep.sweep(world.services).started == []
    assert ca.asked == 1
    world.clock.advance(4.1 * DAY)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]
    assert world.finish(name).reason == "suggested by the authority"


def test_a_window_that_moved_into_the_past_is_acted_upon_at_once(suggesting: World) -> None:
    world, name = suggesting, suggesting.name()
    ca = world.ca
    assert isinstance(ca, SuggestingCa)
    made(world, name)
    now = world.services.now()
    ca.window = RenewalWindow(now + timedelta(days=50), now + timedelta(days=52))
    assert sweep.sweep(world.services).started == []
    ca.window = RenewalWindow(now - timedelta(days=1), now - timedelta(hours=1), explanation_url="https://ca.example/x")
    world.clock.advance(6.1 * 3600)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]
    assert world.finish(name).state is State.COMPLETED


def test_an_authority_that_cannot_say_stops_nobody(suggesting: World) -> None:
    world, name = suggesting, suggesting.name()
    made(world, name)
    world.ca.renewal_window = _raise  # type: ignore[attr-defined]
    assert sweep.sweep(world.services).started == []
    world.clock.advance(61 * DAY)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]


def _raise(certificate: bytes) -> None:
    raise OSError("out of order")


def test_a_moment_in_the_window_is_drawn_once_and_kept_while_the_window_stays() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    window = RenewalWindow(now, now + timedelta(days=10))
    note = with_window(RenewalRecord("main", "www").about("aa"), window, 0.25, now)
    assert note.renew_at == now + timedelta(days=2.5)
    assert with_window(note, window, 0.9, now).renew_at == note.renew_at
    assert with_window(note.about("bb"), window, 0.9, now).renew_at == now + timedelta(days=9)
    moved = replace(window, end=now + timedelta(days=1))
    assert with_window(note, moved, 0.5, now).renew_at == now + timedelta(hours=12)


@pytest.mark.slow
def test_a_renewal_that_failed_rests_longer_each_time_and_never_too_long(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    tries, begun = 0, world.clock.now()
    while world.clock.now() < begun + 20 * DAY:
        world.ca.answers = [Rejected("closed")]
        if sweep.sweep(world.services).started:
            world.finish(name)
            tries += 1
        world.clock.advance(3600)
    assert 10 <= tries <= 30, "doubling from an hour, and never more than an eighth of what is left"
    note = world.services.storage.renewals.records(ALIAS, [name])[name]
    assert note.failures == tries
    world.ca.answers = []
    world.clock.advance(2 * DAY)
    assert sweep.sweep(world.services).started
    assert world.finish(name).state is State.COMPLETED
    assert world.services.storage.renewals.records(ALIAS, [name]) == {}


def test_a_certificate_near_its_end_is_told_of_once_and_again_when_it_expired(
    lonely_world: World, receiver: Any
) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name = world.name()
    made(world, name)
    delivered(world)
    got.clear()
    world.ca.answers = [Rejected("closed")] * 500
    for _ in range(60):
        world.clock.advance(12 * 3600)
    world.clock.advance(46 * DAY)
    for _ in range(3):
        sweep.sweep(world.services)
    world.finish(name)
    world.clock.advance(15 * DAY)
    sweep.sweep(world.services)
    delivered(world)
    told = [json.loads(body)["type"].rsplit(".", 1)[-1] for _, body in got]
    assert told.count("expiring") == 1
    assert told.count("expired") == 1


def test_an_alarm_that_could_not_be_queued_is_raised_again(lonely_world: World, receiver: Any) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    for number in range(3):
        made(world, world.name(f"-{number}"))
        delivered(world)
    got.clear()
    world.clock.advance(91 * DAY)
    tried: list[str] = []
    queue = world.services.storage.notifications
    send = queue.send

    def noted(text: str, delay_seconds: float = 0) -> None:
        tried.append(text)
        out_of_order(text)

    queue.send = noted  # type: ignore[method-assign]
    assert len(sweep.sweep(world.services).started) == 3, "what cannot be told is renewed all the same"
    assert len(tried) == 1, "the sweep does not wait for a queue that is down at every certificate"
    queue.send = send  # type: ignore[method-assign]
    for _ in range(2):
        sweep.sweep(world.services)
    delivered(world)
    assert [json.loads(body)["type"].rsplit(".", 1)[-1] for _, body in got] == ["expired"] * 3


def test_an_event_that_a_managed_certificate_expired_is_an_alarm_and_a_renewal_at_once(
    lonely_world: World, receiver: Any
) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name = world.name()
    made(world, name)
    delivered(world)
    got.clear()
    event = {"Id": f"{world.server.url}/certificates/{name}/{'0' * 32}", "ObjectName": name}
    hints.handle(world.services, hints.EXPIRED, event)
    delivered(world)
    assert (got, world.services.storage.open(ALIAS, name)) == ([], None), "a forged one does nothing"
    world.clock.advance(91 * DAY)
    for _ in range(2):
        hints.handle(world.services, hints.EXPIRED, event)
    delivered(world)
    assert [json.loads(body)["type"].rsplit(".", 1)[-1] for _, body in got] == ["expired"]
    assert world.finish(name).state is State.COMPLETED


def test_an_issuer_of_key_vault_that_did_not_renew_is_named(lonely_world: World, receiver: Any) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name = world.name()
    account = {"account_id": "1234", "pwd": "canary"}
    partner = {"provider": "DigiCert", "credentials": account, "org_details": {"id": "5678"}}
    issuers.issuer(world.services, ALIAS, "partner", "PUT", partner)
    made(world, name, authority=None, policy={**KEY, "issuer": {"name": "partner"}})
    delivered(world)
    got.clear()
    bundle = world.vault.get(name)
    assert bundle is not None
    refusal = {"code": "Request rejected", "message": "no more"}
    world.server.vault.settings.issuers["partner"] = {"error": refusal}
    for share, told in ((0.85, 0), (0.91, 1), (0.92, 0)):
        begins, ends = bundle["attributes"]["nbf"], bundle["attributes"]["exp"]
        world.clock.advance(begins + share * (ends - begins) - world.clock.now())
        world.vault.get(name)  # what Key Vault does by itself
        world.clock.advance(3600)
        sweep.sweep(world.services)
        assert delivered(world) == told
    assert len(world.versions(name)) == 1
    assert "Key Vault should have renewed it with issuer partner" in got[0][1].decode()


def test_what_key_vault_need_not_have_renewed_yet_is_no_alarm(lonely_world: World, receiver: Any) -> None:
    """A year's certificate that is renewed 30 days before its end is in its last tenth before that."""
    url, got, _ = receiver
    world = listening(lonely_world, url)
    name, looks = world.name(), list[str]()
    at_30_days = [{"trigger": {"days_before_expiry": 30}, "action": {"action_type": "AutoRenew"}}]
    made(world, name, authority=None, policy={**KEY, "lifetime_actions": at_30_days})
    delivered(world)
    got.clear()
    bundle = world.vault.get(name)
    assert bundle is not None
    world.clock.advance(bundle["attributes"]["exp"] - 33 * DAY - world.clock.now())
    ask = world.vault.call

    def call(method: str, path: str, *args: Any, **query: Any) -> Any:
        looks.extend([path] if path.startswith(f"/certificates/{name}/") else [])
        return ask(method, path, *args, **query)

    world.vault.call = call  # type: ignore[method-assign]
    for _ in range(3):
        sweep.sweep(world.services)
    assert (delivered(world), len(looks)) == (0, 1), "its policy is looked at once a day"
    assert digest.send_digest(world.services)["expiring"] == 0


@pytest.mark.parametrize(("left", "told"), [(16, ""), (14, "expiring"), (-1, "expired")])
def test_what_key_vault_is_late_to_renew_is_an_alarm_although_it_was_none_before(
    world: World, left: int, told: str
) -> None:
    name, now = world.name(), world.services.now()
    at_30_days = [{"trigger": {"days_before_expiry": 30}, "action": {"action_type": "AutoRenew"}}]
    made(world, name, authority=None, policy={**KEY, "lifetime_actions": at_30_days})
    bundle = world.vault.get(name)
    assert bundle is not None
    ends = now + timedelta(days=left)
    late = replace(item_of(bundle), expires=ends, not_before=ends - timedelta(days=365))
    for asked in (None, now - timedelta(minutes=1)):
        noted = alerts.send(world.services, ALIAS, late, RenewalRecord(ALIAS, name, ask_at=asked))
        assert noted.alerted.partition(":")[0] == told
    assert bool(noted.ask_at and noted.ask_at > now) == (told == "")


def test_the_digest_counts_no_failure_of_a_certificate_that_is_gone(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    world.ca.answers = [Rejected("closed")]
    sweep.sweep(world.services)
    world.finish(name)
    assert digest.send_digest(world.services)["renewals_failing"] == 1
    world.vault.call("DELETE", f"/certificates/{name}")  # not by us
    assert digest.send_digest(world.services)["renewals_failing"] == 0


def test_the_digest_counts_everything(lonely_world: World, receiver: Any) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    made(world, world.name("-1"))
    made(world, world.name("-2"), authority=None)
    counted = digest.send_digest(world.services)
    assert counted == {
        "certificates": 2, "managed": 1, "due_within_a_week": 0, "expiring": 0, "expired": 0,
        "operations_open": 0, "renewals_failing": 0,
    }  # fmt: skip
    delivered(world)
    assert "digest" in got[-1][1].decode()


class PublishingCa(TestCa):
    published = 0

    def publish_crl(self, now: datetime) -> None:
        type(self).published += 1


def test_authorities_that_publish_their_own_crl_do_so_and_one_that_cannot_stops_nobody(world: World) -> None:
    known = world.services.settings.authorities["test-ca"]
    authorities = {
        "broken": replace(known, connector_class=PublishingCa),
        "mine": replace(known, connector_class=PublishingCa),
    }
    settings = replace(world.services.settings, authorities={**authorities, "test-ca": known})
    ca = PublishingCa(None, Context("mine", world.services.now, lambda: None))
    services = replace(world.services, settings=settings, connector={"mine": ca}.__getitem__)
    assert publish_crls(services) == ["mine"]
    assert PublishingCa.published == 1


def test_the_log_says_why_a_crl_could_not_be_published(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object, _now: datetime) -> None:
        raise ConnectorError("storage answered 404 ContainerNotFound")

    monkeypatch.setattr(PublishingCa, "publish_crl", refuse)
    known = world.services.settings.authorities["test-ca"]
    settings = replace(world.services.settings, authorities={"mine": replace(known, connector_class=PublishingCa)})
    ca = PublishingCa(None, Context("mine", world.services.now, lambda: None))
    assert publish_crls(replace(world.services, settings=settings, connector={"mine": ca}.__getitem__)) == []
    assert "the CRL was not published: storage answered 404 ContainerNotFound [authority=mine]" in caplog.messages


def test_a_vault_that_is_closed_to_us_stops_neither_the_sweep_nor_the_digest(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    closed = key_vault.connect(world.server.url, ManagedIdentityCredential())

    def refuse(*_: object, **__: object) -> dict[str, object]:
        raise NotPermitted("no")

    closed.call = refuse  # type: ignore[method-assign]
    vaults = {"closed": world.services.settings.vaults[ALIAS], **world.services.settings.vaults}
    settings = replace(world.services.settings, vaults=vaults)
    known = {"closed": closed, ALIAS: world.vault}
    services = replace(world.services, settings=settings, vault=known.__getitem__)
    counted = digest.send_digest(services)
    assert (counted["managed"], counted["unreadable_vault_closed"]) == (1, 1)
    swept = sweep.sweep(services)
    assert swept.started == [f"{ALIAS}/{name}"]
    assert swept.refused == ["closed: no"]


class RollingCa(TestCa):
    """An authority with an account key."""

    def roll_over_account_key(self) -> str:
        if self.answers:
            self._scripted()
        return "https://vault.example/keys/account/2"


def test_an_account_key_is_rolled_over_where_there_is_one(world: World) -> None:
    with pytest.raises(NotFound):
        roll_over(world.services, "nobody")
    with pytest.raises(Conflict, match="no account key") as refused:
        roll_over(world.services, "test-ca")
    assert refused.value.code == "CannotRollOver"
    ca = RollingCa(None, Context("test-ca", world.services.now, lambda: None))
    rolling = replace(world.services, connector=lambda name: ca)
    assert roll_over(rolling, "test-ca") == "https://vault.example/keys/account/2"
    ca.answers = [ConnectorError("the server is busy"), OSError("secret detail")]
    with pytest.raises(Conflict, match="the server is busy"):
        roll_over(rolling, "test-ca")
    with pytest.raises(NotReady) as failed:
        roll_over(rolling, "test-ca")
    assert "secret" not in str(failed.value)
    assert "account key rollover" in authorities.abilities(RollingCa)


def test_readiness_says_what_a_connector_says_of_its_authority(world: World) -> None:
    ca = RollingCa(None, Context("test-ca", world.services.now, lambda: None))

    def check() -> None:
        raise ConnectorError("the account key needs the role Key Vault Crypto User")

    ca.check = check  # type: ignore[attr-defined]
    parts = health.check(replace(world.services, connector=lambda name: ca))
    [part] = [part for part in parts if part.what == "authority test-ca"]
    assert (part.ok, part.detail) == (False, "the account key needs the role Key Vault Crypto User")
