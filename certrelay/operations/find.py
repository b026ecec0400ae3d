"""Open operations and ended ones, found by id, by certificate, or by idempotency key."""

from certrelay.errors import NameBusy, NotFound
from certrelay.services import Services
from certrelay.storage.operation import (
    Operation,
    operation_id,
    split_operation_id,
)


def by_key_or_open(services: Services, vault: str, name: str, idempotency_key: str | None) -> Operation | None:
    """The operation that this key began, open or ended; else the open one of the certificate, if any."""
    found = services.storage.open(vault, name)
    identifier = operation_id(vault, name, idempotency_key)
    if idempotency_key is not None and (found is None or found.id != identifier):
        found = _ended(services, identifier) or found
    return found


def refuse_while_open(services: Services, vault: str, name: str) -> None:
    """Raise Conflict when the certificate has an operation that has not ended: what it will bring was asked before."""
    operation = services.storage.open(vault, name)
    if operation is not None and not operation.state.ended:
        raise NameBusy(f"{name} has an operation in progress; cancel it first: {operation.id}")


def by_id(services: Services, identifier: str) -> Operation:
    """The operation with this id, open or ended. Raises NotFound."""
    parts = split_operation_id(identifier)
    found = services.storage.open(*parts) if parts else None
    if found is None or found.id != identifier:
        found = _ended(services, identifier) if parts else None
    if found is None:
        raise NotFound(f"there is no operation {identifier!r}", "NoSuchOperation")
    return found


def of_certificate(services: Services, vault: str, name: str, identifier: str | None) -> Operation:
    """The certificate's operation with this id, or its latest one. Raises NotFound."""
    if identifier is None:
        return latest(services, vault, name)
    found = by_id(services, identifier)
    if (found.vault, found.name.lower()) != (vault, name.lower()):
        raise NotFound(f"{name} has no operation {identifier!r}", "NoSuchOperation")
    return found


def latest(services: Services, vault: str, name: str) -> Operation:
    """The open operation of a certificate, else the last one that ended. Raises NotFound."""
    found = services.storage.open(vault, name) or next(iter(services.storage.ended(vault, name)), None)
    if found is None:
        raise NotFound(f"{name} has had no operation", "NoSuchOperation")
    return found


def _ended(services: Services, identifier: str) -> Operation | None:
    parts = split_operation_id(identifier)
    history = services.storage.ended(*parts) if parts else []
    return next((operation for operation in history if operation.id == identifier), None)
