"""The revocation list of `private_ca`: what is on it, for how long, and who may publish at once."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from certrelay.connectors.base import ConnectorError, Issued, RevocationReason
from certrelay.connectors.private_ca import crl as private_ca_crl
from certrelay.connectors.private_ca.connector import PrivateCa
from certrelay.connectors.private_ca.records import Records
from certrelay.connectors.private_ca.settings import PrivateCaSettings
from certrelay.pki.subject import SubjectNames
from certrelay.storage.blobs import BlobStore, Changed
from handlers import notifications
from handlers.functions import TIMERS
from sandbox.host.ncrontab import Schedule
from tests.connectors.answers import certificates
from tests.connectors.private_ca.private_authority import World
from tests.connectors.signing_requests import self_signed, signing_request

NAMES = SubjectNames("a.example.com", ("a.example.com",))


@pytest.fixture(scope="module")
def root(world: World) -> tuple[str, x509.Certificate]:
    return world.root("EC-256")


class Published:
    """An authority with containers of its own."""

    def __init__(self, world: World, root: tuple[str, x509.Certificate]) -> None:
        self.world, (self.name, self.root) = world, root
        self.containers = world.containers()
        self.connector = self.connect()

    def connect(self) -> PrivateCa:
        return self.world.connector(self.name, **self.containers)

    def issue(self, days: int = 30) -> bytes:
        outcome = self.connector.submit(signing_request(NAMES, validity=timedelta(days=days)))
        assert isinstance(outcome, Issued)
        return certificates(outcome.answer)[0].public_bytes(Encoding.DER)

    @property
    def crl(self) -> x509.CertificateRevocationList:
        return self.world.crl(self.containers, self.name)

    @property
    def number(self) -> int:
        return self.crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number

    def entry(self, certificate: bytes) -> x509.RevokedCertificate | None:
        return self.crl.get_revoked_certificate_by_serial_number(
            x509.load_der_x509_certificate(certificate).serial_number
        )


@pytest.fixture
def published(world: World, root: tuple[str, x509.Certificate]) -> Iterator[Published]:
    yield Published(world, root)
    world.offset = timedelta()


def test_an_empty_list_is_a_valid_list(published: Published) -> None:
    made = published.connector.publish_crl(published.world.now())
    assert made == published.crl
    assert len(made) == 0
    assert made.is_signature_valid(published.root.public_key())  # type: ignore[arg-type]
    assert made.next_update_utc
    assert made.next_update_utc - made.last_update_utc == timedelta(days=7)
    identifier = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == published.root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


@pytest.mark.parametrize("reason", RevocationReason)
def test_every_reason_is_written_and_unspecified_is_left_out(published: Published, reason: RevocationReason) -> None:
    certificate = published.issue()
    published.connector.revoke(certificate, reason)
    entry = published.entry(certificate)
    assert entry
    found = [str(one.value.reason.value) for one in entry.extensions if isinstance(one.value, x509.CRLReason)]
    assert found == ([] if reason is RevocationReason.UNSPECIFIED else [reason.value])


def test_the_number_grows_within_a_second_and_after_the_list_is_lost(published: Published) -> None:
    moment, numbers = published.world.now(), []
    for _ in range(3):
        published.connector.publish_crl(moment)
        numbers.append(published.number)
    with published.world.container(published.containers["crl_container"]) as client:
        client.delete_blob(f"{published.name}.crl")
    published.connector.publish_crl(moment + timedelta(minutes=1))
    numbers.append(published.number)
    assert numbers == sorted(set(numbers))


def test_no_list_is_older_than_an_empty_one_before_it(published: Published) -> None:
    moment = published.world.now()
    ahead = published.connector.publish_crl(moment + timedelta(minutes=1))
    assert published.connector.publish_crl(moment).last_update_utc == ahead.last_update_utc


HOLD, SUPERSEDED, COMPROMISE = (
    RevocationReason.CERTIFICATE_HOLD,
    RevocationReason.SUPERSEDED,
    RevocationReason.KEY_COMPROMISE,
)


@pytest.mark.parametrize(
    ("first", "second", "listed"),
    [
        (SUPERSEDED, RevocationReason.CESSATION_OF_OPERATION, x509.ReasonFlags.superseded),
        (HOLD, SUPERSEDED, x509.ReasonFlags.superseded),
        (SUPERSEDED, HOLD, x509.ReasonFlags.superseded),
        (SUPERSEDED, COMPROMISE, x509.ReasonFlags.key_compromise),
        (HOLD, COMPROMISE, x509.ReasonFlags.key_compromise),
        (COMPROMISE, SUPERSEDED, x509.ReasonFlags.key_compromise),
    ],
)
def test_a_second_revocation_keeps_the_time_and_only_a_graver_reason_counts(
    published: Published, first: RevocationReason, second: RevocationReason, listed: x509.ReasonFlags
) -> None:
    certificate = published.issue()
    published.connector.revoke(certificate, first)
    before = published.entry(certificate)
    published.world.offset = timedelta(hours=1)
    published.connector.revoke(certificate, second)
    after = published.entry(certificate)
    assert before
    assert after
    assert before.revocation_date_utc == after.revocation_date_utc
    assert after.extensions.get_extension_for_class(x509.CRLReason).value.reason == listed
    assert len(published.crl) == 1


def test_the_timer_publishes_before_the_shortest_list_ends() -> None:
    values = json.loads(Path("local.settings.sample.json").read_text())["Values"]
    _, setting = TIMERS[notifications.publish_revocation_lists.__name__]
    schedule = Schedule(values[setting.strip("%")])
    first = schedule.next(datetime(2026, 11, 23, tzinfo=UTC))
    assert first
    second = schedule.next(first)
    assert second
    with pytest.raises(ValidationError, match="crl_validity_hours"):
        PrivateCaSettings.model_validate({"crl_validity_hours": (second - first) / timedelta(hours=1)})


def test_the_list_is_served_as_a_crl_and_may_be_cached(published: Published) -> None:
    published.connector.publish_crl(published.world.now())
    with published.world.container(published.containers["crl_container"]) as client:
        settings = client.get_blob_client(f"{published.name}.crl").get_blob_properties().content_settings
    assert settings.content_type == "application/pkix-crl"
    assert settings.cache_control == "max-age=3600"


def test_a_revocation_whose_publication_was_killed_is_on_the_next_list(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_arguments: Any, **_named: Any) -> None:
        raise Killed

    certificate = published.issue()
    with monkeypatch.context() as patch:
        patch.setattr(BlobStore, "replace", killed)
        with pytest.raises(Killed):
            published.connector.revoke(certificate, RevocationReason.UNSPECIFIED)
    published.connect().publish_crl(published.world.now())
    assert published.entry(certificate)


def test_a_list_never_lacks_what_another_publisher_revoked_meanwhile(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one has read the revocations, then the quick one revokes and publishes."""
    certificate, quick = published.issue(), published.connect()
    seen: list[bool] = []
    original = Records.revoked

    def slow(records: Records) -> Iterator[Any]:
        found = list(original(records))
        if not seen:
            seen.append(True)
            quick.revoke(certificate, RevocationReason.UNSPECIFIED)
        yield from found

    published.connector.publish_crl(published.world.now())
    with monkeypatch.context() as patch:
        patch.setattr(Records, "revoked", slow)
        published.connector.publish_crl(published.world.now())
    assert seen
    assert published.entry(certificate)


