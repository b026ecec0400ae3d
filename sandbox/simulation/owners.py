"""What the owners of certificates do: request one, or import one and have it adopted."""

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
from certrelay.storage.operation import Kind, State
from sandbox.simulation.plan import PlannedCertificate
from sandbox.simulation.world import ALIAS, World

PASSWORD = "simulated"  # noqa: S105 - of a file that exists for a moment


def has(world: World, planned: PlannedCertificate) -> bool:
    """Whether the planned certificate exists and CertRelay manages it."""
    certificate = world.server.vault.find(planned.name)
    if certificate is None or not certificate.completed:
        return False
    return not planned.adopted or is_managed(certificate.current.tags or {})


def request(world: World, planned: PlannedCertificate) -> None:
    """Request the certificate, or import and adopt it. Raises what the app raises.

    Always by the same idempotency key, until that request has failed; then by a new one."""
    if not planned.adopted:
        names = (f"{planned.name}.contoso.example",)
        asked = CertificateSpec(planned.authority, _policy(planned), dns_names=names, validity_days=planned.days)
        key = f"{planned.name}-{_failed(world, planned)}"
        create.create(world.services, ALIAS, planned.name, asked, requested_by="owner", idempotency_key=key)
        return
    if world.server.vault.find(planned.name) is None:
        body = {"value": _imported(world, planned), "pwd": PASSWORD}
        world.services.vault(ALIAS).import_certificate(planned.name, body)
    adopt.adopt(world.services, ALIAS, planned.name, Adoption(planned.authority, trigger=_trigger(planned) or None))


def _failed(world: World, planned: PlannedCertificate) -> int:
    """How many of the owner's requests have ended without a certificate."""
    ended = world.services.storage.ended(ALIAS, planned.name)
    return sum(one.kind is Kind.CREATE and one.state is not State.COMPLETED for one in ended)


def _policy(planned: PlannedCertificate) -> dict[str, Any]:
    key: dict[str, Any] = {"key_props": {"kty": "EC", "crv": "P-256"}}
    if not planned.trigger:
        return key
    action = {"trigger": _trigger(planned), "action": {"action_type": "EmailContacts"}}
    return key | {"lifetime_actions": [action]}


def _trigger(planned: PlannedCertificate) -> dict[str, int]:
    kind, _, number = planned.trigger.partition("=")
    return {kind: int(number)} if kind else {}


def _imported(world: World, planned: PlannedCertificate) -> str:
    """A self-signed certificate with its key: base64 of a PFX."""
    key, name = ec.generate_private_key(ec.SECP256R1()), f"{planned.name}.contoso.example"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = world.now() - timedelta(minutes=1)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), begins, begins + timedelta(days=planned.days)
    )
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pfx = pkcs12.serialize_key_and_certificates(None, key, made, None, BestAvailableEncryption(PASSWORD.encode()))
    return base64.b64encode(pfx).decode()
