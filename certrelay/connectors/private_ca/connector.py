"""A private CA whose key is in Key Vault and never leaves it; docs/private-ca.md.

Signing is one request, so an order is complete when `submit` returns. Serial number and validity are decided and
stored before anything is signed, and the first certificate that is stored is the order's: a repeat, whether after a
crash or at the same time, returns the same certificate.
"""

import functools
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from azure.core.exceptions import AzureError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.base import (
    ConnectorError,
    ConnectorSettings,
    Context,
    Feature,
    Issued,
    Outcome,
    Rejected,
    RevocationReason,
    SigningRequest,
    Unavailable,
)
from certrelay.connectors.http import sentence
from certrelay.connectors.private_ca.crl import publish
from certrelay.connectors.private_ca.issuer import Issuers, Unusable, azure_failure, azure_unavailable
from certrelay.connectors.private_ca.profile import Decided, Profile, Refused, certificate
from certrelay.connectors.private_ca.records import Intent, Records, Revocation, request_digest
from certrelay.connectors.private_ca.settings import PrivateCaSettings
from certrelay.storage.blobs import BlobStore, Changed, open_container

BACKDATED = timedelta(minutes=5)  # for clocks that are slow


class PrivateCa:
    """Connector `private_ca`."""

    Settings: ClassVar[type[ConnectorSettings]] = PrivateCaSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def __init__(self, settings: PrivateCaSettings, context: Context) -> None:
        self._settings, self._context = settings, context

    def submit(self, request: SigningRequest) -> Outcome:
        try:
            return Issued(self._certificate(request))
        except Refused as refused:
            return Rejected(sentence(refused, 1000))
        except Unusable as unusable:
            return Unavailable(sentence(unusable))
        except AzureError as error:
            return azure_unavailable(error, self._context.now())

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        return self.submit(request)

    def _certificate(self, request: SigningRequest) -> bytes:
        """The certificate and its chain, PEM. Raises Refused, Unusable and AzureError."""
        intent = self._records.intent(request.operation_id) or self._decide(request)
        if intent.request != request_digest(request):
            raise Refused("this operation was started for another request")
        serial = intent.decided.serial
        issued = self._records.issued(serial)
        if issued is None:
            issuer = self._issuers.version(intent.issuer_version)
            issuer.verify_can_sign(self._context.now())
            signed = issuer.sign(certificate(request, intent.decided, self._profile(issuer.certificate)))
            signed.verify_directly_issued_by(issuer.certificate)
            issued = self._records.keep_issued(serial, signed.public_bytes(Encoding.DER), request.operation_id)
        return x509.load_der_x509_certificate(issued).public_bytes(Encoding.PEM) + self._chain(intent.issuer_version)

    def _decide(self, request: SigningRequest) -> Intent:
        """Check the whole request, then store what is decided. Raises Refused, Unusable and AzureError."""
        issuer, now = self._issuers.current(), self._context.now().astimezone(UTC).replace(microsecond=0)
        issuer.verify_can_sign(now)
        latest = min(
            request.not_after.astimezone(UTC).replace(microsecond=0),
            now + timedelta(days=self._settings.max_validity_days),
            *(one.not_valid_after_utc for one in (issuer.certificate, *self._above())),
        )
        if latest <= now:
            raise Refused("the certificate would expire immediately")
        earliest = max(now - BACKDATED, issuer.certificate.not_valid_before_utc)
        decided = Decided(secrets.randbits(128) or 1, earliest, latest)
        certificate(request, decided, self._profile(issuer.certificate))
        return self._records.keep_intent(request.operation_id, Intent(request_digest(request), issuer.version, decided))

    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        found, now = x509.load_der_x509_certificate(certificate), self._context.now().astimezone(UTC)
        try:
            if not self._issuers.current().issued(found):
                raise ConnectorError("this authority did not issue the certificate, or its key has changed since")
            self._records.keep_revoked(Revocation(found.serial_number, now, reason, found.not_valid_after_utc))
        except Unusable as unusable:
            raise ConnectorError(sentence(unusable)) from None
        except AzureError as error:
            raise ConnectorError(azure_failure(error)) from None
        self.publish_crl(now)

    def publish_crl(self, now: datetime) -> x509.CertificateRevocationList:
        """Publish a new CRL. A timer calls this more often than `crl_validity_hours`. Raises ConnectorError."""
        validity = timedelta(hours=self._settings.crl_validity_hours)
        blob = f"{self._settings.ca_certificate_name}.crl"
        try:
            issuer = self._issuers.current()
            issuer.verify_can_sign(now)
            return publish(self._store(self._settings.crl_container), blob, self._records, issuer, now, validity)
        except AzureError as error:
            raise ConnectorError(azure_failure(error)) from None
        except (Unusable, ValueError) as error:
            raise ConnectorError(sentence(error)) from None
        except Changed:
            raise ConnectorError("other publishers keep replacing the CRL; try again") from None

    def check(self) -> None:
        try:
            self._issuers.current(fresh=True).verify_can_sign(self._context.now())
            for container in (self._settings.records_container, self._settings.crl_container):
                self._store(container).check()
        except Unusable as unusable:
            raise ConnectorError(sentence(unusable)) from None
        except AzureError as error:
            raise ConnectorError(azure_failure(error)) from None

    @functools.cached_property
    def _credential(self) -> Any:
        return self._context.credential()

    @functools.cached_property
    def _issuers(self) -> Issuers:
        settings = self._settings
        pss = settings.rsa_padding == "pss"
        return Issuers(settings.vault_url, settings.ca_certificate_name, self._credential, self._context.now, pss)

    @functools.cached_property
    def _records(self) -> Records:
        return Records(self._store(self._settings.records_container), self._settings.ca_certificate_name)

    def _store(self, container: str) -> BlobStore:
        secret = self._settings.storage_connection_string
        text = secret.get_secret_value() if secret else None
        return open_container(container, self._settings.storage_account_url, text, None if text else self._credential)

    def _above(self) -> tuple[x509.Certificate, ...]:
        pem = self._settings.chain_certificates
        return tuple(x509.load_pem_x509_certificates(pem.encode())) if pem else ()

    def _profile(self, issuer: x509.Certificate) -> Profile:
        settings = self._settings
        return Profile(
            (issuer, *self._above()),
            settings.extended_key_usages,
            settings.issue_ca_certificates,
            settings.crl_distribution_point,
            settings.aia_issuer_url,
        )

    def _chain(self, issuer_version: str) -> bytes:
        issuer = self._issuers.version(issuer_version).certificate
        return b"".join(one.public_bytes(Encoding.PEM) for one in (issuer, *self._above()))
