"""Replace everything: renew all certificates that match, at the pace of the rates, with progress to read.

For the day a CA announces a mass revocation. A replacement is a row; the poll timer goes through the vaults page by
page and remembers where it stopped, so that a cut costs nothing. Each certificate that was started is a row as well:
whatever is repeated, none is renewed twice for one replacement.
"""

import base64
import json
import logging
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from lifecycle import renewal
from lifecycle.errors import CertRelayError, Conflict, Fault, Invalid, NotFound, NotReady
from lifecycle.model import AUTHORITY_TAG, split_operation_id
from lifecycle.rules import name_allowed
from lifecycle.services import Services
from lifecycle.storage import ETAG, Row, Stale
from lifecycle.vault import CertificateItem

BUDGET = timedelta(seconds=60)
JOBS = "replacements"

log = logging.getLogger("certrelay.replacements")


@dataclass(frozen=True, slots=True)
class Criteria:
    """All that are given must hold. `names` are patterns over the certificate's names in Key Vault, serials hex."""

    vaults: tuple[str, ...] = ()
    authority: str | None = None
    names: tuple[str, ...] = ()
    issuer: str | None = None
    serial_numbers: tuple[str, ...] = ()
    key_type: str | None = None
    issued_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """`cursor` is the vault and the last certificate that were looked at. `state` is running, started or canceled."""

    id: str
    criteria: Criteria
    requested_by: str
    requested_at: datetime
    state: str = "running"
    cursor: tuple[str, str] = ("", "")
    looked_at: int = 0
    etag: str = ""


def start(services: Services, criteria: Criteria, requested_by: str, idempotency_key: str | None = None) -> Replacement:
    """Begin; the same key finds the same one. Raises Invalid for criteria that match everything or nothing known."""
    _check(services, criteria)
    identifier = uuid.uuid5(uuid.NAMESPACE_URL, idempotency_key).hex if idempotency_key else uuid.uuid4().hex
    made = Replacement(identifier, criteria, requested_by, services.now())
    if services.storage.replacements.insert(_to_row(made)) is None:
        return find(services, identifier)
    return find(services, identifier)


def find(services: Services, identifier: str) -> Replacement:
    """Raises NotFound."""
    row = services.storage.replacements.get(JOBS, identifier) if re.fullmatch("[0-9a-f]{32}", identifier) else None
    if row is None:
        raise NotFound(f"there is no replacement {identifier!r}", "NoSuchReplacement")
    return _from_row(row)


def cancel(services: Services, identifier: str) -> Replacement:
    """Start no further renewals; those that were started go on. Raises NotFound, NotReady."""
    for _ in range(5):
        found = find(services, identifier)
        if found.state != "running":
            return found
        try:
            return _save(services, replace(found, state="canceled"))
        except Stale:
            continue
    raise NotReady("the replacement is being worked on; ask again", 1)


def progress(services: Services, identifier: str) -> dict[str, int]:
    """How many were matched, and how many of these are inProgress, completed, failed, canceled or refused."""
    find(services, identifier)
    counted = Counter(
        str(row["state"]) for row in services.storage.replacements.query("PartitionKey eq @id", id=identifier)
    )
    return {"matched": counted.total(), **counted}


def advance_all(services: Services) -> None:
    """The poll timer's part: go on with what is running, for a minute at most, and note how its operations ended."""
    until = services.now() + BUDGET
    for row in services.storage.replacements.query("PartitionKey eq @jobs", jobs=JOBS):
        try:
            found = _from_row(row)
            if found.state == "running":
                _go_on(services, found, until)
            if found.state != "settled":
                _note_ends(services, found)
        except (Stale, NotReady) as error:
            log.warning("replacement %s goes on later: %s", row["RowKey"], error)


def _go_on(services: Services, job: Replacement, until: datetime) -> None:
    for alias, page in _pages(services, job):
        for item in page:
            if _listed(job.criteria, item) and _matches(services, alias, item, job.criteria):
                _renew(services, job, alias, item.name)
        job = _save(services, replace(job, cursor=(alias, page[-1].name), looked_at=job.looked_at + len(page)))
        if services.now() >= until:
            return
    _save(services, replace(job, state="started"))


def _pages(services: Services, job: Replacement) -> Iterator[tuple[str, list[CertificateItem]]]:
    done_vault, done_name = job.cursor
    for alias in sorted(job.criteria.vaults or services.settings.vaults):
        if alias < done_vault:
            continue
        for page in services.vault(alias).certificates():
            left = [item for item in page if alias > done_vault or item.name.lower() > done_name.lower()]
            if left:
                yield alias, left


