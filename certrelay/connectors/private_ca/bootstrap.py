"""Create the certificate of a private CA in Key Vault: `python3 dev.py private-ca --help`.

Key Vault does not sign with a key whose certificate is pending: the version is disabled until the merge. So a root
takes two versions of one certificate. The first, with issuer Self, creates the key. The second, with issuer Unknown and
`reuse_key`, has the same key, is signed with the key of the first version, and is merged. An intermediate needs only
one version, since another authority signs it.

Every step first reads the current state. After a crash or an error, run it again: it continues from there.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.keyvault.certificates import (
    CertificateClient,
    CertificateOperation,
    KeyVaultCertificate,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.private_ca.profile import key_usage
from certrelay.keyvault.remote_key import Key, signature_hash

TAGS = {"certrelay-private-ca": "bootstrap"}
KINDS = ("EC-256", "EC-384", "EC-521", "RSA-2048", "RSA-3072", "RSA-4096")
WAIT_SECONDS = 120.0
API_VERSION = "2025-07-01"
CONFLICT = 409

type KeyOf = Callable[[str, Any], Key]


class BootstrapError(Exception):
    """Why it cannot continue, in one sentence."""


@dataclass(frozen=True, slots=True)
class Authority:
    """`subject` as Key Vault writes it (`CN=Contoso Root, O=Contoso`); `kind` is one of KINDS; `hsm`: a key in an HSM.

    `permitted_dns` becomes the name constraint of a root. A `path_length` of None means no limit."""

    name: str
    subject: str
    kind: str = "EC-384"
    hsm: bool = False
    validity: timedelta = timedelta(days=3650)
    path_length: int | None = None
    permitted_dns: tuple[str, ...] = ()


def bootstrap_root(
    vault: CertificateClient, key_of: KeyOf, wanted: Authority, now: datetime, poll: float = 2.0
) -> x509.Certificate:
    """The root certificate, created if it does not exist. `key_of` is `vault_key` with a credential.

    Raises BootstrapError and azure.core.exceptions.AzureError."""
    current = _current(vault, wanted) or _first_version(vault, wanted, poll)
    certificate = x509.load_der_x509_certificate(bytes(current.cer or b""))
    if is_authority(certificate):
        return certificate
    if not current.properties or current.properties.tags != TAGS:
        raise BootstrapError(f"{wanted.name!r} is a certificate for something else; choose another name")
    csr = _pending_csr(vault, wanted)
    if made := _made_meanwhile(vault, wanted):
        return made
    if csr.public_key() != certificate.public_key():
        raise BootstrapError("the pending version has a different key; delete the pending operation and start again")
    key = key_of(str(current.key_id), certificate.public_key())
    return _merge(vault, wanted, [_self_signed(csr, key, wanted, now)])


def _first_version(vault: CertificateClient, wanted: Authority, poll: float) -> KeyVaultCertificate:
    """Key Vault's own certificate for the new key.

    One that an earlier run started is not started again: Key Vault may have completed it since this run looked."""
    operation = _operation(vault, wanted.name)
    if operation is None or str(operation.status).lower() not in ("inprogress", "completed"):
        _create(vault, wanted, "Self")
    _wait(vault, wanted.name, poll)
    current = _current(vault, wanted)
    if current is None:
        raise BootstrapError("Key Vault did not complete the key's first version")
    return current


def _made_meanwhile(vault: CertificateClient, wanted: Authority) -> x509.Certificate | None:
    """The root that another bootstrap merged just before this one started a version; that version is then deleted."""
    current = _current(vault, wanted)
    certificate = x509.load_der_x509_certificate(bytes(current.cer or b"")) if current else None
    if certificate is None or not is_authority(certificate):
        return None
    operation = _operation(vault, wanted.name)
    if operation and str(operation.status).lower() == "inprogress":
        with suppress(ResourceNotFoundError):
            vault.delete_certificate_operation(wanted.name)
    return certificate


def request_intermediate(vault: CertificateClient, wanted: Authority) -> x509.CertificateSigningRequest:
    """The CSR for another authority to sign; the same on every call until `merge_intermediate`. Raises as above."""
    if _current(vault, wanted) is not None:
        raise BootstrapError(f"{wanted.name!r} is already complete")
    return _pending_csr(vault, wanted)


def merge_intermediate(vault: CertificateClient, wanted: Authority, answer: bytes) -> x509.Certificate:
    """Merge what the other authority signed (PEM, the chain with it). Doing it twice is no error. Raises as above."""
    given = x509.load_pem_x509_certificates(answer)
    current = _current(vault, wanted)
    if current is not None:
        certificate = x509.load_der_x509_certificate(bytes(current.cer or b""))
        if certificate in given:
            return certificate
        raise BootstrapError(f"{wanted.name!r} is already complete, with another certificate")
    key = _pending_csr(vault, wanted).public_key()
    leaves = [one for one in given if one.public_key() == key]
    if len(leaves) != 1:
        raise BootstrapError("the answer must hold exactly one certificate for the key in Key Vault")
    if not is_authority(leaves[0]):
        raise BootstrapError("the answer is not a CA certificate that may sign certificates and CRLs")
    return _merge(vault, wanted, [leaves[0], *(one for one in given if one != leaves[0])])


def is_authority(certificate: x509.Certificate) -> bool:
    """A CA certificate for certificates and CRLs."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign and usage.crl_sign


