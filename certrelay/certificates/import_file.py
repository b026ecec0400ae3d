"""Import a certificate with its private key. The key goes from memory to Key Vault only; it is never stored."""

import base64
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay import rules
from certrelay.access import ownership
from certrelay.certificates import renewal_end
from certrelay.certificates.create import where_faults
from certrelay.errors import Fault, Invalid
from certrelay.keyvault.policy import MAX_MONTHS, days_of
from certrelay.operations.import_now import import_now
from certrelay.pki import key_bundles
from certrelay.pki.certificate import identified
from certrelay.pki.chains import without_root
from certrelay.pki.encodings import octets_of
from certrelay.pki.names import common_name, names_of
from certrelay.services import Services
from certrelay.storage.operation import MAX_CHAIN_BYTES, CertificateRequest, Kind, Operation, State, operation_id

PEM = "application/x-pem-file"
LONGEST_IMPORT = timedelta(hours=1)
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


@dataclass(frozen=True, slots=True, repr=False)
class ImportCommand:
    """What a caller sends. It has no repr, since it holds a private key.

    `value`: base64 of a PFX, DER or PEM file, or PEM text. `strict`: refuse a file that would have to be changed.
    `force`: import it even if the certificate is then no longer renewed."""

    value: str
    password: str | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] | None = None
    enabled: bool = True
    strict: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """`bundle`: Key Vault's CertificateBundle. `changes`: what was changed in the file, one sentence each.

    `is_new`: False if the newest version was this certificate already."""

    bundle: dict[str, Any]
    changes: tuple[str, ...]
    is_new: bool


def import_certificate(
    services: Services, vault: str, name: str, command: ImportCommand, *, requested_by: str
) -> Imported:
    """Import the file, unless the newest version is this certificate already.

    The certificate has to pass the rules of the vault. The caller becomes its owner, unless it has one. Raises Invalid
    (with every fault), Conflict `Managed` (`force` is needed), NameBusy, NotPermitted, NotReady."""
    faults = where_faults(services, vault, name) + rules.tag_faults(services, command.tags or {})
    bundle = _bundle(services, command, faults)
    if bundle is not None:
        faults += _policy_faults(command.policy, bundle)
    if faults or bundle is None:
        raise Invalid(faults)
    rules.check_import(services, vault, bundle.chain, command.policy)
    bundle = _without_root(bundle, keep_root=services.vault_settings(vault).rules.keep_root)
    current = services.vault(vault).get(name)
    leaf = bundle.chain[0].public_bytes(Encoding.DER)
    wanted = ownership.wanted_by_import(bundle.chain[0], command.policy)
    must_own = ownership.permit_import(services, vault, name, wanted, current, force=command.force)
    if current and current.get("cer") and base64.b64decode(current["cer"]) == leaf:
        return Imported(current, bundle.changes, is_new=False)
    if not command.force:
        renewal_end.refuse(name, current, authority=None, policy=command.policy)
    exportable = bool((command.policy.get("key_props") or {}).get("exportable", True))
    operation = replace(_operation(services, vault, name, requested_by, exportable), chain=_chain(bundle))
    try:
        imported = import_now(services, operation, _body(bundle, command), must_own=must_own)
    except Invalid as error:
        raise Invalid([_explained(fault, bundle) for fault in error.faults], error.code) from error
    return Imported(imported, bundle.changes, is_new=True)


def _explained(fault: Fault, bundle: key_bundles.Bundle) -> Fault:
    """A refusal by Key Vault, which does not say what it is about."""
    size = sum(len(certificate.public_bytes(Encoding.DER)) for certificate in bundle.chain)
    sent = f"{identified(bundle.chain[0])} was sent with {len(bundle.chain) - 1} issuers, {size} bytes in all"
    return Fault("/value", f"{fault.detail.rstrip('.')}; {sent}: have it issued again without what Key Vault refuses")


def _bundle(services: Services, command: ImportCommand, faults: list[Fault]) -> key_bundles.Bundle | None:
    try:
        bundle = key_bundles.read_bundle(
            octets_of(command.value), command.password, services.now(), strict=command.strict
        )
        key_bundles.verify_bundle(bundle, services.now())
    except Invalid as error:
        faults += [replace(fault, pointer=fault.pointer or "/value") for fault in error.faults]
        return None
    return bundle


def _without_root(bundle: key_bundles.Bundle, *, keep_root: bool) -> key_bundles.Bundle:
    chain = bundle.chain if keep_root else without_root(bundle.chain)
    if chain == bundle.chain:
        return bundle
    return replace(bundle, chain=chain, changes=(*bundle.changes, "the root was left out (rule keep_root)"))


def _policy_faults(policy: Mapping[str, Any], bundle: key_bundles.Bundle) -> Iterator[Fault]:
    """Where the policy contradicts the file. Key Vault would accept that, and use the policy for renewals."""
    key, key_props = bundle.private_key, policy.get("key_props") or {}
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return  # verify_bundle has refused it
    curve = _CURVES.get(key.curve.name) if isinstance(key, ec.EllipticCurvePrivateKey) else None
    in_file = {"kty": "EC" if curve else "RSA", "key_size": key.key_size, "crv": curve}
    for name, value in in_file.items():
        in_policy = str(key_props.get(name, value)).removesuffix("-HSM")
        if in_policy != str(value):
            text = (
                f"is {in_policy}, but the key in the file is {value or 'of another type'}; leave it out, or correct it"
            )
            yield Fault(f"/policy/key_props/{name}", text)
    x509_props = policy.get("x509_props") or {}
    if x509_props.get("validity_months") is not None and days_of(dict(policy)) is None:
        yield Fault("/policy/x509_props/validity_months", f"must be from 1 to {MAX_MONTHS}")
    subject = x509_props.get("subject")
    if subject and common_name(subject) != names_of(bundle.chain[0]).common_name:
        yield Fault(
            "/policy/x509_props/subject", "has a different common name than the certificate in the file; leave it out"
        )


def _body(bundle: key_bundles.Bundle, command: ImportCommand) -> dict[str, Any]:
    """Key Vault's ImportCertificateParameters; the X.509 properties follow from the certificate."""
    policy = {key: value for key, value in command.policy.items() if key != "x509_props"}
    attributes = {"enabled": command.enabled}
    body: dict[str, Any] = {"attributes": attributes, "policy": policy, "tags": dict(command.tags or {})}
    if (command.policy.get("secret_props") or {}).get("contentType") == PEM:
        return body | {"value": bundle.pem().decode()}
    password = secrets.token_urlsafe(24)
    return body | {"value": base64.b64encode(bundle.pfx(password)).decode(), "pwd": password}


def _operation(services: Services, vault: str, name: str, requested_by: str, exportable: bool) -> Operation:
    """`exportable` is recorded: the policy may change, and then no longer says what the key is."""
    now = services.now()
    policy: dict[str, Any] = {"issuer": {"name": "Unknown"}, "key_props": {"exportable": exportable}}
    return Operation(
        id=operation_id(vault, name), vault=vault, name=name, kind=Kind.IMPORT, state=State.REQUESTED,
        request=CertificateRequest(policy=policy), requested_by=requested_by,
        requested_at=now, deadline=now + LONGEST_IMPORT, next_attempt_at=now, requested_by_name=services.caller_name,
    )  # fmt: skip


def _chain(bundle: key_bundles.Bundle) -> tuple[bytes, ...]:
    """The file's chain (DER, leaf first), or only the leaf if the row has no room for more."""
    chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in bundle.chain)
    return chain if sum(map(len, chain)) <= MAX_CHAIN_BYTES else chain[:1]
