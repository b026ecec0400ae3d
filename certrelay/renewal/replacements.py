"""Replacements: renew all certificates that match some criteria, as fast as the rate limits allow, and show progress.

This is for the day on which a CA announces a mass revocation. A replacement is a row, and so is each certificate that
it matched. certrelay.renewal.replacement_run does the work.
"""

import itertools
import json
import re
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from certrelay.access import grants
from certrelay.callers import Role
from certrelay.errors import Conflict, Fault, Invalid, NotFound, NotPermitted, NotReady
from certrelay.log import logger
from certrelay.pki.distinguished_names import comparable
from certrelay.services import Services
from certrelay.storage.ledger import UNREADABLE
from certrelay.storage.rows import ETAG, Row, Stale

JOBS = "replacements"
COLUMN_BYTES = 60_000
MAX_REFUSED = 1000

log = logger("replacements")


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which certificates to replace: those that meet all criteria that are set.

    `names`: patterns (certrelay.pki.patterns) for the certificate's name in Key Vault. `issuer`: a distinguished
    name (RFC 4514). `serial_numbers`: hex. `key_type`: RSA or EC. `issued_before`: with a time zone."""

    vaults: tuple[str, ...] = ()
    authority: str | None = None
    names: tuple[str, ...] = ()
    issuer: str | None = None
    serial_numbers: tuple[str, ...] = ()
    key_type: str | None = None
    issued_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """One replacement, as its row has it.

    `requested_by_name`: what people call `requested_by`, only to be shown; empty if it is not known.
    `state`: running, started (the renewals of all matches were started), canceled, or settled (all of them ended).
    `cursor`: by vault, the path of the next list page to read. `failing_since`: by vault, since when it fails (ISO
    8601). `looked_at`: how many certificates were looked at so far."""

    id: str
    criteria: Criteria
    requested_by: str
    requested_at: datetime
    state: str = "running"
    cursor: Mapping[str, str] = field(default_factory=dict)
    failing_since: Mapping[str, str] = field(default_factory=dict)
    looked_at: int = 0
    etag: str = ""
    requested_by_name: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A certificate that a replacement cannot renew, and why; without a name: a whole vault."""

    vault: str
    name: str
    detail: str


def start(services: Services, criteria: Criteria, requested_by: str, idempotency_key: str | None = None) -> Replacement:
    """Start a replacement, or return the one that was started with the same idempotency key.

    Raises Invalid (no criteria, or impossible ones), NotPermitted (no grant of the caller is for all these vaults),
    Conflict `KeyReused` (the key was used with other criteria), NotReady."""
    _check(services, criteria)
    new = Replacement("", criteria, requested_by, services.now(), requested_by_name=services.caller_name)
    try:
        job = _started(services, replace(new, id=_identifier(idempotency_key)))
    except NotPermitted:  # it is somebody else's key as well, of whose replacement the caller must not know
        job = _started(services, replace(new, id=_identifier(f"{requested_by} {idempotency_key}")))
    if job.criteria != criteria:
        text = "the Idempotency-Key was used for a replacement with other criteria; use a new one"
        raise Conflict(text, "KeyReused")
    return job


def _identifier(idempotency_key: str | None) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, idempotency_key).hex if idempotency_key else uuid.uuid4().hex


def _started(services: Services, job: Replacement) -> Replacement:
    """The replacement with this id, which is `job` if there was none. Raises NotPermitted, NotReady."""
    services.storage.replacements.insert(_to_row(job))
    return find(services, job.id)


def find(services: Services, identifier: str) -> Replacement:
    """The replacement with this id. Raises NotFound, NotPermitted (the caller may not read it)."""
    row = services.storage.replacements.get(JOBS, identifier) if re.fullmatch("[0-9a-f]{32}", identifier) else None
    if row is None:
        raise NotFound(f"there is no replacement {identifier!r}", "NoSuchReplacement")
    job = from_row(row)
    _permit(services, job.criteria, Role.READER)
    return job


def _permit(services: Services, criteria: Criteria, role: Role) -> None:
    """Raise NotPermitted unless the caller has the role for all certificates that may meet the criteria."""
    grants.require_everything(services, role, criteria.vaults, criteria.authority)


def page(
    services: Services, limit: int, after: str | None = None, state: str | None = None
) -> tuple[list[Replacement], str | None]:
    """At most `limit` replacements (in `state`), and the continuation for the next call; None at the end.

    Only those that the caller may read.

    Raises Invalid (the continuation), NotReady."""
    continuations = services.storage.continuations
    _, start = continuations.open_row(JOBS, after, (JOBS,))
    condition, parameters = "PartitionKey eq @jobs", {"jobs": JOBS}
    if state is not None:
        condition, parameters = f"{condition} and state eq @state", parameters | {"state": state}
    rows, following = services.storage.replacements.page(condition, limit, start, **parameters)
    readable = [job for job in _readable(rows) if _may_read(services, job)]
    return readable, continuations.seal_row(JOBS, JOBS, following) if following else None


def _readable(rows: list[Row]) -> Iterator[Replacement]:
    """One that cannot be read is logged and left out."""
    for row in rows:
        try:
            yield from_row(row)
        except NotReady as error:
            keys, kind = (JOBS, row["RowKey"]), type(error.__cause__).__name__
            log.error("the row %s cannot be read (%s): correct or delete it", keys, kind)


def _may_read(services: Services, job: Replacement) -> bool:
    try:
        _permit(services, job.criteria, Role.READER)
    except NotPermitted:
        return False
    return True