@pytest.mark.slow
def test_many_revoke_at_once_and_all_are_listed(published: Published) -> None:
    some = [published.issue() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda one: published.connect().revoke(one, RevocationReason.SUPERSEDED), some))
    assert all(published.entry(one) for one in some)


def test_whoever_loses_every_attempt_says_so(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_arguments: Any, **_named: Any) -> None:
        raise Changed("x")

    monkeypatch.setattr(private_ca_crl, "ATTEMPTS", 2)
    monkeypatch.setattr(BlobStore, "replace", lose)
    with pytest.raises(ConnectorError, match="other publishers"):
        published.connector.publish_crl(published.world.now())


def test_an_expired_certificate_is_on_one_more_list_and_then_on_none(published: Published) -> None:
    certificate = published.issue(days=1)
    published.connector.revoke(certificate, RevocationReason.SUPERSEDED)
    listed = []
    for day in (2, 3, 4, 5):
        published.connector.publish_crl(published.world.now() + timedelta(days=day))
        listed.append(published.entry(certificate) is not None)
    assert listed == [True, False, False, False]


def test_a_blob_that_is_no_list_is_not_overwritten(published: Published) -> None:
    with published.world.container(published.containers["crl_container"]) as client:
        client.upload_blob(f"{published.name}.crl", b"something else")
        with pytest.raises(ConnectorError):
            published.connector.publish_crl(published.world.now())
        assert client.download_blob(f"{published.name}.crl").readall() == b"something else"


@pytest.mark.parametrize("kind", ["EC-256", "EC-384", "RSA-2048"])
def test_the_list_of_an_authority_of_the_same_name_in_another_vault_is_not_overwritten(
    published: Published, world: World, kind: str
) -> None:
    other = Published(world, world.root(kind))
    other.connector.publish_crl(world.now())
    theirs = other.crl.public_bytes(Encoding.DER)
    with world.container(published.containers["crl_container"]) as client:
        client.upload_blob(f"{published.name}.crl", theirs)
        with pytest.raises(ConnectorError, match="the CRL of another key"):
            published.connector.publish_crl(world.now())
        assert client.download_blob(f"{published.name}.crl").readall() == theirs


def test_neither_a_stranger_nor_the_authority_itself_can_be_revoked(published: Published) -> None:
    for certificate in (self_signed(NAMES), published.root):
        with pytest.raises(ConnectorError, match="did not issue"):
            published.connector.revoke(certificate.public_bytes(Encoding.DER), RevocationReason.UNSPECIFIED)
    assert published.world.blobs(published.containers["records_container"]) == []
