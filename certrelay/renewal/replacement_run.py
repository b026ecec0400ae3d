"""The work of a replacement (certrelay.renewal.replacements).

The poll timer goes through the vaults page by page and remembers where it stopped, so that a cut costs nothing. Each
certificate that was started is a row: whatever is repeated, none is renewed twice for one replacement.
"""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from certrelay.errors import CertRelayError, Invalid, NameBusy, NotReady, StorageNotReady
from certrelay.keyvault.client import CERTIFICATES, CertificateItem, item_of
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.operations.submit import Origin
from certrelay.pki.distinguished_names import comparable
from certrelay.renewal import renew
from certrelay.renewal.replacements import JOBS, Criteria, Replacement, find, from_row, save, serial_number
from certrelay.rules import name_allowed
from certrelay.services import Services
from certrelay.storage.operation import split_operation_id
from certrelay.storage.tables import ETAG, Row, Stale

BUDGET = timedelta(seconds=60)
LONGEST_WAIT = timedelta(days=1)
AHEAD = timedelta(hours=1)
DONE = "~"  # no page is left
PATIENCE = 3  # certificates in a row that a vault was not ready for, until it is left to the next run

log = logger("replacements")


def advance_all(services: Services) -> None:
    """The poll timer's part: go on with what is running, for a minute at most, and note how its operations ended."""
    until = services.now() + BUDGET
    for row in services.storage.replacements.query("PartitionKey eq @jobs and state ne 'settled'", jobs=JOBS):
        try:
            found = from_row(row)
            if found.state == "running":
                _go_on(services, found, until)
            _take_again(services, found, until)
            _note_ends(services, found, until)
        except (Stale, NotReady) as error:
            with about(replacement=row["RowKey"]):
                log.warning("it goes on later: %s", error)


def _go_on(services: Services, job: Replacement, until: datetime) -> None:
    vaults = sorted(job.criteria.vaults or services.settings.vaults)
    for alias in vaults:
        try:
            job = _go_through(services, job, alias, until)
        except StorageNotReady:
            raise
        except CertRelayError as error:  # one vault that cannot be used must not keep the others waiting
            with about(replacement=job.id, vault=alias):
                log.warning("the vault cannot be used now: %s", error)
            job = _left_out(services, find(services, job.id), alias, error)
        if job.state != "running":  # it was canceled meanwhile
            return
    if all(job.cursor.get(alias) == DONE for alias in vaults):
        save(services, replace(job, state="started"))


def _go_through(services: Services, job: Replacement, alias: str, until: datetime) -> Replacement:
    """The job after all pages of a vault that are left, or after those for which there was time and the rates had room:
    only so far ahead, so that what expires meanwhile need not queue behind the whole replacement."""
    while (path := job.cursor.get(alias, CERTIFICATES)) != DONE and services.now() < until:
        try:
            page, following = services.vault(alias).page(path)
        except Invalid:  # Key Vault knows the place in its list no more: what was started from it is known
            return _moved(services, job, alias, CERTIFICATES, job.looked_at)
        trouble = 0
        for item in map(item_of, page):
            if _listed(job.criteria, item) and _known(services, job, alias, item.name) is None:
                if renew.booked(services, alias, authority_of(item.tags) or "", AHEAD):
                    return _moved(services, job, alias, path, job.looked_at) if alias in job.failing_since else job
                trouble = 0 if _take(services, job, alias, item.name) else trouble + 1
            if trouble >= PATIENCE:
                raise NotReady(f"{PATIENCE} certificates in a row cannot be renewed")
        job = _moved(services, job, alias, following or DONE, job.looked_at + len(page))
    return job


def _left_out(services: Services, job: Replacement, alias: str, error: CertRelayError) -> Replacement:
    """A vault that cannot be used for a day on end is given up, and the progress says so."""
    now = services.now()
    since = job.failing_since.get(alias)
    if since is None:
        return save(services, replace(job, failing_since={**job.failing_since, alias: now.isoformat()}))
    if now <= datetime.fromisoformat(since) + LONGEST_WAIT:
        return job
    row = {"PartitionKey": job.id, "RowKey": f"{alias}|", "name": "", "operation": "", "detail": str(error)}
    services.storage.replacements.upsert(row | {"state": "refused"})
    return _moved(services, job, alias, DONE, job.looked_at)


