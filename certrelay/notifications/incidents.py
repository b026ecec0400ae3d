"""Incidents: what is wrong with the service itself. People are told once, and once more when it is over.

An incident is a row in the table `watch`. One event stands for all that follows from it: the 500 certificates of one
authority that is down are one message, not 500.
"""

from dataclasses import dataclass
from datetime import timedelta

from certrelay.log import logger
from certrelay.notifications import outbox
from certrelay.services import Services
from certrelay.storage.rows import Row
from certrelay.storage.watch import incident_key, time_of

log = logger("watch")


@dataclass(frozen=True, slots=True)
class Incident:
    """`kind`: an event's, such as `vault-unreadable`. `subject`: which vault, authority, timer or queue.

    `detail`: what is wrong. `next_step`: what to do first; docs/operations.md has the rest. `patience`: how long it
    must last before people are told."""

    kind: str
    subject: str
    detail: str
    next_step: str
    patience: timedelta = timedelta(0)


def report(services: Services, incident: Incident) -> None:
    """Remember the incident, and tell people once it has lasted. What could not be queued is tried again. NotReady."""
    now, key = services.now(), incident_key(incident.kind, incident.subject)
    row = services.storage.watch.get("incident", key)
    columns: Row = {"detail": incident.detail[:1000], "next_step": incident.next_step}
    if row is None:
        begun = columns | {"since": now.isoformat(), "told": ""}
        is_first = services.storage.watch.add("incident", key, begun)
        row = begun if is_first else services.storage.watch.get("incident", key)  # another timer was faster
    since = time_of(row, "since") or now
    if (row or {}).get("told") or (now - since < incident.patience and since <= now):
        return
    log.error("%s %s: %s. %s", incident.kind, incident.subject, incident.detail, incident.next_step)
    data = {"since": since.isoformat(), "detail": incident.detail, "next_step": incident.next_step}
    identifier = f"{incident.kind}.{incident.subject}.{int(since.timestamp())}"
    told = outbox.enqueue(services, incident.kind, incident.subject, data, identifier, now)
    services.storage.watch.merge("incident", key, columns | {"told": now.isoformat() if told else ""})


def over(services: Services, kind: str, subject: str, row: Row) -> None:
    """Forget the incident of this row; if people were told, tell them that it is over. Raises NotReady."""
    now = services.now()
    if row.get("told"):
        since = time_of(row, "since") or now
        log.warning("%s %s is over; it began at %s", kind, subject, since.isoformat(timespec="seconds"))
        data = {"event": kind, "since": since.isoformat(), "until": now.isoformat(), "detail": row.get("detail")}
        identifier = f"recovered.{kind}.{subject}.{int(since.timestamp())}"
        if not outbox.enqueue(services, "recovered", subject, data, identifier, now):
            return
    services.storage.watch.delete("incident", incident_key(kind, subject))
