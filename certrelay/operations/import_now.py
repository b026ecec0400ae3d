"""An import: the one operation that runs within the call that asked for it, since its private key is kept nowhere.

Key Vault's answer decides how it ends; where the answer is lost, what Key Vault holds decides. When the call itself
dies, a worker finds the row, compares the newest version with the row's chain, and closes it.
"""

import uuid
from dataclasses import replace
from typing import Any

from certrelay.errors import CertRelayError, NameBusy, NotReady
from certrelay.keyvault.client import version_of
from certrelay.log import about, logger
from certrelay.operations import lease, reconcile
from certrelay.operations.signing import is_newest
from certrelay.services import Services
from certrelay.storage.operation import Failure, Operation, State
from certrelay.storage.tables import Stale

log = logger("operations")

type Json = dict[str, Any]


def import_now(services: Services, operation: Operation, body: Json) -> Json:
    """Open the operation, import `body` (Key Vault's ImportCertificateParameters, with the key), and close it.

    `operation.chain` is the file's. Returns the CertificateBundle. Raises NameBusy, and what Key Vault answers."""
    now = services.now()
    leased = replace(operation, lease_id=uuid.uuid4().hex, lease_until=now + lease.LEASE)
    opened = services.storage.insert(leased.moved(State.REQUESTED, now))
    if opened is None:
        raise NameBusy(f"{operation.name} has an operation in progress")
    with about(**opened.fields):
        return _run(services, opened, body)


def _run(services: Services, opened: Operation, body: Json) -> Json:
    try:
        made = _import(services, opened, body)
    except NotReady:  # neither Key Vault's answer nor its newest version is known: the poll timer looks again
        lease.release(services, opened)
        raise
    except CertRelayError as error:
        _end(services, opened.moved(State.FAILED, services.now(), str(error), failure=Failure(error.code, str(error))))
        raise
    except Exception:
        lease.crashed(services, opened)
        raise
    _end(services, opened.moved(State.COMPLETED, services.now(), version=version_of(made)))
    return made


def _import(services: Services, operation: Operation, body: Json) -> Json:
    vault = services.vault(operation.vault)
    try:
        return vault.import_certificate(operation.name, body)
    except NotReady:  # only the answer may be lost
        found = vault.get(operation.name)
        if found is None or not is_newest(found, operation):
            raise
        log.warning("Key Vault's answer was lost, and the import was done")
        return found


def _end(services: Services, ended: Operation) -> None:
    """Record it, notify, and free the name, now or by the poll timer: the import itself is over."""
    try:
        reconcile.go_on(services, lease.save(services, ended))
    except (Stale, NotReady) as error:
        log.warning("the operation is closed later (%s)", type(error).__name__)
