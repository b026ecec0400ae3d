"""The host as a whole: worker, HTTP, listeners."""

import asyncio
import contextlib
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from sandbox.host.clock import ProcessClock
from sandbox.host.configuration import Configuration, Keys
from sandbox.host.http import HttpHost
from sandbox.host.invocations import Invocations
from sandbox.host.queues import QueueListener
from sandbox.host.sign_in import SignIn
from sandbox.host.timers import TimerListener
from sandbox.host.worker import IndexingError, Worker

DRAIN_SECONDS = 3.0

log = logging.getLogger("sandbox.host")


class _Server(uvicorn.Server):
    """Signals are the caller's: uvicorn would raise them again after the end, and skip the clean-up."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


@dataclass(frozen=True)
class Options:
    """What is not in host.json. `clock`: a file with the clock's offset; `sign_in`: see `SignIn.read`, None is off."""

    keys: Keys
    clock: Path | None = None
    sign_in: Path | None = None


async def serve(app: Path, sock: socket.socket, options: Options, stop: asyncio.Event) -> None:
    """Run the app in `app` until `stop`. Raises IndexingError, ValueError (host.json, a schedule, the sign-in)."""
    sign_in = SignIn.read(options.sign_in) if options.sign_in else None
    os.environ.update(sign_in.app_settings() if sign_in else {})
    clock = ProcessClock(options.clock) if options.clock else None
    configuration = Configuration.read(app, os.environ)
    worker = Worker()
    await worker.load(app)
    invocations = Invocations(worker, configuration.function_timeout, clock)
    listeners = _listeners(invocations, configuration)
    http = HttpHost(invocations, options.keys, configuration.route_prefix, sign_in)
    config = uvicorn.Config(http.__call__, interface="asgi3",
                            log_config=None, lifespan="off", access_log=False, ws="none",
                            timeout_keep_alive=60)  # fmt: skip
    server = _Server(config)
    jobs = [_kept_running(listener) for listener in listeners] + ([clock.run()] if clock else [])
    tasks = [asyncio.create_task(job) for job in jobs]
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and not stop.is_set():
            raise OSError("the host's HTTP server ended by itself") from serving.exception()
    finally:
        server.should_exit = True
        queues = [one for one in listeners if isinstance(one, QueueListener)]
        await asyncio.gather(*(one.drain(DRAIN_SECONDS) for one in queues))
        for task in (*tasks, waiting):
            task.cancel()
        await asyncio.gather(serving, *tasks, waiting, return_exceptions=True)
        worker.stop()
        if clock:
            clock.stop()


async def _kept_running(listener: QueueListener | TimerListener) -> None:
    """A listener that fails starts again, as the real host restarts it."""
    while True:
        try:
            await listener.run()
        except Exception:
            log.exception("a listener failed; it starts again")
        await asyncio.sleep(1)


def _listeners(invocations: Invocations, configuration: Configuration) -> list[QueueListener | TimerListener]:
    listeners: list[QueueListener | TimerListener] = []
    for function in invocations.worker.functions:
        if function.kind not in ("queuetrigger", "timertrigger"):
            continue
        setting = str(function.trigger.get("connection") or "AzureWebJobsStorage")
        connection = os.environ.get(setting) or os.environ.get(f"AzureWebJobs{setting}")
        if not connection:
            raise IndexingError(f"{function.name}: the application setting {setting} is missing")
        if function.kind == "queuetrigger":
            listeners.append(QueueListener(function, connection, configuration.queues, invocations))
        else:
            listeners.append(TimerListener(function, connection, invocations, _host_id()))
    return listeners


def _host_id() -> str:
    """Hosts with one id are one app: of them only one fires a timer (`AzureFunctionsWebHost__hostid`)."""
    return os.environ.get("AzureFunctionsWebHost__hostid", "sandbox")  # noqa: SIM112 - the host's own name
