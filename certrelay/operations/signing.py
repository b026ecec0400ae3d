"""Between an operation and its authority: what is asked, with which CSR, and what of the answer is accepted."""

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

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
from certrelay.errors import Unverified
from certrelay.keyvault.client import PendingOperation
from certrelay.log import logger
from certrelay.pki import verify
from certrelay.services import Services
from certrelay.settings import Rules
from certrelay.storage.operation import CertificateRequest, Operation, State

type Question = Callable[[Connector, SigningRequest], Outcome]

LONGEST_WAIT = 7 * 86_400.0  # seconds; a queue message waits no longer
MAX_WORDS = 1000  # characters of a connector's; a row and a message hold no more than some ten thousand

log = logger("operations")


def ask(services: Services, operation: Operation, pending: PendingOperation, question: Question) -> Outcome:
    """The authority's outcome for Key Vault's CSR. Raises Unverified when the CSR is not what was asked."""
    verify.verify_csr(pending.csr, operation.request.expected)
    name = operation.request.authority or ""
    request = _signing_request(services, operation, pending)
    try:
        services.authority(name)
        return _checked(question(services.connector(name), request))
    except Exception as error:  # whatever a connector raises means that it could not ask
        log.exception("the connector raised")
        return Unavailable(f"the connector of {name} failed ({type(error).__name__})")


def _checked(outcome: Outcome) -> Outcome:
    """The outcome with words that can be kept and a time that can be waited. Raises TypeError when it is none."""
    match outcome:
        case Issued(bytes()):
            return outcome
        case Rejected(str() as reason):
            return Rejected(_words(reason))
        case Pending(str(), seconds, str() as awaits):
            return replace(outcome, retry_after=_seconds(seconds), awaits=_words(awaits))
        case Unavailable(str() as reason, None):
            return replace(outcome, reason=_words(reason))
        case Unavailable(str() as reason, float() | int() as seconds):
            return replace(outcome, reason=_words(reason), retry_after=_seconds(seconds))
    raise TypeError(f"{type(outcome).__name__} is no outcome")


def _seconds(asked: float) -> float:
    return min(max(float(asked), 0.0), LONGEST_WAIT) if math.isfinite(asked) else LONGEST_WAIT


def _words(text: str) -> str:
    """One line without control characters, of bounded length."""
    visible = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_WORDS])
    line = " ".join(visible.split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"


def accept(services: Services, operation: Operation, pending: PendingOperation, answer: bytes) -> Operation:
    """The operation as issued, by the rules of its authority and of its vault. Raises Unverified or Invalid."""
    now = services.now()
    authority = services.authority(operation.request.authority or "").settings
    expected = operation.request.expected
    chains = [
        verify.verify_answer(answer, pending.csr, expected, _limits(rules), now)
        for rules in (authority.rules, services.vault_settings(operation.vault).rules)
    ]
    return operation.moved(State.ISSUED, now, chain=min(chains, key=len))  # without the root if either says so


def _limits(rules: Rules) -> verify.Limits:
    return verify.Limits(rules.max_validity_days, rules.keep_root, rules.issuer_pins, rules.public_trust)


def adoptable(pending: PendingOperation, wanted: CertificateRequest) -> bool:
    """Ours, as far as can be told: the same kind of issuer and a CSR for exactly what we ask."""
    if pending.issuer.lower() != wanted.issuer.lower():
        return False
    try:
        verify.verify_csr(pending.csr, wanted.expected)
    except Unverified:
        return False
    return True


def is_for_key_of(certificate: bytes, operation: Operation) -> bool:
    """Whether the newest certificate (DER) is the one that was issued, or another one for its key. With a key that is
    used again only the very same will do, for the version before has that key too."""
    leaf = operation.chain[0]
    if operation.request.policy["key_props"].get("reuse_key"):
        return certificate == leaf
    return public_key_of(certificate) == public_key_of(leaf)


def is_newest(bundle: Mapping[str, Any], operation: Operation) -> bool:
    """Whether a CertificateBundle is the very certificate of the operation's chain."""
    return bool(operation.chain) and base64.b64decode(bundle.get("cer") or "") == operation.chain[0]


def public_key_of(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate (DER)."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    loaded = x509.load_der_x509_certificate(certificate)
    return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def cancel_order(services: Services, operation: Operation) -> None:
    """Cancel the operation's order at the authority, if it can; best effort."""
    if not operation.reference or operation.request.authority not in services.settings.authorities:
        return
    try:
        connector = services.connector(operation.request.authority or "")
        if isinstance(connector, Cancels):
            connector.cancel(operation.reference)
    except Exception as error:
        reason = error if isinstance(error, ConnectorError) else type(error).__name__
        log.warning("the order could not be canceled: %s", reason)


def _signing_request(services: Services, operation: Operation, pending: PendingOperation) -> SigningRequest:
    asked = operation.request.expected
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
