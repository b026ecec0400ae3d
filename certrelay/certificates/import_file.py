"""Import of a certificate with its key. Both touch only memory and Key Vault."""

import base64
import binascii
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.certificates.create import where_faults
from certrelay.errors import Conflict, Fault, Invalid
from certrelay.keyvault.tags import check_tags, is_managed
from certrelay.operations.import_now import import_now
from certrelay.pki import key_bundles
from certrelay.pki.names import common_name, names_of
from certrelay.services import Services
from certrelay.storage.operation import CertificateRequest, Kind, Operation, State, operation_id

PEM = "application/x-pem-file"
_URL_SAFE = str.maketrans("-_", "+/")
LONGEST_IMPORT = timedelta(hours=1)
MAX_CHAIN_BYTES = 40_000
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


@dataclass(frozen=True, slots=True, repr=False)
class ImportCommand:
    """What a caller sends: `value` is base64 (PFX, DER, PEM) or PEM text. Has no repr, since it holds a key."""

    value: str
    password: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] | None = None
    enabled: bool = True
    strict: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """`bundle` is Key Vault's CertificateBundle; `changes` says what was changed in the file, a sentence each;
    `is_new` is False when the newest version was this certificate already."""

    bundle: dict[str, Any]
    changes: tuple[str, ...]
    is_new: bool


def import_certificate(
    services: Services, vault: str, name: str, given: ImportCommand, *, requested_by: str
) -> Imported:
    """Import it, unless it is there already. Raises Invalid (every fault), Conflict, NotPermitted, NotReady."""
    faults = where_faults(services, vault, name)
    check_tags(given.tags or {}, faults)
    bundle = _bundle(services, given, faults)
    if bundle is not None:
        faults += _policy_faults(given.policy, bundle)
    if faults or bundle is None:
        raise Invalid(faults)
    current = services.vault(vault).get(name)
    leaf = bundle.chain[0].public_bytes(Encoding.DER)
    if current and current.get("cer") and base64.b64decode(current["cer"]) == leaf:
        return Imported(current, bundle.changes, is_new=False)
    if current and is_managed(current.get("tags") or {}) and not given.force:
        raise Conflict(f"{name} is renewed by CertRelay; import over it with force", "Managed")
    operation = replace(_operation(services, vault, name, requested_by), chain=_chain(bundle))
    made = import_now(services, operation, _body(bundle, given))
    return Imported(made, bundle.changes, is_new=True)


def _bundle(services: Services, given: ImportCommand, faults: list[Fault]) -> key_bundles.Bundle | None:
    try:
        bundle = key_bundles.read_bundle(_bytes(given.value), given.password, strict=given.strict)
        key_bundles.verify_bundle(bundle, services.now())
    except Invalid as error:
        faults += [replace(fault, pointer=fault.pointer or "/value") for fault in error.faults]
        return None
    return bundle


def _policy_faults(policy: Mapping[str, Any], bundle: key_bundles.Bundle) -> Iterator[Fault]:
    """Where the given policy contradicts the file. Key Vault would keep the policy, and renew by it."""
    key, asked = bundle.private_key, policy.get("key_props") or {}
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return  # verify_bundle has refused it
    curve = _CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePrivateKey) else None
    found = {"kty": "EC" if curve else "RSA", "key_size": key.key_size, "crv": curve}
    for name, value in found.items():
        wanted = str(asked.get(name, value)).removesuffix("-HSM")
        if wanted != str(value):
            yield Fault(f"/policy/key_props/{name}", f"is {wanted}, and the file's key is {value or 'of another type'}")
    subject = (policy.get("x509_props") or {}).get("subject")
    if subject and common_name(subject) != names_of(bundle.chain[0]).common_name:
        yield Fault("/policy/x509_props/subject", "has another common name than the file's certificate")


def _bytes(value: str) -> bytes:
    if "-----BEGIN" in value:
        return value.encode()
    try:
        return base64.b64decode("".join(value.split()).translate(_URL_SAFE), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("is neither base64 nor PEM text") from None


def _body(bundle: key_bundles.Bundle, given: ImportCommand) -> dict[str, Any]:
    attributes = {"enabled": given.enabled}
    body: dict[str, Any] = {"attributes": attributes, "policy": given.policy, "tags": dict(given.tags or {})}
    if (given.policy.get("secret_props") or {}).get("contentType") == PEM:
        return body | {"value": bundle.pem().decode()}
    password = secrets.token_urlsafe(24)
    return body | {"value": base64.b64encode(bundle.pfx(password)).decode(), "pwd": password}


def _operation(services: Services, vault: str, name: str, requested_by: str) -> Operation:
    now = services.now()
    return Operation(
        id=operation_id(vault, name), vault=vault, name=name, kind=Kind.IMPORT, state=State.REQUESTED,
        request=CertificateRequest(policy={"issuer": {"name": "Unknown"}}), requested_by=requested_by,
        requested_at=now, deadline=now + LONGEST_IMPORT, next_attempt_at=now,
    )  # fmt: skip


def _chain(bundle: key_bundles.Bundle) -> tuple[bytes, ...]:
    """The file's chain (DER, leaf first), or the leaf alone where a row has no room for more."""
    chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in bundle.chain)
    return chain if sum(map(len, chain)) <= MAX_CHAIN_BYTES else chain[:1]
