"""Limits on the number of simultaneous operations of a vault and of an authority (`concurrency` in the settings).

An operation acquires a slot of its vault before Key Vault creates its key, and a slot of its authority before its CSR
is submitted. It holds both until it is closed, with two exceptions, so that no authority blocks another one's orders:
while the authority cannot take the order, it releases both; while the authority is unavailable afterwards or waits for
people, it releases the vault's.
"""

from datetime import timedelta

from certrelay.services import Services
from certrelay.storage.operation import Operation

LONGEST_CLOSING = timedelta(days=1)  # after the deadline; a slot that was never released expires then


def acquire_of_vault(services: Services, operation: Operation) -> str:
    """Acquire a slot of the vault, unless the operation holds one. Returns "", or why no slot is free."""
    settings = services.settings.vaults.get(operation.vault)
    return _acquire(services, operation, f"vault {operation.vault}", settings.concurrency if settings else None)


def acquire(services: Services, operation: Operation) -> str:
    """Acquire a slot of the vault and a slot of the authority, unless the operation holds them.

    Returns "", or why no slot is free; the operation then holds no slot of the vault."""
    refusal = acquire_of_vault(services, operation) or _acquire(services, operation, *_authority(services, operation))
    if refusal:
        release_of_vault(services, operation)
    return refusal


def release(services: Services, operation: Operation) -> None:
    """Release both slots of the operation; may be repeated. What has left the settings may come back, without them."""
    holder, limit = _authority(services, operation)
    if limit is not None or (operation.authority and operation.authority not in services.settings.authorities):
        services.storage.limits.release(holder, operation.id)
    release_of_vault(services, operation)


def release_of_vault(services: Services, operation: Operation) -> None:
    """Release the operation's slot of its vault; may be repeated."""
    settings = services.settings.vaults.get(operation.vault)
    if settings is None or settings.concurrency is not None:
        services.storage.limits.release(f"vault {operation.vault}", operation.id)


def _authority(services: Services, operation: Operation) -> tuple[str, int | None]:
    known = services.settings.authorities.get(operation.authority or "")
    return f"authority {operation.authority}", known.settings.concurrency if known else None


def _acquire(services: Services, operation: Operation, holder: str, limit: int | None) -> str:
    until = operation.deadline + LONGEST_CLOSING
    if limit is None or services.storage.limits.acquire(holder, operation.id, limit, services.now(), until):
        return ""
    return f"{holder} has {limit} operations already, the maximum that its concurrency setting allows"
