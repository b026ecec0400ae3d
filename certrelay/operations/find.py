"""Find operations, open or ended, by id, by certificate or by idempotency key."""

from certrelay.access import grants
from certrelay.callers import Role
from certrelay.errors import NameBusy, NotFound
from certrelay.services import Services
from certrelay.storage.operation import Operation, operation_id, split_operation_id


def by_key_or_open(services: Services, vault: str, name: str, idempotency_key: str | None) -> Operation | None:
    """The operation that a request with this key has started or joined, open or ended; else the certificate's open one,
    if any."""
    operation = services.storage.open(vault, name)
    identifier = operation_id(vault, name, idempotency_key)
    if idempotency_key is not None and (operation is None or not _is(operation, identifier)):
        operation = _ended(services, identifier) or operation
    return operation


def has_key(operation: Operation, idempotency_key: str | None) -> bool:
    """Whether the operation was started with this key."""
    return bool(idempotency_key) and _is(operation, operation_id(operation.vault, operation.name, idempotency_key))


def refuse_ended(services: Services, operation: Operation, idempotency_key: str | None) -> None:
    """Raise NameBusy if the operation has ended and is being closed: it is not what is asked for now, unless a request
    with this key has started or joined it. Raises NotReady."""
    if not (operation.state.ended and operation.etag) or has_key(operation, idempotency_key):
        return
    identifier = operation_id(operation.vault, operation.name, idempotency_key)
    if not idempotency_key or services.storage.joined_by(operation.vault, operation.name, identifier) != operation.id:
        raise NameBusy(f"an operation of {operation.name} has just ended; try again")


def join(services: Services, operation: Operation, idempotency_key: str | None) -> None:
    """Note that a request with this key was answered with this operation, so that its repetition is, too. NotReady."""
    if idempotency_key and not has_key(operation, idempotency_key):
        identifier = operation_id(operation.vault, operation.name, idempotency_key)
        services.storage.note_joined(operation, identifier)


def refuse_while_open(services: Services, vault: str, name: str, *, even_ended: bool = False) -> None:
    """Raise NameBusy while the certificate has an operation: it was requested before the change and would undo it.

    `even_ended`: also while an ended one has not been closed."""
    operation = services.storage.open(vault, name)
    if operation is not None and (even_ended or not operation.state.ended):
        raise NameBusy(f"{name} has an operation in progress ({operation.id}); wait for it, or cancel it first")


def by_id(services: Services, identifier: str) -> Operation:
    """The operation with this id, open or ended. Raises NotFound, NotPermitted (the caller may not read it)."""
    parts = split_operation_id(identifier)
    if parts and services.caller is not None:
        grants.require(services.caller, Role.READER, *parts)
    operation = services.storage.open(*parts) if parts else None
    if operation is None or not _is(operation, identifier):
        operation = _ended(services, identifier) if parts else None
    if operation is None:
        raise NotFound(f"there is no operation {identifier!r}", "NoSuchOperation")
    return operation


def of_certificate(services: Services, vault: str, name: str, identifier: str | None) -> Operation:
    """The certificate's operation with this id; without an id, its latest one. Raises NotFound."""
    if identifier is None:
        return latest(services, vault, name)
    operation = by_id(services, identifier)
    if (operation.vault, operation.name.lower()) != (vault, name.lower()):
        raise NotFound(f"{name} has no operation {identifier!r}", "NoSuchOperation")
    return operation


def latest(services: Services, vault: str, name: str) -> Operation:
    """The certificate's open operation, else the one that ended last. Raises NotFound."""
    operation = services.storage.open(vault, name) or next(iter(services.storage.ended(vault, name)), None)
    if operation is None:
        raise NotFound(f"{name} has no operation, open or ended", "NoSuchOperation")
    return operation


def of_version(services: Services, vault: str, name: str, version: str) -> Operation | None:
    """The operation that made a version, by the history. Raises NotReady."""
    return next((one for one in services.storage.ended(vault, name) if one.version == version), None)


def _ended(services: Services, identifier: str) -> Operation | None:
    parts = split_operation_id(identifier)
    return services.storage.ended_with(*parts, identifier) if parts else None


def _is(operation: Operation, identifier: str) -> bool:
    """Whether this is the operation's id. The name in it may be in another case, as in Key Vault."""
    return operation.id.lower() == identifier.lower()
