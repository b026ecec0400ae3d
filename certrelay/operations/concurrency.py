"""How many operations a vault and an authority have at once (`concurrency` in the settings).

An operation acquires a place of its vault before Key Vault makes its key, and a place of its authority before it is
submitted. It holds both until it is closed. While its authority cannot take the order it releases both, and while its
authority is unavailable or waits for people it releases its vault's, so that no authority blocks another one's orders.
"""

from datetime import timedelta

from certrelay.services import Services
from certrelay.storage.operation import Operation

LONGEST_CLOSING = timedelta(days=1)  # past the deadline; a place that is never released is free after it


def acquire_of_vault(services: Services, operation: Operation) -> str:
    """Acquire a place of the vault, unless the operation has one. Returns why there is none, or nothing."""
    settings = services.settings.vaults.get(operation.vault)
    return _acquire(services, operation, f"vault {operation.vault}", settings.concurrency if settings else None)


def acquire(services: Services, operation: Operation) -> str:
    """Acquire a place of the vault and one of the authority, unless the operation has them.

    Returns why there is none, or nothing. Who waits for a place of the authority holds none of the vault."""
    refusal = acquire_of_vault(services, operation) or _acquire(services, operation, *_authority(services, operation))
    if refusal:
        release_of_vault(services, operation)
    return refusal


def release(services: Services, operation: Operation) -> None:
    """Release all places of the operation; may be repeated."""
    holder, limit = _authority(services, operation)
    if limit is not None:
        services.storage.limits.release(holder, operation.id)
    release_of_vault(services, operation)


def release_of_vault(services: Services, operation: Operation) -> None:
    """Release the operation's place of its vault; may be repeated."""
    settings = services.settings.vaults.get(operation.vault)
    if settings is not None and settings.concurrency is not None:
        services.storage.limits.release(f"vault {operation.vault}", operation.id)


def _authority(services: Services, operation: Operation) -> tuple[str, int | None]:
    known = services.settings.authorities.get(operation.request.authority or "")
    return f"authority {operation.request.authority}", known.settings.concurrency if known else None


def _acquire(services: Services, operation: Operation, holder: str, limit: int | None) -> str:
    until = operation.deadline + LONGEST_CLOSING
    if limit is None or services.storage.limits.acquire(holder, operation.id, limit, services.now(), until):
        return ""
    return f"{holder} has {limit} operations already, as many as its concurrency allows"
