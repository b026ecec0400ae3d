"""Queue and timers: deliver notifications, send the daily digest, publish CRLs."""

import json

import azure.functions as func

from certrelay.log import logger
from certrelay.notifications import deliver
from certrelay.watch import poison, timers
from handlers import services

log = logger("notifications")


def deliver_notification(msg: func.QueueMessage) -> None:
    """Deliver one queued event; an exception makes the host try again."""
    body = msg.get_body()
    try:
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("not a notification")
        deliver.deliver(services(), message)
    except Exception as error:
        poison.remember_failure(services(), "notifications", body, error)
        raise


def publish_revocation_lists(timer: func.TimerRequest) -> None:
    """Publish the CRLs of the authorities that issue their own."""
    published = timers.publish_crls(services())
    if published:
        log.info("published CRLs of: %s", ", ".join(published))


def daily_digest(timer: func.TimerRequest) -> None:
    """Send the daily digest."""
    log.info("digest: %s", timers.digest(services()))