def _current(vault: CertificateClient, wanted: Authority) -> KeyVaultCertificate | None:
    """The newest complete version; None if there is none, or only a pending one."""
    try:
        found = vault.get_certificate(wanted.name)
    except ResourceNotFoundError:
        return None
    return found if found.cer else None


def _policy(wanted: Authority, issuer: str) -> dict[str, Any]:
    """A CertificatePolicy in the JSON of the REST API."""
    kind, size = wanted.kind.split("-")
    specific: dict[str, Any] = {"crv": f"P-{size}"} if kind == "EC" else {"key_size": int(size)}
    kty = f"{kind}-HSM" if wanted.hsm else kind
    return {
        "key_props": {"exportable": False, "reuse_key": True, "kty": kty, **specific},
        "x509_props": {
            "subject": wanted.subject,
            "key_usage": ["cRLSign", "digitalSignature", "keyCertSign"],
            "validity_months": min(max(1, wanted.validity.days // 31), 1200),
        },
        # Key Vault must never renew a CA by itself.
        "lifetime_actions": [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}],
        "issuer": {"name": issuer},
    }


def _create(vault: CertificateClient, wanted: Authority, issuer: str) -> None:
    """Start a version, unless one is already pending.

    The SDK's `begin_create_certificate` is not used: its poller is a thread that outlives an error."""
    url = f"{str(vault.vault_url).rstrip('/')}/certificates/{wanted.name}/create?api-version={API_VERSION}"
    request = HttpRequest("POST", url, json={"policy": _policy(wanted, issuer), "tags": TAGS})
    response = vault.send_request(request)
    if response.status_code != CONFLICT or _operation(vault, wanted.name) is None:
        response.raise_for_status()


def _operation(vault: CertificateClient, name: str) -> CertificateOperation | None:
    try:
        return vault.get_certificate_operation(name)
    except ResourceNotFoundError:
        return None


def _wait(vault: CertificateClient, name: str, poll: float) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while (operation := _operation(vault, name)) and str(operation.status).lower() == "inprogress":
        if time.monotonic() > deadline:
            raise BootstrapError("Key Vault has not completed the key's first version yet; run this again")
        time.sleep(poll)


def _pending_csr(vault: CertificateClient, wanted: Authority) -> x509.CertificateSigningRequest:
    operation = _operation(vault, wanted.name)
    if operation is None or str(operation.status).lower() != "inprogress":
        _create(vault, wanted, "Unknown")
        operation = _operation(vault, wanted.name)
    if operation is None or operation.issuer_name != "Unknown" or not operation.csr:
        raise BootstrapError("another operation on this certificate is in progress in Key Vault")
    return x509.load_der_x509_csr(bytes(operation.csr))


def _self_signed(csr: x509.CertificateSigningRequest, key: Key, wanted: Authority, now: datetime) -> x509.Certificate:
    """RFC 5280, sections 4.2.1.1 to 4.2.1.3, 4.2.1.9 and 4.2.1.10."""
    start = now.astimezone(UTC).replace(microsecond=0) - timedelta(minutes=5)
    public_key = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public_key)
    usages = key_usage("digital_signature", "key_cert_sign", "crl_sign")
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(csr.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + wanted.validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=wanted.path_length), critical=True)
        .add_extension(usages, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    if wanted.permitted_dns:
        permitted = [x509.DNSName(name) for name in wanted.permitted_dns]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    made = builder.sign(key, signature_hash(public_key))
    made.verify_directly_issued_by(made)
    return made


def _merge(vault: CertificateClient, wanted: Authority, chain: list[x509.Certificate]) -> x509.Certificate:
    """If two merge at once, the first wins. Returns what Key Vault has."""
    try:
        vault.merge_certificate(wanted.name, [one.public_bytes(Encoding.DER) for one in chain])
    except HttpResponseError:
        current = _current(vault, wanted)
        if current is None or not is_authority(x509.load_der_x509_certificate(bytes(current.cer or b""))):
            raise
    merged = _current(vault, wanted)
    if merged is None:
        raise BootstrapError("Key Vault has lost the merged certificate")
    return x509.load_der_x509_certificate(bytes(merged.cer or b""))
