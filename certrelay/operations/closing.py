"""What has to be done before an ended operation's row may go. All of it may be done twice."""

import logging
from datetime import timedelta

from certrelay.errors import CertRelayError, Conflict, NotPermitted, NotReady
from certrelay.keyvault.client import item_of
from certrelay.log import logger
from certrelay.operations import signing
from certrelay.services import Services
from certrelay.storage.operation import Kind, Operation, State

LONGEST_WAIT_TO_TELL = timedelta(hours=1)

log = logger("operations")


def free_in_key_vault(services: Services, operation: Operation) -> None:
    """Delete our pending operation. What Key Vault does not allow, or not until the deadline, keeps nobody waiting."""
    try:
        request_id = operation.request_id or _unheard_of(services, operation)
        if request_id:
            services.vault(operation.vault).delete_pending(operation.name, request_id)
    except (NotPermitted, Conflict, NotReady) as error:
        if not isinstance(error, NotPermitted) and services.now() < operation.deadline:
            raise
        log.error("the pending operation stays in Key Vault: %s", error)


def _unheard_of(services: Services, operation: Operation) -> str:
    """The request id of the pending operation that we made although the answer to its creation was lost, or ""."""
    if operation.state is not State.FAILED:
        return ""
    try:
        pending = services.vault(operation.vault).pending(operation.name)
        if pending is None or not pending.in_progress or pending.request_id == operation.earlier_request_id:
            return ""
        return pending.request_id if signing.adoptable(pending, operation.request) else ""
    except CertRelayError:
        raise
    except Exception:  # what may have crashed the operation itself must not keep it from ending
        log.exception("it is unknown whether a pending operation stays in Key Vault")
        return ""


def take_note(services: Services, operation: Operation) -> None:
    """Let a certificate whose renewal failed rest before the next sweep tries again."""
    if operation.state is State.COMPLETED:
        services.storage.renewals.delete(operation.vault, operation.name)
    if operation.state is not State.FAILED:
        return
    tries = [one.state for one in services.storage.ended(operation.vault, operation.name) if one.kind is Kind.RENEW]
    failures = next((number for number, state in enumerate(tries) if state is State.COMPLETED), len(tries))
    now = services.now()
    try:
        bundle = services.vault(operation.vault).get(operation.name) or {}
    except CertRelayError as error:  # the rest is then the shortest one; the row must not wait for it
        log.warning("the certificate cannot be read: %s", error)
        bundle = {}
    item = item_of(bundle) if bundle else None
    note = services.storage.renewals.record(operation.vault, operation.name)
    about = note.about(item.thumbprint) if item else note
    expires = item.expires if item and item.expires else now
    services.storage.renewals.save(about.backed_off(max(failures, 1), operation.ended_at or now, expires), note)


def log_end(operation: Operation) -> None:
    reason = f": {operation.failure.message}" if operation.failure else ""
    level = logging.ERROR if operation.state is State.FAILED else logging.INFO
    log.log(level, "%s%s", operation.state, reason)
