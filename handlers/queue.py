"""Queue: a wake-up says which operation to advance. Poison queue: what crashed every time is closed as failed."""

import json

import azure.functions as func

from certrelay.log import logger
from certrelay.operations import intervene, reconcile
from certrelay.storage.operation import CERTIFICATE_NAME
from handlers import services

blueprint = func.Blueprint()
log = logger("signing")


def _wake_up(msg: func.QueueMessage) -> tuple[str, str, str]:
    """Vault, name and operation of a message. Raises ValueError when it is not a wake-up of version 1."""
    body = json.loads(msg.get_body())
    if not isinstance(body, dict) or body.get("v") != 1:
        raise ValueError("not a wake-up of version 1")
    vault, name, operation = body.get("vault"), body.get("name"), body.get("operation")
    if not (isinstance(vault, str) and isinstance(name, str) and isinstance(operation, str)):
        raise ValueError("a wake-up names vault, name and operation")
    if not CERTIFICATE_NAME.fullmatch(name):
        raise ValueError("a wake-up names a certificate")
    return vault, name, operation


@blueprint.queue_trigger(arg_name="msg", queue_name="signing", connection="AzureWebJobsStorage")
def advance_operation(msg: func.QueueMessage) -> None:
    vault, name, operation = _wake_up(msg)
    if vault in services().settings.vaults:
        reconcile.advance(services(), vault, name, operation)


@blueprint.queue_trigger(arg_name="msg", queue_name="signing-poison", connection="AzureWebJobsStorage")
def abandon_operation(msg: func.QueueMessage) -> None:
    try:
        vault, name, operation = _wake_up(msg)
    except ValueError as error:
        log.error("dropped the message %s of the poison queue: %s", msg.id, error)
        return
    if vault not in services().settings.vaults or not intervene.fail(services(), vault, name, operation):
        log.error("the message %s came through the poison queue, and its operation needs nothing", msg.id)
