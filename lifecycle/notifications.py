"""Telling people: CloudEvents to webhooks of the settings, by way of a queue.

What cannot be told never fails or repeats a renewal: the queue delivers, tries again for a day, and gives up. The
event's id is the same on every repeat. Addresses come from the settings only.
"""

import base64
import hashlib
import hmac
import html
import json
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from certrelay.errors import NotReady
from certrelay.services import Services
from certrelay.settings import Target, signing_key
from certrelay.storage.operation import Operation, State

CONNECT_SECONDS, READ_SECONDS = 5, 15
RETRIED = (408, 425, 429)
FIRST_DELAY, LONGEST_DELAY, MAX_TRIES = 60, 3600, 29  # seconds; about a day in all
EVENTS = {State.COMPLETED: "completed", State.FAILED: "failed"}

log = logging.getLogger("certrelay.notifications")

# The address of a Teams or Slack webhook is its password, and urllib3 writes it at DEBUG.
_delivering: ContextVar[bool] = ContextVar("delivering", default=False)
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: not _delivering.get())

type Event = dict[str, Any]


def operation_ended(services: Services, operation: Operation) -> bool:
    """Tell how an operation ended; of canceled ones nobody needs to be told. Whether all is queued that has to be."""
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
    return tell(services, kind, subject, data, f"{operation.id}.{kind}", operation.ended_at or services.now())


def operation_waits(services: Services, operation: Operation, awaits: str) -> None:
    """Tell people what the order waits for. A look that is repeated after a crash has the same event id."""
    data = {"operation": operation.id, "authority": operation.request.authority, "awaits": awaits,
            "deadline": operation.deadline.isoformat()}  # fmt: skip
    looked_at = operation.next_attempt_at
    event_id = f"{operation.id}.waiting.{int(looked_at.timestamp())}"
    log.warning("operation %s waits for people: %s", operation.id, awaits)
    tell(services, "waiting", f"{operation.vault}/{operation.name}", data, event_id, services.now())


def tell(services: Services, kind: str, subject: str, data: Mapping[str, Any], event_id: str, at: datetime) -> bool:
    """Queue one CloudEvent (1.0) for every target that wants its kind; whether all are queued. Does not raise when
    storage is down."""
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
                log.error("nobody is told that %s is %s: the queue cannot be reached", subject, kind)
                queued = False
    return queued


def deliver(services: Services, message: Mapping[str, Any]) -> None:
    """Post one queued event to its target; what it cannot take now goes back into the queue, for a day.

    Raises ValueError for no event, NotReady."""
    target = services.settings.notifications.get(str(message.get("target")))
    event = message.get("event")
    if message.get("v") != 1 or not isinstance(event, dict):
        raise ValueError("not a notification of version 1")
    if target is None:
        log.warning("a notification for a target that is no longer configured is dropped")
        return
    body, headers = _FORMATS[target.kind](target, event, int(services.now().timestamp()))
    status = _post(target.url.get_secret_value(), body, headers)
    if status >= 500 or status in RETRIED or status == 0:
        _try_later(services, message)
    elif status >= 300:
        log.error("target %s refuses notifications with status %d", message["target"], status)


def _try_later(services: Services, message: Mapping[str, Any]) -> None:
    """After a minute, then two, four …, then each hour."""
    before = message.get("tries")
    tries = before + 1 if isinstance(before, int) else 1
    if tries > MAX_TRIES:
        subject = str(message["event"].get("subject"))
        log.error("target %s was never told of %s: it takes nothing for a day", message["target"], subject)
        return
    delay = min(FIRST_DELAY * 2 ** (tries - 1), LONGEST_DELAY)
    services.storage.notifications.send(json.dumps({**message, "tries": tries}), delay)


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    import requests

    token = _delivering.set(True)
    try:
        answer = requests.post(
            url, body, headers=headers, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, stream=True
        )
    except requests.RequestException as error:
        log.warning("a notification was not delivered (%s)", type(error).__name__)
        return 0
    finally:
        _delivering.reset(token)
    answer.close()
    return answer.status_code


def _webhook(target: Target, event: Event, now: int) -> tuple[bytes, dict[str, str]]:
    """Structured CloudEvents, signed after https://www.standardwebhooks.com (HMAC-SHA256 of id, time and body). What
    separates these three, a full stop, must not be in the id."""
    body = json.dumps(event).encode()
    identifier = str(event["id"]).replace(".", ":")
    headers = {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": identifier,
        "webhook-timestamp": str(now),
    }
    if target.secret is not None:
        signed = b".".join((identifier.encode(), str(now).encode(), body))
        digest = hmac.digest(signing_key(target.secret), signed, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return body, headers


def _slack(target: Target, event: Event, now: int) -> tuple[bytes, dict[str, str]]:
    """Escaped, so that the words of an authority make no link and call nobody:
    https://api.slack.com/reference/surfaces/formatting#escaping."""
    text = html.escape(sentence(event), quote=False)
    return json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}


def _teams(target: Target, event: Event, now: int) -> tuple[bytes, dict[str, str]]:
    """An adaptive card, as the Teams workflow "when a webhook request is received" takes it."""
    text = {"type": "TextBlock", "text": sentence(event), "wrap": True}
    card = {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4"}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card | {"body": [text]}}
    return json.dumps({"type": "message", "attachments": [attachment]}).encode(), {"Content-Type": "application/json"}


_FORMATS: dict[str, Callable[[Target, Event, int], tuple[bytes, dict[str, str]]]] = {
    "webhook": _webhook,
    "slack": _slack,
    "teams": _teams,
}


def sentence(event: Event) -> str:
    """The event for people."""
    data, subject = event["data"], event["subject"]
    match str(event["type"]).rsplit(".", 1)[-1]:
        case "completed":
            issuer = data.get("authority") or "Key Vault"
            return f"{subject}: a new version is in Key Vault ({data.get('kind')}, {issuer})."
        case "failed":
            return (
                f"{subject}: {data.get('kind')} failed: {(data.get('error') or {}).get('message', 'no reason given')}"
            )
        case "waiting":
            return f"{subject} waits for people, until {data.get('deadline')}: {data.get('awaits')}."
        case "expiring":
            return f"{subject} expires on {data.get('expires')} and has not been renewed. {data.get('why', '')}".strip()
        case "expired":
            return f"{subject} EXPIRED on {data.get('expires')}. {data.get('why', '')}".strip()
        case _:
            counted = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in data.items())
            return f"CertRelay today: {counted}."
