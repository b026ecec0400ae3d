"""The queue trigger's polls: a message that an SDK has sent waits for the next one, as in Azure."""

import asyncio
import json
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from sandbox.azurite import Azurite
from sandbox.host.configuration import Configuration, Queues
from sandbox.host.queues import QueueListener, pause
from sandbox.host.worker import Result
from tests.app import PROMPT


class Enough(Exception):
    """The test has seen what it wanted to see."""


def test_the_pause_doubles_up_to_the_longest_and_varies_by_a_fifth() -> None:
    middle = [round(pause(empty, 5, lambda low, high: (low + high) / 2), 1) for empty in range(1, 9)]
    assert middle == [0.2, 0.3, 0.5, 0.9, 1.7, 3.3, 5, 5]
    assert round(pause(3, 5, min), 2) == 0.42
    assert round(pause(3, 5, max), 2) == 0.58
    assert pause(10_000, 5) == 5


def test_a_message_waits_for_the_next_poll_and_then_the_pauses_begin_anew(azurite: Azurite) -> None:
    name = "polled-" + uuid.uuid4().hex[:10]
    queue = QueueClient.from_connection_string(
        azurite.connection_string, name, message_encode_policy=TextBase64EncodePolicy()
    )
    queue.create_queue()
    seen: list[str | float] = []

    async def invoke(function: Any, value: str, metadata: Any) -> Result:
        seen.append(value)
        return Result(True)

    async def sleep(seconds: float) -> None:
        seen.append(round(seconds, 1))
        if len(seen) == 3:
            await asyncio.to_thread(queue.send_message, "sent by an SDK")
        if len(seen) == 5:
            raise Enough

    function: Any = SimpleNamespace(name="polled", trigger={"queueName": name})
    invocations: Any = SimpleNamespace(worker=SimpleNamespace(value=str), invoke=invoke)
    listener = QueueListener(function, azurite.connection_string, Queues(), invocations)
    listener.sleep = sleep
    with pytest.raises(Enough):
        asyncio.run(listener.run())
    assert seen[3] == "sent by an SDK"
    pauses = [one for one in seen if isinstance(one, float)]
    assert pauses == sorted(pauses[:3]) + pauses[3:]
    assert pauses[-1] <= 0.3


def test_an_application_setting_replaces_a_value_of_host_json(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(json.dumps({"extensions": {"queues": {"maxPollingInterval": "00:00:05"}}}))
    assert Configuration.read(tmp_path, {}).queues.max_polling_interval == 5
    assert Configuration.read(tmp_path, PROMPT).queues.max_polling_interval == 0.5
    (tmp_path / "host.json").write_text("{}")
    assert Configuration.read(tmp_path, PROMPT).queues.max_polling_interval == 0.5


def test_a_longer_interval_of_the_real_app_is_in_its_host_json() -> None:
    """What docs/api.md promises: the first step no later than this, and the time of a poll."""
    assert Configuration.read(Path(__file__).parents[3], {}).queues.max_polling_interval == 5
