"""Deliver queued events to their targets, and retry for a day. Target URLs come from the settings only."""

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from certrelay.log import about, logger
from certrelay.notifications import deliveries
from certrelay.notifications.deliveries import Delivery
from certrelay.notifications.formats import FORMATS, Event
from certrelay.services import Services

CONNECT_SECONDS, READ_SECONDS = 5, 15
RETRIED = (408, 425, 429)  # HTTP statuses besides 5xx
FIRST_DELAY, LONGEST_DELAY, MAX_TRIES = 60, 3600, 29  # seconds; about a day in all

log = logger("notifications")

# The URL of a Teams or Slack webhook is its password, and urllib3 logs it at DEBUG.
_delivering: ContextVar[bool] = ContextVar("delivering", default=False)
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: not _delivering.get())


def deliver(services: Services, message: Mapping[str, Any]) -> None:
    """Post one queued event to its target; if the target fails, queue the event again, for a day at most.

    `message`: as certrelay.notifications.outbox queues it. Raises ValueError for any other message, NotReady."""
    target = services.settings.notifications.get(str(message.get("target")))
    event = message.get("event")
    if message.get("v") != 1 or not isinstance(event, dict):
        raise ValueError("not a notification of version 1")
    if target is None:
        log.warning("a notification was dropped: its target is no longer in the settings")
        return
    status = send(services, str(message["target"]), event).status
    if status >= 500 or status in RETRIED or status == 0:
        _try_later(services, message)
    elif status >= 300:
        with about(target=message["target"]):
            log.error("the target refused a notification with status %d", status)


def send(services: Services, name: str, event: Event) -> Delivery:
    """Post an event to the target with this name, once, and remember how that went."""
    target, now = services.settings.notifications[name], services.now()
    body, headers = FORMATS[target.kind](target, event, int(now.timestamp()))
    status = _post(target.url.get_secret_value(), body, headers)
    delivery = Delivery(now, str(event["type"]).rpartition(".")[2], str(event["subject"]), status)
    deliveries.remember(services, name, delivery)
    return delivery


def _try_later(services: Services, message: Mapping[str, Any]) -> None:
    """Queue the message again: after a minute, then two, four …, then every hour."""
    previous = message.get("tries")
    tries = previous + 1 if isinstance(previous, int) else 1
    if tries > MAX_TRIES:
        subject = str(message["event"].get("subject"))
        with about(target=message["target"]):
            log.error("the event of %s was dropped: it could not be delivered within a day", subject)
        return
    delay = min(FIRST_DELAY * 2 ** (tries - 1), LONGEST_DELAY)
    services.storage.notifications.send(json.dumps({**message, "tries": tries}), delay)


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The HTTP status of the response; 0 without a response."""
    import requests

    token = _delivering.set(True)
    try:
        response = requests.post(
            url, body, headers=headers, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, stream=True
        )
    except requests.RequestException as error:
        log.warning("a notification was not delivered (%s)", type(error).__name__)
        return 0
    finally:
        _delivering.reset(token)
    response.close()
    return response.status_code
