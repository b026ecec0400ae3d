"""Import operations. An import runs within the call that requests it, because its private key is never stored.

It ends as Key Vault's response says; if the response is lost, as Key Vault's newest version shows. If the call itself
dies, a worker finds the row, compares the newest version with the row's chain, and closes the operation.
"""

from typing import Any

from certrelay.access import ownership
from certrelay.errors import CertRelayError, NameBusy, NotReady, VaultForbidden
from certrelay.keyvault.certificate import version_of
from certrelay.log import about, logger
from certrelay.operations import find, lease, reconcile
from certrelay.operations.signing import is_newest
from certrelay.services import Services
from certrelay.storage.operation import Failure, Operation, State
from certrelay.storage.rows import Stale

log = logger("operations")

type Json = dict[str, Any]


def import_now(services: Services, operation: Operation, body: Json, *, must_own: bool = False) -> Json:
    """Open the operation, import `body` (Key Vault's ImportCertificateParameters, with the key), and close it.

    `operation.chain` is the chain of the file (DER, leaf first). The caller becomes the owner, unless there is one;
    `must_own`: it has to be the owner. Returns Key Vault's CertificateBundle. Raises NameBusy when the certificate has
    an operation, NotPermitted `NotOwner`, and any error of `Vault.import_certificate`."""
    find.refuse_while_open(services, operation.vault, operation.name, even_ended=True)
    ownership.claim(services, operation.vault, operation.name, "imported", must_own=must_own)
    now = services.now()
    opened = services.storage.insert(lease.with_lease(operation, now).moved(State.REQUESTED, now))
    if opened is None:
        raise NameBusy(f"{operation.name} has an operation in progress; wait for it, or cancel it first")
    with about(**opened.fields):
        return _run(services, opened, body)


def _run(services: Services, opened: Operation, body: Json) -> Json:
    try:
        bundle = _import(services, opened, body)
    except CertRelayError as error:
        if isinstance(error, NotReady) and not isinstance(error, VaultForbidden):
            # Neither Key Vault's response nor its newest version is known: the poll timer tries again.
            lease.release(services, opened)
            raise
        _end(services, opened.moved(State.FAILED, services.now(), str(error), failure=Failure(error.code, str(error))))
        raise
    except Exception:
        lease.crashed(services, opened)
        raise
    _end(services, opened.moved(State.COMPLETED, services.now(), version=version_of(bundle)))
    return bundle


def _import(services: Services, operation: Operation, body: Json) -> Json:
    vault = services.vault(operation.vault)
    try:
        return vault.import_certificate(operation.name, body)
    except VaultForbidden:
        raise
    except NotReady:  # perhaps only the response was lost
        newest = vault.get(operation.name)
        if newest is None or not is_newest(newest, operation):
            raise
        log.warning("Key Vault's response was lost, but the import succeeded")
        return newest


def _end(services: Services, ended: Operation) -> None:
    """Record the end, notify, and free the name; if that fails now, the poll timer does it later."""
    try:
        reconcile.go_on(services, lease.save(services, ended))
    except (Stale, NotReady) as error:
        log.warning("the poll timer will close the operation (%s)", type(error).__name__)
