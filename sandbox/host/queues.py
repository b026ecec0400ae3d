"""The queue trigger's listener.

Behaviour after Azure/azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.Storage.Queues: QueueListener.cs (batches,
polling, renewal of the lease at half of its life), QueueProcessor.cs (delete on success, visibility after a failure,
poison queue), and RandomizedExponentialBackoffStrategy.cs in Azure/azure-webjobs-sdk.
"""

import asyncio
import base64
import binascii
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import LinearRetry, QueueClient, QueueMessage, QueueServiceClient

from certrelay.pooled import transport
from sandbox.host.configuration import Queues
from sandbox.host.invocations import Invocations
from sandbox.host.worker import Function

SHORTEST_PAUSE = 0.1
POISON_SUFFIX = "-poison"

log = logging.getLogger("sandbox.host")


class QueueListener:
    """Listens for one function until it is canceled."""

    def __init__(self, function: Function, connection: str, settings: Queues, invocations: Invocations) -> None:
        self._function, self._settings, self._invocations = function, settings, invocations
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep  # until the next poll
        retry = LinearRetry(backoff=1, retry_total=2)
        options: Any = {"retry_policy": retry, "transport": transport(5, 20)}
        service = QueueServiceClient.from_connection_string(connection, **options)
        name = str(function.trigger["queueName"]).lower()
        self._queue = service.get_queue_client(name)
        self._poison = None if name.endswith(POISON_SUFFIX) else service.get_queue_client(name + POISON_SUFFIX)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll. A message that an SDK has sent waits for the next poll: only output bindings wake the real listener
        (SharedQueueWatcher), and this host has none."""
        empty = 0
        while True:
            found = await self._receive(self._settings.batch_size)
            for message in found:
                task = asyncio.create_task(self._process(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            while len(self._running) > self._settings.new_batch_threshold:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            empty = 0 if found else empty + 1
            if empty:
                await self.sleep(pause(empty, self._settings.max_polling_interval))

    async def _receive(self, count: int) -> list[QueueMessage]:
        def receive() -> list[QueueMessage]:
            lease = int(self._settings.lease)
            pages = self._queue.receive_messages(messages_per_page=count, visibility_timeout=lease, max_messages=count)
            return list(pages)

        try:
            return await asyncio.to_thread(receive)
        except ResourceNotFoundError:
            return []  # the trigger does not create its queue
        except AzureError as error:
            log.warning("queue %s: %s", self._queue.queue_name, type(error).__name__)
            return []

    async def _process(self, message: QueueMessage) -> None:
        limit = self._settings.max_dequeue_count
        count = message.dequeue_count or 1
        text = self._decoded(message)
        # `maxDequeueCount` is not for a poison queue, which has none of its own (fixed upstream in 5.3.8).
        if self._poison is not None and (text is None or count > limit):
            await self._to_poison(message)
            return
        renewal = asyncio.create_task(self._renew(message))
        try:
            result = await self._invocations.invoke(
                self._function, self._invocations.worker.value(text or ""), _metadata(message, text or "")
            )
        finally:
            renewal.cancel()
        if result.ok:
            await self._quietly(self._queue.delete_message, message)
        elif count >= limit and self._poison is not None:
            await self._to_poison(message)
        else:
            await self._quietly(
                self._queue.update_message, message, visibility_timeout=int(self._settings.visibility_timeout)
            )

    def _decoded(self, message: QueueMessage) -> str | None:
        if not self._settings.base64:
            return str(message.content)
        try:
            return base64.b64decode(message.content, validate=True).decode()
        except (binascii.Error, ValueError):
            return None

    async def _renew(self, message: QueueMessage) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 2)
            await self._quietly(self._queue.update_message, message, visibility_timeout=int(self._settings.lease))

    async def _to_poison(self, message: QueueMessage) -> None:
        """Copy and delete; not atomic, as in the host. What cannot be copied now comes again after its lease."""
        if self._poison is None:
            return
        log.error("%s: message %s goes to %s", self._function.name, message.id, self._poison.queue_name)
        try:
            await asyncio.to_thread(_copy, self._poison, message)
        except AzureError as error:
            log.warning("%s: message %s was not copied (%s)", self._function.name, message.id, type(error).__name__)
            return
        await self._quietly(self._queue.delete_message, message)

    async def drain(self, seconds: float) -> None:
        """Let what runs finish, and give back what does not."""
        if self._running:
            _, unfinished = await asyncio.wait(self._running, timeout=seconds)
            for task in unfinished:
                task.cancel()

    async def _quietly(self, effect: Any, message: QueueMessage, **options: Any) -> None:
        try:
            answer = await asyncio.to_thread(effect, message, **options)
        except AzureError as error:
            log.warning("%s: message %s: %s", self._function.name, message.id, type(error).__name__)
            return
        if answer is not None:
            message.pop_receipt = answer.pop_receipt


def pause(empty: int, longest: float, spread: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds until the next poll, after `empty` polls in a row that found nothing (1 at least); `longest` at most.

    RandomizedExponentialBackoffStrategy: the shortest pause and, on top, the same doubled each time, ± 20 %."""
    doubled: float = SHORTEST_PAUSE * 2 ** min(empty - 1, 20)
    return min(SHORTEST_PAUSE + doubled * spread(0.8, 1.2), longest)


def _copy(poison: QueueClient, message: QueueMessage) -> None:
    try:
        poison.send_message(message.content)
    except ResourceNotFoundError:
        poison.create_queue()
        poison.send_message(message.content)


def _metadata(message: QueueMessage, text: str) -> dict[str, Any]:
    def written(moment: datetime | None) -> str:
        return moment.isoformat() if moment else ""

    return {
        "QueueTrigger": text,
        "Id": message.id,
        "PopReceipt": message.pop_receipt,
        "DequeueCount": message.dequeue_count,
        "InsertionTime": written(message.inserted_on),
        "ExpirationTime": written(message.expires_on),
        "NextVisibleTime": written(message.next_visible_on),
    }
