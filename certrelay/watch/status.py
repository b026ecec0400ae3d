"""How the service stands: its timers, operations, certificates and incidents. Reads tables only, never a vault."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certrelay.schedules import late_at
from certrelay.services import Services
from certrelay.storage.ledger import OpenOperation
from certrelay.storage.operation import State
from certrelay.storage.rows import Row
from certrelay.storage.watch import incident_key, time_of, told_of

RUNS = {"poll": "POLL", "sweep": "SWEEP", "digest": "DIGEST", "crl": "SWEEP"}


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of a timer (`poll`, `sweep`, `digest`, `crl`) or the last `event`. Times are UTC; None: never.

    `ok`: None if it never ran. `detail`: its numbers, what came of the event, or the kind of its error.
    `late`: past its schedule, by the margin of certrelay.schedules.late_at."""

    name: str
    schedule: str | None
    begun_at: datetime | None
    ended_at: datetime | None
    succeeded_at: datetime | None
    ok: bool | None
    detail: Any
    late: bool


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """How an authority stands. Times are UTC.

    `open`: its open operations. `issued_at`: when it issued last; None: never. `down_since`: since when operations fail
    because of it and it has issued nothing, told or not; None if that is not so. `detail`: the last error then."""

    name: str
    open: int
    issued_at: datetime | None
    down_since: datetime | None
    detail: str


@dataclass(frozen=True, slots=True)
class Status:
    """`operations`: numbers of open, failing, waiting (for an authority) and crowded ones. `certificates`: by authority
    ("" for none) and state, as the last sweep saw them. `endpoints`: numbers of certificates by the state of their
    endpoint, and `not_deployed`: those whose endpoint does not serve the newest version (`vault/name`, the first
    hundred), at the last sweep. `incidents`: what people were told and is not over."""

    now: datetime
    runs: list[Run]
    operations: dict[str, int]
    authorities: list[AuthorityState]
    certificates: list[tuple[str, str, int]]
    endpoints: dict[str, int]
    not_deployed: list[str]
    incidents: list[dict[str, str]]
    poison_messages: int


def read(services: Services) -> Status:
    """Read it: three requests to the tables, and one more for each thousand open operations. Raises NotReady."""
    rows, now, worklist = services.storage.watch.all(), services.now(), list(services.storage.worklist())
    runs = [_run(services, name, rows["run"].get(name, {})) for name in (*RUNS, "event")]
    sweep = next(run.detail for run in runs if run.name == "sweep")
    swept = sweep if isinstance(sweep, dict) else {}
    incidents = rows["incident"]
    return Status(
        now, runs, _operations(services, worklist), _authorities(services, rows, worklist),
        [(str(a), str(s), int(n)) for a, s, n in swept.get("certificates", [])],
        dict(swept.get("endpoints", {})), list(swept.get("not_deployed", [])),
        [_incident(key, incidents[key]) for key in sorted(told_of(incidents))], len(rows["poison"]),
    )  # fmt: skip


def _operations(services: Services, worklist: list[OpenOperation]) -> dict[str, int]:
    counted = dict.fromkeys(("open", "failing", "waiting", "crowded"), 0)
    failing = services.storage.failing()
    counted["crowded"] = sum(operation.code == "Crowded" for operation in failing)
    counted["failing"] = len(failing) - counted["crowded"]
    counted["open"] = len(worklist)
    counted["waiting"] = sum(entry.state == State.SUBMITTED for entry in worklist)
    return counted


def _authorities(
    services: Services, rows: dict[str, dict[str, Row]], worklist: list[OpenOperation]
) -> list[AuthorityState]:
    opened, found = Counter(entry.authority for entry in worklist), []
    for name in services.settings.authorities:
        down, issued = rows["incident"].get(incident_key("authority-down", name), {}), rows["answered"].get(name)
        times = time_of(issued, "at"), time_of(down, "since")
        found.append(AuthorityState(name, opened[name], *times, str(down.get("detail", ""))))
    return found


def _run(services: Services, name: str, row: Row) -> Run:
    schedule = services.settings.schedules[f"CERTRELAY_{RUNS[name]}_SCHEDULE"] if name in RUNS else None
    last = time_of(row, "succeeded_at") or time_of(row, "expected_since")
    late = late_at(schedule, last) if schedule and last else None
    ended = time_of(row, "ended_at") or time_of(row, "at")
    ok = {"true": True, "false": False}.get(str(row.get("ok")))
    return Run(
        name, schedule, time_of(row, "begun_at"), ended, time_of(row, "succeeded_at"), ok, _detail(row),
        late is not None and services.now() >= late,
    )  # fmt: skip


def _detail(row: Row) -> Any:
    text = row.get("detail") or ""
    try:
        return json.loads(text)
    except ValueError:
        return text or None


def _incident(key: str, row: Row) -> dict[str, str]:
    kind, _, subject = key.partition("|")
    return {"event": kind, "subject": subject} | {
        name: str(row.get(name, "")) for name in ("since", "detail", "next_step")
    }
