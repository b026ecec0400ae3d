"""Connections to Key Vault and to storage are kept for all worker threads."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from certrelay.pooled import CONNECTIONS
from tests.world import ALIAS, World

THREADS = 32  # PYTHON_THREADPOOL_THREAD_COUNT


@pytest.mark.slow
def test_as_many_threads_as_the_worker_has_open_one_connection_each_and_drop_none(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 logs each connection that it opens, and each that it cannot keep."""
    world.vault.get(world.name())  # its token comes over a connection of its own
    start = threading.Barrier(THREADS)

    def ask(_: int) -> None:
        start.wait()
        for _ in range(3):
            world.vault.get(world.name())
            world.services.storage.open(ALIAS, world.name())

    with caplog.at_level(logging.DEBUG, "urllib3.connectionpool"), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))
    messages = [record.getMessage() for record in caplog.records if record.name == "urllib3.connectionpool"]
    assert not [message for message in messages if "is full" in message]
    opened = [message for message in messages if message.startswith("Starting new HTTPS connection")]
    assert len(opened) < THREADS  # one is open already
    assert THREADS <= CONNECTIONS
