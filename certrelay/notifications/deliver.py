"""Delivery of queued events to their targets, retried for a day. Addresses come from the settings only."""

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from certrelay.log import about, logger
from certrelay.notifications.formats import FORMATS
from certrelay.services import Services

CONNECT_SECONDS, READ_SECONDS = 5, 15
RETRIED = (408, 425, 429)
FIRST_DELAY, LONGEST_DELAY, MAX_TRIES = 60, 3600, 29  # seconds; about a day in all

log = logger("notifications")

# The address of a Teams or Slack webhook is its password, and urllib3 writes it at DEBUG.
_delivering: ContextVar[bool] = ContextVar("delivering", default=False)
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: not _delivering.get())


def deliver(services: Services, message: Mapping[str, Any]) -> None:
    """Post one queued event to its target; what it cannot take now goes back into the queue, for a day.

    Raises ValueError for no event, NotReady."""
    target = services.settings.notifications.get(str(message.get("target")))
    event = message.get("event")
    if message.get("v") != 1 or not isinstance(event, dict):
        raise ValueError("not a notification of version 1")
    if target is None:
        log.warning("a notification for a target that is not in the settings any more is dropped")
        return
    body, headers = FORMATS[target.kind](target, event, int(services.now().timestamp()))
    status = _post(target.url.get_secret_value(), body, headers)
    if status >= 500 or status in RETRIED or status == 0:
        _try_later(services, message)
    elif status >= 300:
        with about(target=message["target"]):
            log.error("the target refuses notifications with status %d", status)


def _try_later(services: Services, message: Mapping[str, Any]) -> None:
    """After a minute, then two, four …, then each hour."""
    before = message.get("tries")
    tries = before + 1 if isinstance(before, int) else 1
    if tries > MAX_TRIES:
        subject = str(message["event"].get("subject"))
        with about(target=message["target"]):
            log.error("the event of %s was not delivered within a day, and is dropped", subject)
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
