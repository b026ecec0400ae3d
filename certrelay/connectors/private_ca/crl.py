"""The CRL of a private CA (RFC 5280, section 5): a full CRL, version 2, in one public blob."""

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.base import RevocationReason
from certrelay.connectors.private_ca.issuer import Issuer
from certrelay.connectors.private_ca.profile import authority_key_identifier
from certrelay.connectors.private_ca.records import Records, Revocation
from certrelay.storage.blobs import BlobStore, Changed

ATTEMPTS = 20
REASONS = {
    RevocationReason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    RevocationReason.CA_COMPROMISE: x509.ReasonFlags.ca_compromise,
    RevocationReason.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
    RevocationReason.SUPERSEDED: x509.ReasonFlags.superseded,
    RevocationReason.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
    RevocationReason.CERTIFICATE_HOLD: x509.ReasonFlags.certificate_hold,
    RevocationReason.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
}


def publish(
    store: BlobStore, blob: str, records: Records, issuer: Issuer, now: datetime, validity: timedelta
) -> x509.CertificateRevocationList:
    """Build, publish and return a CRL of everything that is revoked.

    The ETag of the old CRL is read before the revocations are. A call that loses against another publisher reads
    everything again, so no published CRL lacks a revocation that an earlier one had. Raises Changed when every attempt
    was lost, ValueError when the blob holds no CRL or another authority's, and AzureError."""
    for _ in range(ATTEMPTS):
        found = store.read(blob)
        previous, etag = (x509.load_der_x509_crl(found[0]), found[1]) if found else (None, None)
        if previous is not None and not _is_signed(previous, issuer):
            raise ValueError(f"{blob} is the CRL of another key; this authority needs a container of its own")
        made = _signed(list(records.revoked()), previous, issuer, now, validity)
        try:
            store.replace(
                blob, made, "application/pkix-crl", etag, max_age=min(3600, int(validity.total_seconds()) // 4)
            )
            return x509.load_der_x509_crl(made)
        except Changed:
            continue
    raise Changed(blob)


def _signed(
    revocations: list[Revocation],
    previous: x509.CertificateRevocationList | None,
    issuer: Issuer,
    now: datetime,
    validity: timedelta,
) -> bytes:
    this_update = max(now, previous.last_update_utc) if previous is not None else now
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(this_update + validity)
        .add_extension(x509.CRLNumber(_number(previous, now)), critical=False)
        .add_extension(authority_key_identifier(issuer.certificate), critical=False)
    )
    for revocation in revocations:
        if previous is None or not _has_served(revocation, previous):
            builder = builder.add_revoked_certificate(_entry(revocation))
    signed: x509.CertificateRevocationList = issuer.sign(builder)
    if not _is_signed(signed, issuer):
        raise ValueError("Key Vault signed the CRL with a key that is not the authority's")
    return signed.public_bytes(Encoding.DER)


def _is_signed(crl: x509.CertificateRevocationList, issuer: Issuer) -> bool:
    try:
        return crl.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]
    except (ValueError, TypeError):  # another kind of key
        return False


def _number(previous: x509.CertificateRevocationList | None, now: datetime) -> int:
    """Always increases (RFC 5280, section 5.2.3). It is based on time, so this holds even if the old CRL is lost."""
    seconds = int(now.timestamp())
    if previous is None:
        return seconds
    return max(seconds, previous.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1)


def _has_served(revocation: Revocation, previous: x509.CertificateRevocationList) -> bool:
    """Whether it was on a CRL that was issued after the certificate expired (RFC 5280, section 3.3)."""
    if previous.last_update_utc <= revocation.not_after:
        return False
    # A CRL from after the expiry that lacks it has dropped it already, or was issued before the revocation.
    listed = previous.get_revoked_certificate_by_serial_number(revocation.serial) is not None
    return listed or revocation.revoked_at <= previous.last_update_utc


def _entry(revocation: Revocation) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(revocation.serial).revocation_date(revocation.revoked_at)
    if revocation.reason in REASONS:
        builder = builder.add_extension(x509.CRLReason(REASONS[revocation.reason]), critical=False)
    return builder.build()
