"""Ports of 127.0.0.1: free ones, and what listens on them."""

import functools
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from sandbox.processes import ProcessError

# Below the ranges from which Linux (32768), macOS and Windows (49152) take the ports of outgoing connections, so that
# no connection can take a port between its choice and its use.
FIRST_PORT, LAST_PORT = 20_000, 32_000
STRIDE = 7919  # a prime that does not divide their number: so each of them comes once, in no order that shows


def free_ports(count: int) -> list[int]:
    """Different TCP ports on 127.0.0.1 that nothing listens on, and that nobody else was given.

    Servers may take seconds until they listen."""
    ports = list(itertools.islice(filter(_reserve, filter(_is_free, _candidates())), count))
    if len(ports) == count:
        return ports
    raise ProcessError(f"there are no {count} free ports from {FIRST_PORT} to {LAST_PORT}")


def _candidates() -> Iterator[int]:
    """All ports from a random one on. To shuffle them would take longer than to find a free one."""
    span = LAST_PORT - FIRST_PORT
    [first] = random.sample(range(span), 1)
    return (FIRST_PORT + (first + number * STRIDE) % span for number in range(span))


def require_free(ports: Iterable[int]) -> None:
    """Raises ProcessError when something listens on one of these ports: it could pass for the server to be started."""
    taken = [str(port) for port in ports if not _is_free(port)]
    if taken:
        raise ProcessError(f"in use already on 127.0.0.1: port {', '.join(taken)}")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # A server sets this too: a port whose last connections are still closing (TIME_WAIT) is free.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_given: set[int] = set()


def _reserve(port: int) -> bool:
    """Take the port until this process ends. False if it, or another one of this user, has taken it before."""
    if port in _given:
        return False
    if os.name == "posix":
        import fcntl

        try:
            fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
    _given.add(port)
    return True


@functools.cache
def _reservations() -> int:
    """A file of which each process locks the bytes whose numbers are its ports; the locks end with the process."""
    path = Path(tempfile.gettempdir()) / f"certrelay-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def listen(port: int) -> socket.socket:
    """A socket that listens on this port of 127.0.0.1, for an asyncio server. Raises OSError.

    The protocol is named, unlike by `socket.create_server`: only then asyncio sets TCP_NODELAY on what it accepts.
    Without it each answer's last segment waits for a delayed acknowledgement, 40 ms.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def accepts_connections(port: int) -> bool:
    """Whether something listens on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
