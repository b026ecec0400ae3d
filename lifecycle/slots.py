"""How many operations a vault and an authority have at once (`concurrency` in the settings).

An operation takes a slot of its vault before Key Vault makes its key, and one of its authority before it is submitted.
It keeps them until it is closed. While its authority cannot take the order it gives both back, and while its authority
is out of order or waits for people that of the vault, so that no authority keeps another one's orders out of a vault.
"""

from datetime import timedelta

from certrelay.services import Services
from certrelay.storage.operation import Operation

CLOSING = timedelta(days=1)  # what a closing may take past the deadline; no slot is lost for longer


def take_of_vault(services: Services, operation: Operation) -> str:
    """Take a slot, unless the operation has it; why there is none, or nothing."""
    settings = services.settings.vaults.get(operation.vault)
    return _take(services, operation, f"vault {operation.vault}", settings.concurrency if settings else None)


def take(services: Services, operation: Operation) -> str:
    """Take a slot of the vault and one of the authority, unless the operation has them; why there are none, or nothing.

    Who has to wait for the authority's keeps none of the vault's meanwhile."""
    crowded = take_of_vault(services, operation) or _take(services, operation, *_authority(services, operation))
    if crowded:
        give_back_of_vault(services, operation)
    return crowded


def give_back(services: Services, operation: Operation) -> None:
    """Give back all that the operation has; doing it twice is no error."""
    who, limit = _authority(services, operation)
    if limit is not None:
        services.storage.limits.release(who, operation.id)
    give_back_of_vault(services, operation)


def give_back_of_vault(services: Services, operation: Operation) -> None:
    settings = services.settings.vaults.get(operation.vault)
    if settings is not None and settings.concurrency is not None:
        services.storage.limits.release(f"vault {operation.vault}", operation.id)


def _authority(services: Services, operation: Operation) -> tuple[str, int | None]:
    known = services.settings.authorities.get(operation.request.authority or "")
    return f"authority {operation.request.authority}", known.settings.concurrency if known else None


def _take(services: Services, operation: Operation, who: str, limit: int | None) -> str:
    until = operation.deadline + CLOSING
    if limit is None or services.storage.limits.acquire(who, operation.id, limit, services.now(), until):
        return ""
    return f"{who} has {limit} operations already, as many as its concurrency allows"
