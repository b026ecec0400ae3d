"""What the certificates' owners do: ask for a certificate, or bring one and have it adopted."""

import base64
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

from certrelay.certificates import adopt, create
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.create import CertificateSpec
from certrelay.keyvault.tags import is_managed
from sandbox.simulation.plan import Wanted
from sandbox.simulation.world import ALIAS, World

PASSWORD = "simulated"  # noqa: S105 - of a file that lives for a moment


def has(world: World, wanted: Wanted) -> bool:
    """Whether the owner has what was wanted."""
    certificate = world.server.vault.find(wanted.name)
    if certificate is None or not certificate.completed:
        return False
    return not wanted.adopted or is_managed(certificate.current.tags or {})


def ask(world: World, wanted: Wanted) -> None:
    """Raises what the app raises."""
    if not wanted.adopted:
        names = (f"{wanted.name}.contoso.example",)
        asked = CertificateSpec(wanted.authority, _policy(wanted), dns_names=names, validity_days=wanted.days)
        create.create(world.services, ALIAS, wanted.name, asked, requested_by="owner")
        return
    if world.server.vault.find(wanted.name) is None:
        body = {"value": _brought(world, wanted), "pwd": PASSWORD}
        world.services.vault(ALIAS).import_certificate(wanted.name, body)
    adopt.adopt(world.services, ALIAS, wanted.name, Adoption(wanted.authority, trigger=_trigger(wanted) or None))


def _policy(wanted: Wanted) -> dict[str, Any]:
    key: dict[str, Any] = {"key_props": {"kty": "EC", "crv": "P-256"}}
    if not wanted.trigger:
        return key
    action = {"trigger": _trigger(wanted), "action": {"action_type": "EmailContacts"}}
    return key | {"lifetime_actions": [action]}


def _trigger(wanted: Wanted) -> dict[str, int]:
    kind, _, number = wanted.trigger.partition("=")
    return {kind: int(number)} if kind else {}


def _brought(world: World, wanted: Wanted) -> str:
    """A self-signed certificate with its key: a PFX in base64."""
    key, name = ec.generate_private_key(ec.SECP256R1()), f"{wanted.name}.contoso.example"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = world.now() - timedelta(minutes=1)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), begins, begins + timedelta(days=wanted.days)
    )
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pfx = pkcs12.serialize_key_and_certificates(None, key, made, None, BestAvailableEncryption(PASSWORD.encode()))
    return base64.b64encode(pfx).decode()
