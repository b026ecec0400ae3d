"""Run replacements (certrelay.renewal.replacements).

The poll timer goes through the vaults page by page and saves its position, so that an interruption loses nothing. Each
certificate whose renewal was started has a row, so that no repetition renews it twice for the same replacement.
"""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from certrelay.errors import CertRelayError, Invalid, NameBusy, NotReady, StorageNotReady
from certrelay.keyvault.certificate import CERTIFICATES, CertificateItem, items_of
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.operations.submit import Origin
from certrelay.pki.distinguished_names import comparable
from certrelay.pki.encodings import panics_as_errors
from certrelay.pki.patterns import name_allowed
from certrelay.renewal import renew
from certrelay.renewal.replacements import JOBS, Criteria, Replacement, find, from_row, save, serial_number
from certrelay.services import Services
from certrelay.storage.operation import State, split_operation_id
from certrelay.storage.rows import ETAG, Row, Stale
from certrelay.storage.watch import time_of

BUDGET = timedelta(seconds=60)  # of one run
LONGEST_WAIT = timedelta(days=1)  # for a vault or a certificate that cannot be used, until it counts as refused
AHEAD = timedelta(hours=1)  # how far ahead a replacement reserves start times
OPEN = "PartitionKey eq @id and (state eq 'inProgress' or state eq 'waiting')"
DONE = "~"  # the cursor of a vault without further pages
PATIENCE = 3  # certificates in a row that fail because the vault is not ready; the next run then continues there

log = logger("replacements")


def advance_all(services: Services) -> None:
    """Advance all running replacements, for a minute at most, and record how their operations ended."""
    until = services.now() + BUDGET
    for row in services.storage.replacements.query("PartitionKey eq @jobs and state ne 'settled'", jobs=JOBS):
        try:
            job = from_row(row)
            if job.state == "running":
                _start_renewals(services, job, until)
            _retry_waiting(services, job, until)
            _record_ends(services, job, until)
        except (Stale, NotReady) as error:
            with about(replacement=row["RowKey"]):
                log.warning("the replacement continues in the next run: %s", error)


def _start_renewals(services: Services, job: Replacement, until: datetime) -> None:
    vaults = sorted(job.criteria.vaults or services.settings.vaults)
    for alias in vaults:
        try:
            job = _start_in_vault(services, job, alias, until)
        except StorageNotReady:
            raise
        except CertRelayError as error:  # one unusable vault must not delay the others
            with about(replacement=job.id, vault=alias):
                log.warning("the vault cannot be used now: %s", error)
            job = _failing(services, find(services, job.id), alias, error)
        if job.state != "running":  # canceled meanwhile
            return
    if all(job.cursor.get(alias) == DONE for alias in vaults):
        save(services, replace(job, state="started"))


def _start_in_vault(services: Services, job: Replacement, alias: str, until: datetime) -> Replacement:
    """Go through the vault's remaining pages, while there is time and the rate limits have room; returns the job.

    Start times are reserved an hour ahead only, so that certificates that become due do not queue behind the whole
    replacement."""
    while (path := job.cursor.get(alias, CERTIFICATES)) != DONE and services.now() < until:
        try:
            page, following = services.vault(alias).page(path)
        except Invalid:  # Key Vault no longer accepts the position; start over, rows tell which renewals were started
            return _moved(services, job, alias, CERTIFICATES, job.looked_at)
        trouble = 0
        items = [item for item in items_of(page) if _listed(job.criteria, item)]
        begun = _begun(services, job, alias, items)
        for item in items:
            if item.name.lower() not in begun:
                if renew.booked(services, alias, authority_of(item.tags) or "", AHEAD):
                    return _moved(services, job, alias, path, job.looked_at) if alias in job.failing_since else job
                trouble = 0 if _renew(services, job, alias, item.name) else trouble + 1
            if trouble >= PATIENCE:
                raise NotReady(f"{PATIENCE} certificates in a row cannot be renewed")
        job = _moved(services, job, alias, following or DONE, job.looked_at + len(page))
    return job


def _failing(services: Services, job: Replacement, alias: str, error: CertRelayError) -> Replacement:
    """Record that a vault fails. After a day without success it is skipped, and counts as refused in the progress."""
    now = services.now()
    since = time_of({**job.failing_since}, alias)
    if since is None:
        return save(services, replace(job, failing_since={**job.failing_since, alias: now.isoformat()}))
    if now <= since + LONGEST_WAIT:
        return job
    row = {"PartitionKey": job.id, "RowKey": f"{alias}|", "name": "", "operation": "", "detail": str(error)}
    services.storage.replacements.upsert(row | {"state": "refused"})
    return _moved(services, job, alias, DONE, job.looked_at)


def _moved(services: Services, job: Replacement, alias: str, cursor: str, looked_at: int) -> Replacement:
    failing = {vault: since for vault, since in job.failing_since.items() if vault != alias}
    moved = replace(job, cursor={**job.cursor, alias: cursor}, failing_since=failing, looked_at=looked_at)
    return save(services, moved)


def _listed(criteria: Criteria, item: CertificateItem) -> bool:
    """Whether a managed, enabled certificate meets the criteria that the list can tell: authority and name."""
    authority = authority_of(item.tags)
    meets = criteria.authority in (None, authority)
    return bool(authority) and meets and item.enabled and name_allowed(criteria.names, item.name)