def cancel(services: Services, identifier: str) -> Replacement:
    """Cancel a replacement: start no further renewals. Those that were started continue. Raises NotFound, NotReady."""
    for _ in range(5):
        job = find(services, identifier)
        _permit(services, job.criteria, Role.ADMINISTRATOR)
        if job.state not in ("running", "started"):
            return job
        try:
            return save(services, replace(job, state="canceled"))
        except Stale:
            continue
    raise NotReady("the replacement is being updated; try again", 1)


def serial_number(text: str) -> int:
    """Parse a serial number in hex, as tools write it: `04:AB`, `04 ab`, `0x4ab`. Raises ValueError."""
    return int(re.sub(r"[\s:]", "", text), 16)


def progress(services: Services, identifier: str) -> dict[str, int]:
    """The number of certificates that matched (`matched`), and of these by state.

    States: inProgress, completed, failed, canceled, refused (cannot be renewed), or waiting (for a vault that is not
    ready, or for another operation to end). Raises NotFound, NotReady."""
    find(services, identifier)
    rows = services.storage.replacements.query("PartitionKey eq @id", id=identifier)
    counted = Counter(str(row["state"]) for row in rows if "state" in row)
    return {"matched": counted.total(), **counted}


def refused(services: Services, identifier: str) -> list[Refused]:
    """The certificates that this replacement cannot renew, a thousand at most. Raises NotReady."""
    rows = services.storage.replacements.query("PartitionKey eq @id and state eq 'refused'", id=identifier)
    return [
        Refused(str(row["RowKey"]).partition("|")[0], str(row.get("name", "")), str(row.get("detail", "")))
        for row in itertools.islice(rows, MAX_REFUSED)
    ]


def _check(services: Services, criteria: Criteria) -> None:
    """Raise Invalid or NotPermitted. Who may not start it is told what is malformed, and not which vaults exist."""
    malformed = list(_malformed(criteria))
    try:
        _permit(services, criteria, Role.ADMINISTRATOR)
    except NotPermitted:
        if malformed:
            raise Invalid(malformed) from None
        raise
    if faults := [*_unknown(services, criteria), *malformed]:
        raise Invalid(faults)


def _unknown(services: Services, criteria: Criteria) -> Iterator[Fault]:
    for alias in criteria.vaults:
        if alias not in services.settings.vaults:
            yield Fault("/vaults", f"there is no vault {alias!r}")
    if criteria.authority is not None and criteria.authority not in services.settings.authorities:
        yield Fault("/authority", f"there is no authority {criteria.authority!r}")


def _malformed(criteria: Criteria) -> Iterator[Fault]:
    if criteria == Criteria(vaults=criteria.vaults):
        yield Fault("", "needs a criterion: authority, names, issuer, serial_numbers, key_type or issued_before")
    for index, text in enumerate(criteria.serial_numbers):
        try:
            serial_number(text)
        except ValueError:
            yield Fault(f"/serial_numbers/{index}", "must be a serial number in hex")
    try:
        comparable(criteria.issuer or "CN=any")
    except Invalid:
        yield Fault("/issuer", "must be a distinguished name such as CN=R3, O=Let's Encrypt, C=US")
    if criteria.key_type not in (None, "RSA", "EC"):
        yield Fault("/key_type", "must be RSA or EC")


def save(services: Services, job: Replacement) -> Replacement:
    """Write the replacement's row; returns the job with its new ETag. Raises Stale if the row has changed, NotReady."""
    return replace(job, etag=services.storage.replacements.replace(_to_row(job), job.etag))


def _to_row(job: Replacement) -> Row:
    written: dict[str, Any] = asdict(job.criteria)
    before = job.criteria.issued_before
    written["issued_before"] = before.isoformat() if before else None
    packed = zlib.compress(
        json.dumps(written).encode()
    )  # there may be thousands of serial numbers; a column has 64 KiB
    parts = [packed[at : at + COLUMN_BYTES] for at in range(0, len(packed), COLUMN_BYTES)]
    return {
        "PartitionKey": JOBS,
        "RowKey": job.id,
        **{f"criteria_{number:02}": part for number, part in enumerate(parts)},
        "requested_by": job.requested_by,
        "requested_by_name": job.requested_by_name,
        "requested_at": job.requested_at.isoformat(),
        "state": job.state,
        "cursor": json.dumps(job.cursor),
        "failing_since": json.dumps(job.failing_since),
        "looked_at": job.looked_at,
    }


def from_row(row: Row) -> Replacement:
    """The replacement of a row. Raises NotReady if it cannot be read."""
    try:
        return _from_row(row)
    except (*UNREADABLE, zlib.error) as error:
        where = f"PartitionKey {row['PartitionKey']}, RowKey {row['RowKey']}"
        raise NotReady(f"the row in table replacements cannot be read: {where}; correct or delete it") from error


def _from_row(row: Row) -> Replacement:
    packed = b"".join(bytes(row[key]) for key in sorted(row) if key.startswith("criteria_"))
    written = json.loads(zlib.decompress(packed))
    written |= {key: tuple(written[key]) for key in ("vaults", "names", "serial_numbers")}
    before = written["issued_before"]
    written["issued_before"] = datetime.fromisoformat(before) if before else None
    requested_at = datetime.fromisoformat(row["requested_at"])
    cursor, failing_since = (
        {str(vault): str(text) for vault, text in json.loads(row[column]).items()}
        for column in ("cursor", "failing_since")
    )
    return Replacement(
        row["RowKey"], Criteria(**written), row["requested_by"], requested_at, row["state"], cursor, failing_since,
        int(row["looked_at"]), row[ETAG], str(row.get("requested_by_name", "")),
    )  # fmt: skip
