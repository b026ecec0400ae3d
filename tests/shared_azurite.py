"""One Azurite for all workers of a run: the first that needs it starts it, and ends it when no other uses it."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.azurite import Azurite
from sandbox.ports import accepts_connections


@contextlib.contextmanager
def azurite_for(factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Without workers, and where files cannot be locked, one of the session's own."""
    server = Azurite(factory.mktemp("azurite"))
    if "PYTEST_XDIST_WORKER" in os.environ and os.name == "posix":
        with shared(server, factory.getbasetemp().parent) as one:
            yield one
    else:
        with server:
            yield server


@contextlib.contextmanager
def shared(server: Azurite, folder: Path) -> Iterator[Azurite]:
    """`server`, or the one that another process keeps in `folder`. Who uses it holds a lock, which its death ends."""
    import fcntl

    kept = folder / "azurite.json"
    with (folder / "azurite.use").open("a") as use, contextlib.ExitStack() as stack:
        with (folder / "azurite.start").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(use, fcntl.LOCK_SH)  # waits while one is ended
            ports = json.loads(kept.read_text()) if kept.exists() else []
            is_other = bool(ports) and all(map(accepts_connections, ports))
            if not is_other:
                stack.enter_context(server)
                kept.write_text(json.dumps([*server.ports.values()]))
        yield Azurite(server.directory, tuple(ports)) if is_other else server
        if not is_other:
            fcntl.flock(use, fcntl.LOCK_EX)  # waits for the other processes
            kept.unlink()
            stack.close()
