"""Queue: advance the operation that a wake-up names. Poison queue: fail an operation whose wake-ups always crashed."""

import azure.functions as func

from certrelay.operations import reconcile, wake_up
from certrelay.watch import poison
from handlers import services


def advance_operation(msg: func.QueueMessage) -> None:
    """Advance the operation; an exception makes the host try again, five times in all."""
    body = msg.get_body()
    try:
        vault, name, operation = wake_up.parse(body)
        if vault in services().settings.vaults:
            reconcile.advance(services(), vault, name, operation)
    except Exception as error:
        poison.remember_failure(services(), "signing", body, error)
        raise


def fail_operation(msg: func.QueueMessage) -> None:
    """Put the message into the list of poison messages, and fail its operation if its row counts crashes, too."""
    poison.take(services(), "signing", msg.get_body(), str(msg.id))
