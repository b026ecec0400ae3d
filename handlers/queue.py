"""Queue: advance the operation that a wake-up names. Poison queue: fail an operation whose wake-ups always crashed."""

import json

import azure.functions as func

from certrelay.log import logger
from certrelay.operations import intervene, reconcile
from certrelay.storage.operation import CERTIFICATE_NAME
from handlers import services

blueprint = func.Blueprint()
log = logger("signing")


def _wake_up(msg: func.QueueMessage) -> tuple[str, str, str]:
    """The vault alias, certificate name and operation id of a wake-up. Raises ValueError for any other message."""
    try:
        body = json.loads(msg.get_body())
    except RecursionError:
        raise ValueError("the message is nested too deeply") from None
    if not isinstance(body, dict) or body.get("v") != 1:
        raise ValueError("not a wake-up of version 1")
    vault, name, operation = body.get("vault"), body.get("name"), body.get("operation")
    if not (isinstance(vault, str) and isinstance(name, str) and isinstance(operation, str)):
        raise ValueError("the wake-up lacks vault, name or operation")
    if not CERTIFICATE_NAME.fullmatch(name):
        raise ValueError("the wake-up has an invalid certificate name")
    return vault, name, operation


@blueprint.queue_trigger(arg_name="msg", queue_name="signing", connection="AzureWebJobsStorage")
def advance_operation(msg: func.QueueMessage) -> None:
    """Advance the operation; an exception makes the host try again, five times in all."""
    vault, name, operation = _wake_up(msg)
    if vault in services().settings.vaults:
        reconcile.advance(services(), vault, name, operation)


@blueprint.queue_trigger(arg_name="msg", queue_name="signing-poison", connection="AzureWebJobsStorage")
def fail_operation(msg: func.QueueMessage) -> None:
    """Fail the operation, if its row counts crashes, too."""
    try:
        vault, name, operation = _wake_up(msg)
    except ValueError as error:
        log.error("dropped message %s of the poison queue: %s", msg.id, error)
        return
    if vault not in services().settings.vaults or not intervene.fail(services(), vault, name, operation):
        log.error("dropped message %s of the poison queue: its operation is not open, or has not crashed", msg.id)
