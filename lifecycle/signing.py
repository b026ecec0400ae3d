"""Between an operation and its authority: what is asked, with which CSR, and what of the answer is accepted."""

import base64
import logging
from collections.abc import Callable
from datetime import timedelta

from connectors.base import Cancels, Connector, Outcome, SigningRequest, Unavailable
from lifecycle import policy, verify
from lifecycle.errors import Unverified
from lifecycle.model import CertificateRequest, Operation, State
from lifecycle.services import Services
from lifecycle.vault import PendingOperation

type Question = Callable[[Connector, SigningRequest], Outcome]

log = logging.getLogger("certrelay.operations")


def ask(services: Services, operation: Operation, pending: PendingOperation, question: Question) -> Outcome:
    """The authority's outcome for Key Vault's CSR. Raises Unverified when the CSR is not what was asked."""
    verify.verify_csr(pending.csr, policy.expected(operation.request.policy))
    name = operation.request.authority or ""
    request = _signing_request(services, operation, pending)
    try:
        services.authority(name)
        return question(services.connector(name), request)
    except Exception as error:  # whatever a connector raises means that it could not ask
        log.exception("operation %s: the connector of %s raised", operation.id, name)
        return Unavailable(f"the connector of {name} failed ({type(error).__name__})")


def accept(services: Services, operation: Operation, pending: PendingOperation, answer: bytes) -> Operation:
    """The operation as issued. Raises Unverified or Invalid."""
    now = services.now()
    rules = services.authority(operation.request.authority or "").settings.rules
    limits = verify.Limits(rules.max_validity_days, rules.keep_root, rules.issuer_pins, rules.public_trust)
    expected = policy.expected(operation.request.policy)
    chain = verify.verify_answer(answer, pending.csr, expected, limits, now)
    return operation.moved(State.ISSUED, now, chain=chain)


def adoptable(pending: PendingOperation, wanted: CertificateRequest) -> bool:
    """Ours, as far as can be told: the same kind of issuer and a CSR for exactly what we ask."""
    if pending.issuer.lower() != wanted.issuer.lower():
        return False
    try:
        verify.verify_csr(pending.csr, policy.expected(wanted.policy))
    except Unverified:
        return False
    return True


def public_key_of(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate (DER)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    loaded = x509.load_der_x509_certificate(certificate)
    return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def withdraw(services: Services, operation: Operation) -> None:
    """Tell the authority that nobody waits for the order any more; best effort."""
    if not operation.reference or operation.request.authority not in services.settings.authorities:
        return
    try:
        connector = services.connector(operation.request.authority or "")
        if isinstance(connector, Cancels):
            connector.cancel(operation.reference)
    except Exception as error:
        log.warning("operation %s: its order could not be withdrawn (%s)", operation.id, type(error).__name__)


def _signing_request(services: Services, operation: Operation, pending: PendingOperation) -> SigningRequest:
    asked = policy.expected(operation.request.policy)
    days = operation.request.validity_days or 365
    replaced = services.vault(operation.vault).get(operation.name, operation.replaces) if operation.replaces else None
    return SigningRequest(
        operation_id=operation.id,
        csr=pending.csr,
        names=asked.names,
        not_after=services.now().replace(microsecond=0) + timedelta(days=days),
        replaces=base64.b64decode(replaced["cer"]) if replaced and replaced.get("cer") else None,
        is_ca=asked.is_ca,
    )
