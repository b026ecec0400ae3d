"""Queue and timers: deliver notifications, send the daily digest, publish CRLs."""

import json

import azure.functions as func

from certrelay import authorities
from certrelay.log import logger
from certrelay.notifications import deliver
from certrelay.renewal import digest
from handlers import services

blueprint = func.Blueprint()
log = logger("notifications")


@blueprint.queue_trigger(arg_name="msg", queue_name="notifications", connection="AzureWebJobsStorage")
def deliver_notification(msg: func.QueueMessage) -> None:
    """Deliver one queued event; an exception makes the host try again."""
    message = json.loads(msg.get_body())
    if not isinstance(message, dict):
        raise ValueError("not a notification")
    deliver.deliver(services(), message)


@blueprint.timer_trigger(arg_name="timer", schedule="%CERTRELAY_SWEEP_SCHEDULE%")
def publish_revocation_lists(timer: func.TimerRequest) -> None:
    """Publish the CRLs of the authorities that issue their own."""
    published = authorities.publish_crls(services())
    if published:
        log.info("published CRLs of: %s", ", ".join(published))


@blueprint.timer_trigger(arg_name="timer", schedule="%CERTRELAY_DIGEST_SCHEDULE%")
def daily_digest(timer: func.TimerRequest) -> None:
    """Send the daily digest."""
    log.info("digest: %s", digest.send_digest(services()))