def _moved(services: Services, job: Replacement, alias: str, cursor: str, looked_at: int) -> Replacement:
    failing = {one: since for one, since in job.failing_since.items() if one != alias}
    moved = replace(job, cursor={**job.cursor, alias: cursor}, failing_since=failing, looked_at=looked_at)
    return save(services, moved)


def _listed(criteria: Criteria, item: CertificateItem) -> bool:
    authority = authority_of(item.tags)
    wanted = criteria.authority is None or criteria.authority == authority
    return bool(authority) and wanted and item.enabled and name_allowed(criteria.names, item.name)


def matches(services: Services, alias: str, name: str, criteria: Criteria) -> bool:
    """What the list does not tell, read in the certificate; only if it is asked for."""
    if not (criteria.issuer or criteria.serial_numbers or criteria.key_type or criteria.issued_before):
        return True
    bundle = services.vault(alias).get(name)
    if bundle is None or not bundle.get("cer"):
        return False
    certificate = x509.load_der_x509_certificate(base64.b64decode(bundle["cer"]))
    serials = _numbers(criteria.serial_numbers)
    kind = "RSA" if isinstance(certificate.public_key(), rsa.RSAPublicKey) else "EC"
    before = criteria.issued_before
    return (
        (not criteria.issuer or comparable(certificate.issuer.rfc4514_string()) == comparable(criteria.issuer))
        and (not serials or certificate.serial_number in serials)
        and criteria.key_type in (None, kind)
        and (before is None or certificate.not_valid_before_utc < before)
    )


@lru_cache(maxsize=8)
def _numbers(serial_numbers: tuple[str, ...]) -> frozenset[int]:
    """Thousands are read once, not for each certificate again."""
    return frozenset(serial_number(text) for text in serial_numbers)


def _known(services: Services, job: Replacement, alias: str, name: str) -> Row | None:
    return services.storage.replacements.get(job.id, f"{alias}|{name.lower()}")


def _take(services: Services, job: Replacement, alias: str, name: str, waits_since: str = "") -> bool:
    """Renew the certificate if it matches, and note it; False when the vault was not ready for it. That, or that the
    name is busy, is noted as well, so that one certificate does not keep the others waiting."""
    waiting = {"state": "waiting", "since": waits_since or services.now().isoformat()}
    keys = {"PartitionKey": job.id, "RowKey": f"{alias}|{name.lower()}"}
    row: Row = {**keys, "name": name, "operation": "", "detail": ""}
    table = services.storage.replacements
    try:
        if not matches(services, alias, name, job.criteria):
            table.delete(job.id, row["RowKey"])
            return True
        why = f"replacement {job.id}"
        origin = Origin(requested_by=job.requested_by, reason=why, idempotency_key=why)
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
            log.error("it cannot be renewed: %s", error)
        table.upsert(row | {"state": "refused", "detail": str(error)})
        return True
    except Exception as error:  # a bug that one certificate brings to light shall not stop the others
        with about(replacement=job.id, vault=alias, certificate=name):
            log.exception("it could not be renewed")
        table.upsert(row | {"state": "refused", "detail": type(error).__name__})
        return True


def _take_again(services: Services, job: Replacement, until: datetime) -> None:
    """What a vault was not ready for, or what is busy; given up after a day."""
    table = services.storage.replacements
    for row in list(table.query("PartitionKey eq @id and state eq 'waiting'", id=job.id)):
        since = str(row["since"])
        if job.state == "canceled" or services.now() > datetime.fromisoformat(since) + LONGEST_WAIT:
            table.upsert({key: row[key] for key in row if key != ETAG} | {"state": "refused"})
        elif services.now() < until:
            _take(services, job, row["RowKey"].split("|")[0], row["name"], since)


def _note_ends(services: Services, job: Replacement, until: datetime) -> None:
    open_ones = {one.id for one in services.storage.worklist()}
    table, left = services.storage.replacements, 0
    for row in list(table.query("PartitionKey eq @id", id=job.id)):
        where = split_operation_id(str(row["operation"]))
        if row["state"] == "waiting":
            left += 1
        elif row["state"] != "inProgress":
            continue
        elif row["operation"] in open_ones or where is None or services.now() >= until:
            left += 1
        else:
            ended = next((one for one in services.storage.ended(*where) if one.id == row["operation"]), None)
            if ended is not None:
                table.upsert({key: row[key] for key in row if key != ETAG} | {"state": ended.state.value})
    if job.state in ("started", "canceled") and not left:
        save(services, replace(find(services, job.id), state="settled"))
