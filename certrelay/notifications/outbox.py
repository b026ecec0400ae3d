"""The outbox: queue events for every target in the settings that subscribes to them.

Notification failures never fail or repeat a renewal. An event that is queued again has the same id.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from certrelay.errors import NotReady
from certrelay.log import logger
from certrelay.notifications.formats import Event
from certrelay.services import Services
from certrelay.setting_models import ServiceEvent
from certrelay.storage.operation import Operation, State
from certrelay.storage.watch import incident_key

EVENTS = {State.COMPLETED: "completed", State.FAILED: "failed"}
SERVICE_EVENTS = frozenset((*get_args(ServiceEvent), "test"))

log = logger("notifications")


def operation_ended(services: Services, operation: Operation) -> bool:
    """Queue `completed` or `failed` for an ended operation; a canceled one has no event.

    Returns False if an event could not be queued for all its targets."""
    kind = EVENTS.get(operation.state)
    if operation.state is State.COMPLETED and operation.authority:
        services.storage.watch.note("answered", operation.authority, services.now())
    if kind is None or _is_part_of_an_incident(services, operation):
        return True
    failure = operation.failure
    data = {
        "operation": operation.id,
        "kind": operation.kind.value,
        "authority": operation.authority,
        "fallback": fallback_of(operation),
        "version": operation.version or None,
        "requested_by": operation.requested_by,
        "error": {"code": failure.code, "message": failure.message} if failure else None,
    }
    subject = f"{operation.vault}/{operation.name}"
    return enqueue(services, kind, subject, data, f"{operation.id}.{kind}", operation.ended_at or services.now())


def fallback_of(operation: Operation) -> dict[str, str] | None:
    """Whose fall-back is asked or has signed, since when (UTC) and why; None if it is the request's own authority."""
    found = operation.fallback
    if found is None:
        return None
    return {"of": operation.request.authority or "", "since": found.since.isoformat(), "why": found.why}


def _is_part_of_an_incident(services: Services, operation: Operation) -> bool:
    """Whether the operation ran out of time while people know that its authority is down or its vault unreadable."""
    if operation.failure is None or operation.failure.code != "TimedOut":
        return False
    causes = [("vault-unreadable", operation.vault), ("authority-down", operation.authority or "")]
    try:
        rows = [services.storage.watch.get("incident", incident_key(*cause)) for cause in causes]
    except NotReady:
        return False
    return any(row is not None and row.get("told") for row in rows)


def operation_waits(services: Services, operation: Operation, awaits: str) -> None:
    """Queue `waiting`: the order waits for people, who must do what `awaits` says (one clause)."""
    data = {"operation": operation.id, "authority": operation.authority, "fallback": fallback_of(operation),
            "awaits": awaits, "deadline": operation.deadline.isoformat()}  # fmt: skip
    event_id = f"{operation.id}.waiting.{int(operation.next_attempt_at.timestamp())}"  # the same after a crash
    log.warning("the order waits for a person: %s", awaits)
    enqueue(services, "waiting", f"{operation.vault}/{operation.name}", data, event_id, services.now())


def enqueue(services: Services, kind: str, subject: str, data: Mapping[str, Any], event_id: str, at: datetime) -> bool:
    """Queue one event for every target that subscribes to `kind`.

    Returns whether all were queued; does not raise when storage is down."""
    event = event_of(kind, subject, data, event_id, at)
    queued = True
    for name, target in services.settings.notifications.items():
        if kind in target.events:
            try:
                services.storage.notifications.send(json.dumps({"v": 1, "target": name, "event": event}))
            except NotReady:
                log.error("the event %s of %s was not queued for %s: storage cannot be reached", kind, subject, name)
                queued = False
    return queued


def event_of(kind: str, subject: str, data: Mapping[str, Any], event_id: str, at: datetime) -> Event:
    """A CloudEvent (1.0) of type `certrelay.certificate.KIND`; one of the service itself: `certrelay.service.KIND`."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "certrelay",
        "type": f"certrelay.{'service' if kind in SERVICE_EVENTS else 'certificate'}.{kind}",
        "subject": subject,
        "time": at.isoformat(),
        "datacontenttype": "application/json",
        "data": {key: value for key, value in data.items() if value is not None},
    }
