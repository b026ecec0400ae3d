"""Queue and timers: deliver what people are told; once a day count everything; publish CRLs."""

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
    message = json.loads(msg.get_body())
    if not isinstance(message, dict):
        raise ValueError("not a notification")
    deliver.deliver(services(), message)


@blueprint.timer_trigger(arg_name="timer", schedule="%CERTRELAY_SWEEP_SCHEDULE%")
def publish_revocation_lists(timer: func.TimerRequest) -> None:
    published = authorities.publish_crls(services())
    if published:
        log.info("a fresh CRL of: %s", ", ".join(published))


@blueprint.timer_trigger(arg_name="timer", schedule="%CERTRELAY_DIGEST_SCHEDULE%")
def daily_digest(timer: func.TimerRequest) -> None:
    log.info("digest: %s", digest.send_digest(services()))
