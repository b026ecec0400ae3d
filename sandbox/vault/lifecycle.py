"""Starts and completes versions, and does what becomes due as the clock advances."""

import contextlib
import logging
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.vault import events, partners
from sandbox.vault.crypto import CURVE_NAMES, add_months, build_request, dump_key, dump_public_key, load_key, self_sign
from sandbox.vault.errors import KeyVaultError, bad_parameter, invalid_policy, unknown_issuer
from sandbox.vault.mail import mail_contacts
from sandbox.vault.model import Certificate, Operation, Version
from sandbox.vault.schedule import action_moment, lifetime_action, near_expiry, next_due
from sandbox.vault.vault import Event, Vault

_log = logging.getLogger(__name__)
_UNKNOWN_DETAILS = "Pending certificate created. Please Perform Merge to complete the request."
_ISSUER_DETAILS = (
    "Pending certificate created. Certificate request is in progress. This may take some time based on the issuer "
    "provider. Please check again later."
)


def canonical_issuer(vault: Vault, policy: dict[str, Any]) -> None:
    """Check that the policy's issuer exists and give it its canonical spelling. Raises 400."""
    issuer = policy["issuer"]
    for known in ("Self", "Unknown", "PlatformManaged"):
        if issuer["name"].lower() == known.lower():
            issuer["name"] = known
            return
    resource = vault.document("issuer", issuer["name"].lower())
    if resource is None:
        raise unknown_issuer(issuer["name"])
    issuer["name"] = resource["name"]
    if resource["provider"].lower() == "digicert" and policy["x509_props"].get("sans", {}).get("emails"):
        raise bad_parameter(
            "DigiCert doesn't support emails in subject alternate names with order for a Ssl certificate"
        )


def make_key(vault: Vault, policy: Mapping[str, Any], existing: Certificate | None) -> bytes:
    """The key of the next version: a new one, or with `reuse_key` the current one if its type fits. Raises 400."""
    current = existing.current if existing and policy["key_props"]["reuse_key"] else None
    if current and current.certificate and _is_of_kind(current, policy["key_props"]):
        return current.key
    try:
        return dump_key(vault.keys.take(policy["key_props"]))
    except Exception as error:
        if isinstance(error, KeyVaultError):
            raise
        raise invalid_policy("policy.key_props") from None


def _is_of_kind(version: Version, key_props: Mapping[str, Any]) -> bool:
    """Whether the version's key is what `key_props` describe. A size is not enough: two curves have 256 bits."""
    key = load_key(version.key)
    curve = CURVE_NAMES[key.curve.name] if isinstance(key, ec.EllipticCurvePrivateKey) else None
    kind = ("EC" if curve else "RSA") + ("-HSM" if version.hsm else "")
    return (kind, key.key_size, curve) == (key_props["kty"], key_props["key_size"], key_props.get("crv"))


@dataclass(frozen=True)
class NextVersion:
    """The contents of a certificate's next version. `policy` is complete, `key` is PKCS#8 DER.

    `enabled` applies once the version is completed. `renewal`: a lifetime action starts it.
    """

    policy: dict[str, Any]
    key: bytes
    tags: Mapping[str, str] | None
    enabled: bool = True
    preserve_cert_order: bool | None = None
    renewal: bool = False


def start(vault: Vault, name: str, existing: Certificate | None, next_version: NextVersion) -> Certificate:
    """The certificate with a pending version and its request (CSR), not saved yet. Raises 400."""
    try:
        csr = build_request(next_version.policy, load_key(next_version.key))
    except (ValueError, TypeError):
        raise invalid_policy("policy.x509_props") from None
    issuer = next_version.policy["issuer"]["name"]
    version = _pending_version(next_version, vault.now())
    pending = Operation(
        version=version.id,
        request_id=uuid.uuid4().hex,
        issuer=issuer,
        csr=csr,
        status_details=_UNKNOWN_DETAILS if issuer == "Unknown" else _ISSUER_DETAILS,
        preserve_cert_order=next_version.preserve_cert_order,
        due=None if issuer == "Unknown" else vault.clock.now() + issuer_delay(vault, issuer),
        renewal=next_version.renewal,
    )
    versions = (*(existing.versions if existing else ()), version)
    return Certificate(existing.name if existing else name, next_version.policy, versions, pending)


def _pending_version(next_version: NextVersion, now: int) -> Version:
    policy = next_version.policy
    months = policy["x509_props"]["validity_months"]
    return Version(
        id=uuid.uuid4().hex,
        created=now,
        updated=now,
        not_before=now - 600,
        expires=int(add_months(partners.moment(now), months).timestamp()),
        key=next_version.key,
        enabled=False,
        enabled_when_completed=next_version.enabled,
        tags=next_version.tags,
        content_type=policy["secret_props"]["contentType"],
        exportable=policy["key_props"]["exportable"],
        hsm=policy["key_props"]["kty"].endswith("-HSM"),
        key_usage=tuple(policy["x509_props"]["key_usage"]),
        preserve_cert_order=next_version.preserve_cert_order,
    )


def issuer_delay(vault: Vault, issuer: str) -> float:
    """The seconds until this issuer answers."""
    if issuer == "Self":
        return vault.settings.self_delay
    return float(partners.behaviour(vault, issuer).get("delay", vault.settings.partnered_delay))


