"""Free ports are free, and nobody else's."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import ports as module
from sandbox.ports import accepts_connections, free_ports, listen
from sandbox.processes import ProcessError

ROOT = Path(__file__).parents[2]


def test_what_an_asyncio_server_accepts_there_does_not_wait_for_acknowledgements() -> None:
    options: list[int] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        options.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def ask() -> None:
        [port] = free_ports(1)
        async with await asyncio.start_server(answer, sock=listen(port)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.read()
            writer.close()
            await writer.wait_closed()

    asyncio.run(ask())
    assert [bool(option) for option in options] == [True]


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert not any(map(accepts_connections, ports))


def test_a_port_in_use_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    [taken, free] = free_ports(2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        monkeypatch.setattr("sandbox.ports._candidates", lambda: [taken, free])
        monkeypatch.setattr("sandbox.ports._given", set())
        assert accepts_connections(taken)
        assert free_ports(1) == [free]


def test_a_port_that_was_given_to_somebody_is_given_to_nobody_else_until_he_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing listens there yet."""
    program = "from sandbox.ports import free_ports; print(*free_ports(2), flush=True); input()"
    command, piped = [sys.executable, "-c", program], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=piped, stdout=piped, text=True) as other:
        assert other.stdout is not None
        theirs = [int(port) for port in other.stdout.readline().split()]
        [ours] = free_ports(1)
        monkeypatch.setattr("sandbox.ports._candidates", lambda: [*theirs, ours])
        with pytest.raises(ProcessError, match="no 1 free ports"):
            free_ports(1)
        other.communicate("\n")
    assert free_ports(2) == theirs


def test_every_port_of_the_range_may_be_given_and_each_comes_once() -> None:
    assert sorted(module._candidates()) == list(range(module.FIRST_PORT, module.LAST_PORT))


def test_too_many_ports_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.ports._candidates", list)
    with pytest.raises(ProcessError, match="no 3 free ports"):
        free_ports(3)
