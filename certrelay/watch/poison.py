"""The poison queues: messages that the Functions host gave up after five tries, or that it could not even read.

They are moved into the table `watch`, each with the reason of its last failure, where they stay until an operator puts
them back or drops them. The operation of a wake-up that crashed every time is failed.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from certrelay.errors import CertRelayError, Conflict, NotFound, NotReady
from certrelay.log import about, logger
from certrelay.operations import intervene, wake_up
from certrelay.services import Services
from certrelay.storage.ledger import QUEUES
from certrelay.storage.rows import Row
from certrelay.storage.watch import time_of

BATCH = 32  # messages of one request
LARGEST = 48 * 1024  # bytes; a queue message has no more
OLDEST_ATTEMPT = timedelta(days=8)  # a message lives for a week

log = logger("watch")


@dataclass(frozen=True, slots=True)
class PoisonMessage:
    """One message. `queue`: `signing` or `notifications`. `subject`: which operation or event, if that can be read.

    `reason`: why it failed last. `outcome`: what became of its operation. `at`: when it was taken (UTC)."""

    id: str
    queue: str
    subject: str
    reason: str
    outcome: str
    at: datetime


def remember_failure(services: Services, queue: str, body: bytes, error: Exception) -> None:
    """Remember why a message failed, for when it ends in the poison queue. Best effort; does not raise.

    Only the text of expected errors is kept: that of others may contain secrets."""
    reason = str(error) if isinstance(error, CertRelayError) else type(error).__name__
    with suppress(NotReady):
        columns = {"reason": reason[:1000], "at": services.now().isoformat()}
        services.storage.watch.merge("attempt", _key(queue, body), columns)


def take(services: Services, queue: str, body: bytes | None, identifier: str = "") -> None:
    """Put a message of a poison queue into the list, and fail the operation of a wake-up. May be repeated. NotReady.

    `body`: None if the message could not be decoded; `identifier`: the message's id."""
    content = body if body is not None else identifier.encode()
    key = _key(queue, content)
    before = services.storage.watch.get("attempt", key) or services.storage.watch.get("poison", key) or {}
    reason = before.get("reason") or ("it is no base64, which the Functions host expects" if body is None else "")
    columns: Row = {"queue": queue, "at": services.now().isoformat(), "subject": _subject(queue, body)}
    columns |= {"body": (body or b"")[:LARGEST], "reason": reason or "unknown: the log has it"}
    services.storage.watch.merge("poison", key, columns)
    if queue == "signing":
        services.storage.watch.merge("poison", key, {"outcome": _fail(services, body)})
    log.error("message %s of the poison queue of %s: %s", key, queue, columns["reason"])
    services.storage.watch.delete("attempt", key)


def drain(services: Services) -> None:
    """Take what no function takes: messages for `notifications`, and those that are no base64. Raises NotReady."""
    for queue in QUEUES:
        for message in services.storage.poison[queue].receive(BATCH):
            take(services, queue, message.body, message.id)
            services.storage.poison[queue].delete(message)


def forget_old_attempts(services: Services, attempts: dict[str, Row]) -> None:
    """Delete the reasons of messages that succeeded later, or are gone. Raises NotReady."""
    for key, row in attempts.items():
        at = time_of(row, "at")
        if at is None or services.now() - at > OLDEST_ATTEMPT:
            services.storage.watch.delete("attempt", key)


def messages(services: Services) -> list[PoisonMessage]:
    """The messages of all poison queues, newest first. Raises NotReady."""
    found = [_message(key, row) for key, row in services.storage.watch.rows("poison").items()]
    return sorted(found, key=lambda message: message.at, reverse=True)


def put_back(services: Services, identifier: str) -> PoisonMessage:
    """Put the message back into its queue. Raises NotFound, Conflict (`Unreadable`, `OperationEnded`), NotReady."""
    row = _row(services, identifier)
    message, body = _message(identifier, row), bytes(row["body"])
    if not _readable(message.queue, body):
        raise Conflict("the message cannot be read, so it would come back; drop it", "Unreadable")
    if message.queue == "signing":
        vault, name, operation = wake_up.parse(body)
        current = services.storage.open(vault, name)
        if current is None or current.id != operation:
            text = f"operation {operation} has ended, and the message would do nothing; drop it, and renew {name} again"
            raise Conflict(text, "OperationEnded")
    services.storage.queue(message.queue).send(body.decode())
    services.storage.watch.delete("poison", identifier)
    log.warning("message %s was put back into the queue %s", identifier, message.queue)
    return message


def drop(services: Services, identifier: str) -> PoisonMessage:
    """Forget the message. Raises NotFound, NotReady."""
    message = _message(identifier, _row(services, identifier))
    services.storage.watch.delete("poison", identifier)
    log.warning("message %s of the poison queue of %s was dropped", identifier, message.queue)
    return message


def _row(services: Services, identifier: str) -> Row:
    is_key = len(identifier) == 32 and identifier.isascii() and identifier.isalnum()
    row = services.storage.watch.get("poison", identifier) if is_key else None
    if row is None:
        raise NotFound(f"there is no message {identifier!r} in the poison queues", "NoSuchMessage")
    return row


def _key(queue: str, body: bytes) -> str:
    return hashlib.sha256(queue.encode() + b"|" + body).hexdigest()[:32]


def _message(key: str, row: Row) -> PoisonMessage:
    queue, subject, reason, outcome = (str(row.get(name) or "") for name in ("queue", "subject", "reason", "outcome"))
    return PoisonMessage(key, queue, subject, reason, outcome, time_of(row, "at") or datetime.fromtimestamp(0, UTC))


def _fail(services: Services, body: bytes | None) -> str:
    """Fail the operation of a wake-up whose row counts crashes, too; what became of it."""
    try:
        vault, name, operation = wake_up.parse(body or b"")
    except ValueError:
        return "the message is no wake-up"
    with about(vault=vault, certificate=name, operation=operation):
        if vault in services.settings.vaults and intervene.fail(services, vault, name, operation):
            return "its operation was failed"
        current = services.storage.open(vault, name)
        ended = current is None or current.id != operation or current.state.ended
        return "its operation has ended" if ended else "its operation is open and goes on"


def _subject(queue: str, body: bytes | None) -> str:
    """What a message is about: an operation's id, or an event's kind and subject. Nothing else of it is shown."""
    try:
        if queue == "signing":
            return wake_up.parse(body or b"").operation[:200]
        event: Any = json.loads(body or b"")["event"]
        return f"{event['type']} of {event['subject']}"[:200] if _readable(queue, body or b"") else ""
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def _readable(queue: str, body: bytes) -> bool:
    try:
        written = wake_up.parse(body) if queue == "signing" else json.loads(body)
    except (ValueError, RecursionError):
        return False
    return queue == "signing" or (isinstance(written, dict) and written.get("v") == 1)