def _listed(criteria: Criteria, item: CertificateItem) -> bool:
    authority = item.tags.get(AUTHORITY_TAG)
    wanted = criteria.authority is None or criteria.authority == authority
    return bool(authority) and wanted and item.enabled and name_allowed(criteria.names, item.name)


def _matches(services: Services, alias: str, item: CertificateItem, criteria: Criteria) -> bool:
    """What the list does not tell, read in the certificate; only if it is asked for."""
    if not (criteria.issuer or criteria.serial_numbers or criteria.key_type or criteria.issued_before):
        return True
    bundle = services.vault(alias).get(item.name)
    if bundle is None or not bundle.get("cer"):
        return False
    certificate = x509.load_der_x509_certificate(base64.b64decode(bundle["cer"]))
    serials = {serial.lower().replace(":", "").lstrip("0") for serial in criteria.serial_numbers}
    kind = "RSA" if isinstance(certificate.public_key(), rsa.RSAPublicKey) else "EC"
    before = criteria.issued_before
    return (
        (not criteria.issuer or certificate.issuer.rfc4514_string().lower() == criteria.issuer.lower())
        and (not serials or f"{certificate.serial_number:x}" in serials)
        and criteria.key_type in (None, kind)
        and (before is None or certificate.not_valid_before_utc < before)
    )


def _renew(services: Services, job: Replacement, alias: str, name: str) -> None:
    keys = {"PartitionKey": job.id, "RowKey": f"{alias}|{name.lower()}"}
    if services.storage.replacements.get(**{"partition": job.id, "key": keys["RowKey"]}):
        return
    try:
        operation = renewal.renew(
            services, alias, name, requested_by=job.requested_by, reason=f"replacement {job.id}", only_if_due=False
        )
    except NotReady:
        raise
    except (Conflict, CertRelayError) as error:
        log.error("replacement %s: %s/%s cannot be renewed: %s", job.id, alias, name, error)
        services.storage.replacements.upsert(keys | {"state": "refused", "detail": str(error), "operation": ""})
        return
    services.storage.replacements.upsert(keys | {"state": "inProgress", "operation": operation.id, "detail": ""})


def _note_ends(services: Services, job: Replacement) -> None:
    open_ones = {one.id for one in services.storage.worklist()}
    table, left = services.storage.replacements, 0
    for row in list(table.query("PartitionKey eq @id and state eq 'inProgress'", id=job.id)):
        where = split_operation_id(str(row["operation"]))
        if row["operation"] in open_ones or where is None:
            left += 1
            continue
        ended = next((one for one in services.storage.ended(*where) if one.id == row["operation"]), None)
        if ended is not None:
            table.upsert({key: row[key] for key in row if key != ETAG} | {"state": ended.state.value})
    if job.state in ("started", "canceled") and not left:
        _save(services, replace(find(services, job.id), state="settled"))


def _check(services: Services, criteria: Criteria) -> None:
    faults = [
        Fault("/vaults", f"there is no vault {one!r}") for one in criteria.vaults if one not in services.settings.vaults
    ]
    if criteria.authority is not None and criteria.authority not in services.settings.authorities:
        faults.append(Fault("/authority", f"there is no authority {criteria.authority!r}"))
    if criteria == Criteria(vaults=criteria.vaults):
        faults.append(
            Fault("", "say what to replace: authority, names, issuer, serial_numbers, key_type or issued_before")
        )
    if criteria.key_type not in (None, "RSA", "EC"):
        faults.append(Fault("/key_type", "must be RSA or EC"))
    if faults:
        raise Invalid(faults)


def _save(services: Services, job: Replacement) -> Replacement:
    return replace(job, etag=services.storage.replacements.replace(_to_row(job), job.etag))


def _to_row(job: Replacement) -> Row:
    written: dict[str, Any] = asdict(job.criteria)
    before = job.criteria.issued_before
    written["issued_before"] = before.isoformat() if before else None
    return {
        "PartitionKey": JOBS,
        "RowKey": job.id,
        "criteria": json.dumps(written),
        "requested_by": job.requested_by,
        "requested_at": job.requested_at.isoformat(),
        "state": job.state,
        "cursor": json.dumps(job.cursor),
        "looked_at": job.looked_at,
    }


def _from_row(row: Mapping[str, Any]) -> Replacement:
    written = json.loads(row["criteria"])
    written |= {key: tuple(written[key]) for key in ("vaults", "names", "serial_numbers")}
    before = written["issued_before"]
    written["issued_before"] = datetime.fromisoformat(before) if before else None
    vault, name = json.loads(row["cursor"])
    asked_at = datetime.fromisoformat(row["requested_at"])
    return Replacement(
        row["RowKey"], Criteria(**written), row["requested_by"], asked_at, row["state"], (vault, name),
        int(row["looked_at"]), row[ETAG],
    )  # fmt: skip
