"""Queue and timer: deliver what people are told; count everything once a day."""

import json
import logging

import azure.functions as func

from handlers import services
from lifecycle import alarms, notifications

blueprint = func.Blueprint()
log = logging.getLogger("certrelay.notifications")


@blueprint.queue_trigger(arg_name="msg", queue_name="notifications", connection="AzureWebJobsStorage")
def deliver_notification(msg: func.QueueMessage) -> None:
    message = json.loads(msg.get_body())
    if not isinstance(message, dict):
        raise ValueError("not a notification")
    notifications.deliver(services(), message)


@blueprint.timer_trigger(arg_name="timer", schedule="%CERTRELAY_DIGEST_SCHEDULE%")
def daily_digest(timer: func.TimerRequest) -> None:
    log.info("digest: %s", alarms.digest(services()))
