"""Gather the facts that decide the next step of an operation, with as few requests to Key Vault as are safe.

What this lease has seen is not read again: the answer to a creation is the pending operation. It is read again after a
takeover, a failed try or a crash, since a creation may have succeeded unseen. Key Vault is the fence: it refuses a
second creation of a name, and a merge of another key.
"""

import base64
from dataclasses import replace

from certrelay.keyvault.certificate import PendingOperation, version_of
from certrelay.operations import signing
from certrelay.operations.decide import Facts
from certrelay.services import Services
from certrelay.storage.operation import Kind, Operation, State


def gather(services: Services, operation: Operation) -> Facts:
    """The facts for the next step. Raises the errors of certrelay.keyvault.client.Vault and NotReady."""
    if operation.state.ended:
        return Facts(None)
    if operation.kind is Kind.IMPORT:
        newest = services.vault(operation.vault).get(operation.name)
        return Facts(None, version_of(newest) if newest and signing.is_newest(newest, operation) else "")
    if operation.state is State.REQUESTED:
        return _before_creation(services, operation)
    if operation.pending is not None and operation.request.authority is not None:
        return Facts(operation.pending)
    return _with_merged_version(services, operation, services.vault(operation.vault).pending(operation.name))


def gather_anew(services: Services, operation: Operation) -> Facts:
    """The facts as Key Vault has them now, whatever this lease has seen. Raises what `gather` raises."""
    return gather(services, replace(operation, pending=None, attempts=max(operation.attempts, 1)))


def _before_creation(services: Services, operation: Operation) -> Facts:
    first_try = not operation.attempts and not operation.crashes
    vault = services.vault(operation.vault)
    pending = None if first_try else vault.pending(operation.name)
    if operation.kind is not Kind.RENEW:
        return Facts(pending)
    newest = vault.get(operation.name)
    tags = newest.get("tags") or {} if newest else None
    return Facts(pending, newest_version=version_of(newest) if newest else "", newest_tags=tags)


def _with_merged_version(services: Services, operation: Operation, pending: PendingOperation | None) -> Facts:
    still_pending = pending is not None and pending.in_progress and pending.request_id == operation.request_id
    if operation.state is not State.ISSUED or still_pending:
        return Facts(pending)
    bundle = services.vault(operation.vault).get(operation.name)
    if bundle is not None and bundle.get("cer") and signing.is_for_key_of(base64.b64decode(bundle["cer"]), operation):
        return Facts(pending, version_of(bundle))
    return Facts(pending, _version_in_history(services, operation))


def _version_in_history(services: Services, operation: Operation) -> str:
    """The version that a worker has written to the history before it died, whatever is the newest one now; or ""."""
    history = services.storage.ended(operation.vault, operation.name)
    return next((ended.version for ended in history if ended.id == operation.id), "")
