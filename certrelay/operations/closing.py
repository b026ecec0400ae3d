"""The cleanup of an ended operation, done before its row is deleted. Every function here may be repeated."""

import logging
from datetime import timedelta

from cryptography import x509

from certrelay import telemetry
from certrelay.errors import CertRelayError, Conflict, NotAllowedNow, NotReady, VaultForbidden
from certrelay.keyvault.certificate import item_of, thumbprint, version_of
from certrelay.log import logger
from certrelay.operations import signing
from certrelay.services import Services
from certrelay.storage import shown_names
from certrelay.storage.operation import Kind, Operation, State
from certrelay.storage.renewal_record import RenewalRecord

LONGEST_NOTIFICATION_WAIT = timedelta(hours=1)  # a row stays at most this long for an unreachable notification queue

log = logger("operations")


def free_in_key_vault(services: Services, operation: Operation) -> None:
    """Delete the operation's pending certificate operation in Key Vault, unless it is one of Key Vault's own issuers
    that may still end it.

    If Key Vault forbids it, or still fails at the deadline, log the error and go on.
    Raises Conflict or NotReady before the deadline, so that the caller tries again."""
    own_issuer = operation.request.authority is None
    if own_issuer and (operation.state is not State.CANCELED or operation.kind is Kind.IMPORT):
        return
    try:
        request_id = operation.request_id or _lost_request_id(services, operation)
        if request_id:
            services.vault(operation.vault).delete_pending(operation.name, request_id)
    except (Conflict, NotReady) as error:
        if not isinstance(error, NotAllowedNow | VaultForbidden) and services.now() < operation.deadline:
            raise
        log.error("the pending operation in Key Vault could not be deleted: %s", error)


def _lost_request_id(services: Services, operation: Operation) -> str:
    """The request id of a pending operation that CertRelay created but whose response was lost, or ""."""
    has_tried = operation.crashes or operation.failed_at is not None
    if operation.state is not State.FAILED and not has_tried:
        return ""
    try:
        pending = services.vault(operation.vault).pending(operation.name)
        if pending is None or not pending.in_progress or pending.request_id == operation.earlier_request_id:
            return ""
        return pending.request_id if signing.adoptable(pending, operation.request) else ""
    except CertRelayError:
        raise
    except Exception:  # the same data may have crashed the operation; it must be able to end nevertheless
        log.exception("could not determine whether a pending operation is left in Key Vault")
        return ""


def update_renewal_record(services: Services, operation: Operation) -> None:
    """After a failed renewal, back off before the next sweep tries again; after a successful one, reset the record.

    It remembers the names of the new version, for lists, and that a fall-back signed, which is then asked for renewal
    information."""
    if operation.state is State.COMPLETED:
        _begin_record(services, operation)
    elif operation.state is State.FAILED and operation.kind is Kind.RENEW:
        _back_off(services, operation)


def _begin_record(services: Services, operation: Operation) -> None:
    if not operation.chain:
        services.storage.renewals.delete(operation.vault, operation.name)
        return
    leaf, signer = operation.chain[0], operation.fallback.authority if operation.fallback else ""
    begun = RenewalRecord(
        operation.vault, operation.name, thumbprint=thumbprint(leaf), signer=signer, names=shown_names.text_of(leaf)
    )
    services.storage.renewals.begin(begun)


def _back_off(services: Services, operation: Operation) -> None:
    """The failures of the version that was to be renewed count; a newer one, which somebody else has made, has none."""
    history = services.storage.ended(operation.vault, operation.name)
    failures = sum(
        one.kind is Kind.RENEW and one.state is State.FAILED and one.replaces == operation.replaces for one in history
    )
    now = services.now()
    try:
        bundle = services.vault(operation.vault).get(operation.name) or {}
    except CertRelayError as error:  # do not delay closing: without an expiry date the shortest back-off applies
        log.warning("the certificate cannot be read: %s", error)
        bundle = {}
    if bundle and version_of(bundle) != operation.replaces:
        return
    item = item_of(bundle) if bundle else None
    record = services.storage.renewals.record(operation.vault, operation.name)
    current = record.about(item.thumbprint) if item else record
    expires = item.expires if item and item.expires else now
    why = operation.failure.message if operation.failure else ""
    services.storage.renewals.save(
        current.backed_off(max(failures, 1), why, operation.ended_at or now, expires), record
    )


def announce_to_sweep(services: Services, operation: Operation) -> None:
    """Let the next sweep read the vault's list if the new version may be due before a list that rests is read again.

    It then lives for less than a day, or a third of its lifetime is over, as of one that was imported. NotReady."""
    if operation.state is not State.COMPLETED or not operation.chain:
        return
    leaf, now = x509.load_der_x509_certificate(operation.chain[0]), services.now()
    begins, expires = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if expires - now < timedelta(days=1) or now - begins > (expires - begins) / 3:
        services.storage.renewals.note_change(operation.vault, now)


def log_end(operation: Operation) -> None:
    """Log and measure the end of an operation, with the reason of a failure; a failure is logged as an error."""
    authority = operation.authority or operation.request.issuer
    attributes = {"authority": authority, "kind": operation.kind.value, "result": operation.state.value}
    telemetry.operations.add(1, attributes)
    if operation.ended_at is not None:
        telemetry.operation_duration.record((operation.ended_at - operation.requested_at).total_seconds(), attributes)
    reason = f": {operation.failure.message}" if operation.failure else ""
    level = logging.ERROR if operation.state is State.FAILED else logging.INFO
    log.log(level, "%s%s", operation.state, reason)
