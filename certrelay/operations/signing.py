"""Between an operation and its authority: check the CSR, call the connector, check its outcome and certificate."""

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certrelay import rules, telemetry
from certrelay.connectors.base import (
    Cancels,
    Connector,
    ConnectorError,
    Issued,
    Outcome,
    Pending,
    Rejected,
    SigningRequest,
    Unavailable,
)
from certrelay.errors import Fault, Unverified
from certrelay.keyvault.certificate import PendingOperation
from certrelay.log import logger
from certrelay.operations.decide import orders_lost
from certrelay.pki import verify
from certrelay.pki.certificate import identified
from certrelay.pki.encodings import panics_as_errors
from certrelay.pki.wording import bounded
from certrelay.redaction import redact
from certrelay.services import Services
from certrelay.storage.operation import MAX_CHAIN_BYTES, CertificateRequest, Operation, State

type Call = Callable[[Connector, SigningRequest], Outcome]  # submit or collect

LONGEST_WAIT = 7 * 86_400.0  # seconds; the longest delay of a queue message
MAX_TEXT = 1000  # characters of a connector's text; a row and a queue message hold some ten thousand

log = logger("operations")


def call_authority(services: Services, operation: Operation, pending: PendingOperation, call: Call) -> Outcome:
    """Call the connector with Key Vault's CSR, and return its outcome; any exception it raises counts as Unavailable.

    Raises Unverified when the CSR does not match the request."""
    verify.verify_csr(pending.csr, operation.request.expected)
    name = operation.authority or ""
    request = _signing_request(services, operation, pending)
    try:
        services.authority(name)
        with telemetry.authority_call(name, "submit" if operation.state is State.PENDING else "collect") as answered:
            outcome = _checked(call(services.connector(name), request))
            answered(type(outcome).__name__.lower())
        return outcome
    except Exception as error:  # by contract, any exception of a connector means Unavailable
        log.exception("the connector raised")
        return Unavailable(f"the connector of {name} failed ({type(error).__name__})")


def _checked(outcome: Outcome) -> Outcome:
    """The outcome with its texts cleaned and shortened and its delay bounded. Raises TypeError if it is not one."""
    match outcome:
        case Issued(bytes()):
            return outcome
        case Rejected(str() as reason):
            return Rejected(_text(reason))
        case Pending(str() as reference) if redact(reference) != reference:
            return Rejected("the authority's reference to the order repeats a secret of the settings")
        case Pending(str(), seconds, str() as awaits):
            return replace(outcome, retry_after=_seconds(seconds), awaits=_text(awaits))
        case Unavailable(str() as reason, None):
            return replace(outcome, reason=_text(reason))
        case Unavailable(str() as reason, float() | int() as seconds):
            return replace(outcome, reason=_text(reason), retry_after=_seconds(seconds))
    raise TypeError(f"{type(outcome).__name__} is not an outcome")


def _seconds(retry_after: float) -> float:
    return min(max(float(retry_after), 0.0), LONGEST_WAIT) if math.isfinite(retry_after) else LONGEST_WAIT


def _text(text: str) -> str:
    """The text as one line without control characters, at most MAX_TEXT long."""
    visible = "".join(char if char.isprintable() else " " for char in redact(text)[: 4 * MAX_TEXT])
    line = " ".join(visible.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def accept(services: Services, operation: Operation, pending: PendingOperation, answer: bytes) -> Operation:
    """Verify `answer` (PEM, DER or PKCS#7) by the rules of the authority and of the vault.

    Returns the operation in state `issued`, with its chain. Raises Unverified or another Invalid."""
    now = services.now()
    vault, authority = operation.vault, operation.authority or ""
    limits = rules.limits(services, vault, authority)
    verified = verify.verify_answer(answer, pending.csr, operation.request.expected, limits, now)
    size = sum(map(len, verified.chain))
    if size > MAX_CHAIN_BYTES:
        raise Unverified(
            f"the chain has {size} bytes, and at most {MAX_CHAIN_BYTES} are allowed: have it issued by an issuer with "
            "smaller certificates"
        )
    leaf = x509.load_der_x509_certificate(verified.chain[0])
    exportable = operation.request.policy["key_props"].get("exportable")
    violations = rules.certificate_violations(services, vault, authority, leaf, exportable)
    if violations:
        *others, last = bounded(violations)
        step = f"have {identified(leaf)} issued again, within the rules"
        raise Unverified([Fault("", violation) for violation in (*others, f"{last}; {step}")])
    for sentence in verified.left_out:
        log.info("%s", sentence)
    return operation.moved(State.ISSUED, now, chain=verified.chain)


def adoptable(pending: PendingOperation, request: CertificateRequest) -> bool:
    """Whether a pending operation in Key Vault can serve the request: it has the same issuer and a matching CSR."""
    if pending.issuer.lower() != request.issuer.lower():
        return False
    try:
        verify.verify_csr(pending.csr, request.expected)
    except Unverified:
        return False
    return True


def is_for_key_of(certificate: bytes, operation: Operation) -> bool:
    """Whether `certificate` (DER) is the one that was issued, or another one for the same key.

    With `reuse_key` it must be the issued one, since the version before it has the same key."""
    leaf = operation.chain[0]
    if operation.request.policy["key_props"].get("reuse_key"):
        return certificate == leaf
    return public_key_of(certificate) == public_key_of(leaf)


def is_newest(bundle: Mapping[str, Any], operation: Operation) -> bool:
    """Whether a CertificateBundle holds the leaf of the operation's chain."""
    return bool(operation.chain) and base64.b64decode(bundle.get("cer") or "") == operation.chain[0]


def public_key_of(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate (DER); empty if it cannot be read, so it is none of ours."""
    try:
        with panics_as_errors():
            loaded = x509.load_der_x509_certificate(certificate)
        return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # a parser on bytes from elsewhere: ValueError, UnsupportedAlgorithm …
        return b""


def cancel_order(services: Services, operation: Operation) -> None:
    """Cancel the operation's order at the authority, if its connector can cancel. Best effort: errors are logged."""
    authority = operation.withdraw_from or operation.authority
    if not operation.reference or authority not in services.settings.authorities:
        return
    try:
        connector = services.connector(authority or "")
        if isinstance(connector, Cancels):
            connector.cancel(operation.reference)
    except Exception as error:
        reason = error if isinstance(error, ConnectorError) else type(error).__name__
        log.warning("the order could not be canceled: %s", reason)


def _signing_request(services: Services, operation: Operation, pending: PendingOperation) -> SigningRequest:
    expected = operation.request.expected
    days = operation.request.validity_days or 365
    return SigningRequest(
        operation_id=operation.id,
        csr=pending.csr,
        names=expected.names,
        not_after=services.now().replace(microsecond=0) + timedelta(days=days),
        replaces=_replaced(services, operation),
        is_ca=expected.is_ca,
        lost_orders=orders_lost(operation),
    )


def _replaced(services: Services, operation: Operation) -> bytes | None:
    """The certificate (DER) that the operation replaces, if the authority that is asked signed it.

    It is read from Key Vault if it was too large for the row."""
    if not operation.replaces or operation.authority != (operation.replaced_signer or operation.request.authority):
        return None
    if operation.replaced:
        return operation.replaced
    bundle = services.vault(operation.vault).get(operation.name, operation.replaces) or {}
    return base64.b64decode(bundle["cer"]) if bundle.get("cer") else None