def matches(services: Services, alias: str, name: str, criteria: Criteria) -> bool:
    """Whether the certificate meets the criteria that the list cannot tell; it is read only if there are any.

    Only what a criterion needs is read. Raises Invalid if that cannot be read, NotReady."""
    if not (criteria.issuer or criteria.serial_numbers or criteria.key_type or criteria.issued_before):
        return True
    bundle = services.vault(alias).get(name)
    if bundle is None or not bundle.get("cer"):
        return False
    try:
        with panics_as_errors():
            return _meets(x509.load_der_x509_certificate(base64.b64decode(bundle["cer"])), criteria)
    except Exception as error:  # a parser on bytes from elsewhere
        text = "cannot be read, so whether it has to be replaced is not known; look at it, and renew it by hand"
        raise Invalid(f"the certificate of {name} {text}", "UnreadableCertificate") from error


def _meets(certificate: x509.Certificate, criteria: Criteria) -> bool:
    serials, before = _numbers(criteria.serial_numbers), criteria.issued_before
    if serials and certificate.serial_number not in serials:
        return False
    if before is not None and certificate.not_valid_before_utc >= before:
        return False
    if criteria.issuer and comparable(certificate.issuer.rfc4514_string()) != comparable(criteria.issuer):
        return False
    return criteria.key_type in (None, _kind_of(certificate) if criteria.key_type else None)


def _kind_of(certificate: x509.Certificate) -> str:
    return "RSA" if isinstance(certificate.public_key(), rsa.RSAPublicKey) else "EC"


@lru_cache(maxsize=8)
def _numbers(serial_numbers: tuple[str, ...]) -> frozenset[int]:
    """The serial numbers, parsed once: there may be thousands, and they are needed for each certificate."""
    return frozenset(serial_number(text) for text in serial_numbers)


def _begun(services: Services, job: Replacement, alias: str, items: list[CertificateItem]) -> set[str]:
    """The names, in lower case, of those on a page of the list that have a row: one request."""
    keys = [f"{alias}|{item.name.lower()}" for item in items]
    rows = services.storage.replacements.named(job.id, keys, ["RowKey"])
    return {row["RowKey"].partition("|")[2] for row in rows}


def _renew(services: Services, job: Replacement, alias: str, name: str, waits_since: str = "") -> bool:
    """Renew the certificate if it matches, and save its row. Returns False if the vault was not ready.

    Then, or while another operation is open, the row waits for a later run, so that the other certificates need not."""
    waiting = {"state": "waiting", "since": waits_since or services.now().isoformat()}
    keys = {"PartitionKey": job.id, "RowKey": f"{alias}|{name.lower()}"}
    row: Row = {**keys, "name": name, "operation": "", "detail": ""}
    table = services.storage.replacements
    try:
        if not matches(services, alias, name, job.criteria):
            table.delete(job.id, row["RowKey"])
            return True
        why = f"replacement {job.id}"
        who, named = job.requested_by, job.requested_by_name
        origin = Origin(requested_by=who, requested_by_name=named, reason=why, idempotency_key=why)
        operation = renew.renew(services, alias, name, origin)
        table.upsert(row | {"state": "inProgress", "operation": operation.id})
        return True
    except StorageNotReady:
        raise
    except NotReady as error:
        table.upsert(row | waiting | {"detail": str(error)})
        return False
    except NameBusy as error:
        table.upsert(row | waiting | {"detail": str(error)})
        return True
    except CertRelayError as error:
        with about(replacement=job.id, vault=alias, certificate=name):
            log.error("the certificate cannot be renewed: %s", error)
        table.upsert(row | {"state": "refused", "detail": str(error)})
        return True
    except Exception as error:  # a bug that one certificate triggers must not stop the others
        with about(replacement=job.id, vault=alias, certificate=name):
            log.exception("the certificate could not be renewed")
        table.upsert(row | {"state": "refused", "detail": type(error).__name__})
        return True


def _retry_waiting(services: Services, job: Replacement, until: datetime) -> None:
    """Retry the certificates whose vault was not ready, or that were busy; after a day they count as refused."""
    table = services.storage.replacements
    for row in list(table.query("PartitionKey eq @id and state eq 'waiting'", id=job.id)):
        since = time_of(row, "since") or services.now()
        if job.state == "canceled" or services.now() > since + LONGEST_WAIT:
            table.upsert({key: row[key] for key in row if key != ETAG} | {"state": "refused"})
        elif services.now() < until:
            alias, _, lower_name = row["RowKey"].partition("|")
            _renew(services, job, alias, str(row.get("name") or lower_name), since.isoformat())


def _record_ends(services: Services, job: Replacement, until: datetime) -> None:
    """Copy the final states of ended operations into the rows; settle the replacement when no row is left open."""
    table, left = services.storage.replacements, 0
    rows = list(table.query(OPEN, ["PartitionKey", "RowKey", "operation", "state"], id=job.id))
    open_ids = {entry.id for entry in services.storage.worklist()} if rows else set()
    for row in rows:
        operation = str(row.get("operation", ""))
        is_open = row["state"] == "waiting" or operation in open_ids or services.now() >= until
        state = None if is_open else _final_state(services, operation)
        if state is None:
            left += 1
        else:
            table.merge({"PartitionKey": job.id, "RowKey": row["RowKey"], "state": state.value})
    if job.state in ("started", "canceled") and not left:
        save(services, replace(find(services, job.id), state="settled"))


def _final_state(services: Services, operation: str) -> State | None:
    """How the operation ended; None if it has not. One whose row, or whose id, somebody has deleted has failed. Raises
    NotReady."""
    where = split_operation_id(operation)
    if where is None:
        return State.FAILED
    ended = services.storage.ended_with(*where, operation)
    if ended is not None:
        return ended.state
    try:
        current = services.storage.open(*where)
    except StorageNotReady:
        raise
    except NotReady:  # its row cannot be read, and is left out of the worklist
        return None
    return None if current is not None and current.id == operation else State.FAILED