def finish(
    vault: Vault,
    certificate: Certificate,
    chain: Sequence[x509.Certificate],
    encoded: Sequence[bytes],
    *,
    tags: Mapping[str, str] | None = None,
    enabled: bool | None = None,
) -> Certificate:
    """Complete the pending version with this chain (leaf first; also as DER), save, and raise the event."""
    pending = certificate.pending
    assert pending
    version = certificate.version(pending.version)
    assert version
    now = vault.now()
    leaf = chain[0]
    done = replace(
        version,
        certificate=encoded[0],
        chain=tuple(encoded[1:]),
        not_before=int(leaf.not_valid_before_utc.timestamp()),
        expires=int(leaf.not_valid_after_utc.timestamp()),
        created=now,
        updated=now,
        enabled=version.enabled_when_completed if enabled is None else enabled,
        tags=version.tags if tags is None else dict(tags),
    )
    finished = replace(
        certificate,
        versions=tuple(done if item.id == done.id else item for item in certificate.versions),
        pending=replace(pending, status="completed", status_details=None, error=None, due=None, cancel_due=None),
    )
    vault.save(finished, [events.event(vault, events.NEW_VERSION, finished, done)])
    return finished


# -- what becomes due -----------------------------------------------------------------------------------------------


def run_due(vault: Vault) -> None:
    """Do everything that is due now."""
    while True:
        with vault.lock:
            certificate = vault.pop_due()
            if certificate is None:
                return
            _run(vault, certificate)


def settle(vault: Vault, name: str) -> None:
    """Do everything that is due now for one certificate, so that no request sees an outdated state."""
    with vault.lock:
        certificate = vault.find(name)
        while certificate and (next_due(certificate) or math.inf) <= vault.clock.now():
            _run(vault, certificate)
            certificate = vault.find(name)


def _run(vault: Vault, certificate: Certificate) -> None:
    now = vault.clock.now()
    if certificate.deletion:
        if certificate.deletion.recovered is None:
            vault.purge(certificate)
        else:
            vault.save(replace(certificate, deletion=None))
        return
    pending = certificate.pending
    if pending and pending.status == "inProgress":
        moment = pending.cancel_due if pending.cancellation_requested else pending.due
        if moment is not None and moment <= now:
            _answer(vault, certificate, pending)
            return
    raised = _raise_expiry(vault, certificate, now)
    action = lifetime_action(raised.policy)
    current = raised.current
    if action and not current.lifetime_action_done and action_moment(action, current) <= now:
        if pending and pending.status == "inProgress":
            return
        _act(vault, raised, action["action"]["action_type"])


def _answer(vault: Vault, certificate: Certificate, pending: Operation) -> None:
    """Complete or fail the pending operation, or end its cancellation."""
    if pending.cancellation_requested:
        canceled = replace(pending, status="cancelled", status_details=None, due=None, cancel_due=None)
        vault.save(replace(certificate, pending=canceled))
        return
    version = certificate.version(pending.version)
    assert version
    error = None if pending.issuer == "Self" else partners.behaviour(vault, pending.issuer).get("error")
    try:
        encoded = [] if error else _issue(vault, certificate, pending, version)
    except Exception:
        _log.exception("certificate %s could not be issued", certificate.name)
        error = {"code": "Certificate issuer error", "message": "The issuer could not issue the certificate."}
    if error:
        failed = replace(pending, status="failed", error=error, due=None, cancel_due=None)
        vault.save(replace(certificate, pending=failed))
        if pending.renewal:
            mail_contacts(vault, certificate, "renewal failed", error["message"])
        return
    chain = [x509.load_der_x509_certificate(item) for item in encoded]
    finish(vault, certificate, chain, encoded)
    if pending.renewal:
        mail_contacts(vault, certificate, "renewed")


def _issue(vault: Vault, certificate: Certificate, pending: Operation, version: Version) -> list[bytes]:
    key = load_key(version.key)
    if pending.issuer == "Self":
        return [self_sign(certificate.policy, key, vault.clock.now())]
    return partners.issue_chain(vault, pending.issuer, certificate.policy, key.public_key())


def _raise_expiry(vault: Vault, certificate: Certificate, now: float) -> Certificate:
    current = certificate.current
    if not current.certificate:
        return certificate
    raised: list[Event] = []
    changed = current
    if not current.near_expiry_raised and near_expiry(current) <= now:
        changed = replace(changed, near_expiry_raised=True)
        raised.append(events.event(vault, events.NEAR_EXPIRY, certificate, current))
    if not current.expired_raised and current.expires <= now:
        changed = replace(changed, expired_raised=True)
        raised.append(events.event(vault, events.EXPIRED, certificate, current))
    if not raised:
        return certificate
    return vault.save(with_version(certificate, changed), raised)


def _act(vault: Vault, certificate: Certificate, action: str) -> None:
    current = certificate.current
    done = with_version(certificate, replace(current, lifetime_action_done=True))
    if action == "EmailContacts":
        vault.save(done)
        mail_contacts(vault, done, "near expiry")
        return
    policy = dict(done.policy)
    # A policy or issuer that no longer works leaves the old version as it is.
    with contextlib.suppress(KeyVaultError):
        canonical_issuer(vault, policy)
        key = make_key(vault, policy, done)
        renewed = NextVersion(policy, key, current.tags, True, current.preserve_cert_order, renewal=True)
        done = start(vault, done.name, done, renewed)
    vault.save(done)
    mail_contacts(vault, done, "renewal started")


def with_version(certificate: Certificate, version: Version) -> Certificate:
    """The certificate with this version in place of the one with the same id."""
    versions = tuple(version if item.id == version.id else item for item in certificate.versions)
    return replace(certificate, versions=versions)


def matches(certificate: x509.Certificate, key: bytes) -> bool:
    """Whether the certificate is for this key (PKCS#8)."""
    return dump_public_key(certificate.public_key()) == dump_public_key(load_key(key).public_key())
