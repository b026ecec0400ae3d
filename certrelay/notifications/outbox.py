"""Events for people, queued for every target in the settings that wants them.

A notification that fails never fails or repeats a renewal. An event's id is the same on every repeat.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from certrelay.errors import NotReady
from certrelay.log import logger
from certrelay.notifications.formats import Event
from certrelay.services import Services
from certrelay.storage.operation import Operation, State

EVENTS = {State.COMPLETED: "completed", State.FAILED: "failed"}

log = logger("notifications")


def operation_ended(services: Services, operation: Operation) -> bool:
    """Queue the event of an operation's end; a canceled one has none. Returns whether all that is needed is queued."""
    kind = EVENTS.get(operation.state)
    if kind is None:
        return True
    failure = operation.failure
    data = {
        "operation": operation.id,
        "kind": operation.kind.value,
        "authority": operation.request.authority,
        "version": operation.version or None,
        "requested_by": operation.requested_by,
        "error": {"code": failure.code, "message": failure.message} if failure else None,
    }
    subject = f"{operation.vault}/{operation.name}"
    return enqueue(services, kind, subject, data, f"{operation.id}.{kind}", operation.ended_at or services.now())


def operation_waits(services: Services, operation: Operation, awaits: str) -> None:
    """Queue the event that an order waits for people. Repeated after a crash, it has the same event id."""
    data = {"operation": operation.id, "authority": operation.request.authority, "awaits": awaits,
            "deadline": operation.deadline.isoformat()}  # fmt: skip
    looked_at = operation.next_attempt_at
    event_id = f"{operation.id}.waiting.{int(looked_at.timestamp())}"
    log.warning("the order waits for people: %s", awaits)
    enqueue(services, "waiting", f"{operation.vault}/{operation.name}", data, event_id, services.now())


def enqueue(services: Services, kind: str, subject: str, data: Mapping[str, Any], event_id: str, at: datetime) -> bool:
    """Queue one CloudEvent (1.0) for every target that wants its kind. Returns whether all are queued; does not raise
    when storage is down."""
    event: Event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "certrelay",
        "type": f"certrelay.certificate.{kind}",
        "subject": subject,
        "time": at.isoformat(),
        "datacontenttype": "application/json",
        "data": {key: value for key, value in data.items() if value is not None},
    }
    queued = True
    for name, target in services.settings.notifications.items():
        if kind in target.events:
            try:
                services.storage.notifications.send(json.dumps({"v": 1, "target": name, "event": event}))
            except NotReady:
                log.error("the event %s of %s is not sent to %s: the queue cannot be reached", kind, subject, name)
                queued = False
    return queued
