"""The certificate authorities behind issuer resources: one root and one intermediate for each provider."""

import base64
import datetime
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.vault.crypto import PublicKey, dump_key, issue, load_key
from sandbox.vault.vault import Vault


def moment(seconds: float) -> datetime.datetime:
    """UNIX seconds as UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def behaviour(vault: Vault, issuer: str) -> Mapping[str, Any]:
    """How this issuer behaves: `delay` (seconds), `error` (`code`, `message`); set by name, by provider or for `*`."""
    provider = _provider(vault, issuer)
    settings = vault.settings.issuers
    for key in (issuer.lower(), provider.lower(), "*"):
        if key in settings:
            return settings[key]
    return {}


def _provider(vault: Vault, issuer: str) -> str:
    resource = vault.document("issuer", issuer.lower())
    return resource["provider"] if resource else issuer


def issue_chain(vault: Vault, issuer: str, policy: Mapping[str, Any], public_key: PublicKey) -> list[bytes]:
    """Leaf, intermediate and root, DER."""
    authority = _authority(vault, _provider(vault, issuer))
    key = load_key(base64.b64decode(authority["key"]))
    intermediate = base64.b64decode(authority["intermediate"])
    name = x509.load_der_x509_certificate(intermediate).subject
    leaf = issue(policy, public_key, name, key, vault.clock.now())
    return [leaf, intermediate, base64.b64decode(authority["root"])]


def _authority(vault: Vault, provider: str) -> dict[str, str]:
    """Created by the first order and kept, so that all certificates of a provider have the same root."""
    with vault.lock:
        found = vault.document("authority", provider.lower())
        if found is None:
            found = _make_authority(provider, vault.clock.now())
            vault.put_document("authority", provider.lower(), found)
        authority: dict[str, str] = found
        return authority


def _make_authority(provider: str, now: float) -> dict[str, str]:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = (
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "CertRelay sandbox"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"{provider[:32]} sandbox {kind}"),
            ]
        )
        for kind in ("root", "intermediate")
    )
    root = _authority_certificate(root_name, root_key.public_key(), root_name, root_key, now)
    intermediate = _authority_certificate(name, key.public_key(), root_name, root_key, now)
    return {
        "key": base64.b64encode(dump_key(key)).decode(),
        "intermediate": base64.b64encode(intermediate).decode(),
        "root": base64.b64encode(root).decode(),
    }


def _authority_certificate(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: float,
) -> bytes:
    start = moment(int(now) - 86400)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
