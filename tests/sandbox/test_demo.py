"""The demo tells the whole story with exit code 0, or says what went otherwise with exit code 1."""

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from sandbox.azurite import install
from sandbox.demo import make_pfx
from sandbox.ports import accepts_connections, free_ports
from sandbox.up import PORTS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "sandbox.demo"]
# The same with another folder for its logs: other demos may be running meanwhile.
ELSEWHERE = """
import sys
from pathlib import Path
from sandbox import demo
demo.DEFAULT_DIRECTORY = Path(sys.argv.pop(1))
sys.exit(demo.main())
"""


def with_ports() -> tuple[list[str], list[int]]:
    ports = free_ports(len(PORTS))
    return [f"--{name}-port={port}" for name, port in zip(PORTS, ports, strict=True)], ports


def command_in(directory: Path) -> list[str]:
    return [sys.executable, "-c", ELSEWHERE, str(directory)]


@pytest.fixture(scope="module")
def told() -> tuple[subprocess.CompletedProcess[str], list[int], float]:
    """One demo from beginning to end, its ports, and the seconds that it took."""
    install()  # npm's time is not the demo's
    options, ports = with_ports()
    start = time.monotonic()
    told = subprocess.run([*COMMAND, *options], cwd=ROOT, capture_output=True, text=True, timeout=3000, check=False)
    return told, ports, time.monotonic() - start


type Told = tuple[subprocess.CompletedProcess[str], list[int], float]


def test_all_of_the_story_happens(told: Told) -> None:
    assert told[0].returncode == 0, told[0].stdout + told[0].stderr
    assert told[0].stderr == ""
    assert "All of it happened" in told[0].stdout


def test_it_shows_the_certificate(told: Told) -> None:
    text = told[0].stdout
    for shown in (
        "www.contoso.example, shop.contoso.example",
        "Contoso Issuing CA",
        "Contoso Root CA",
        "verified up to the authority's root",
        "the private key that matches",
        "team=web",
    ):
        assert shown in text
    assert re.search(r"thumbprint +[0-9a-f]{64}\n", text)
    validity = re.search(r"validity +(\S+ \S+) to (\S+ \S+) UTC", text)
    assert validity
    first, last = (datetime.strptime(moment, "%Y-%m-%d %H:%M").replace(tzinfo=UTC) for moment in validity.groups())
    assert 89 <= (last - first).days <= 91


def test_it_watches_every_state_and_the_refusal(told: Told) -> None:
    for state in ("requested", "pending", "issued", "completed"):
        assert re.search(rf"\d s  {state}\b", told[0].stdout)
    assert "www.fabrikam.example not allowed by this role" in told[0].stdout


def test_it_ends_with_a_table_of_the_calls(told: Told) -> None:
    lines = told[0].stdout.split("Key Vault calls\n")[1].splitlines()
    rows = [re.split(r"  +", line) for line in lines[1:5]]
    assert [row[1] for row in rows] == ["merged", "imported", "second version", "refused"]
    assert all(1 <= int(row[3]) <= 20 for row in rows)


def test_it_takes_at_most_half_a_minute_or_five_on_a_slow_machine(told: Told) -> None:
    assert told[2] < 300


def test_nothing_is_left(told: Told) -> None:
    assert not any(map(accepts_connections, told[1]))


def test_a_failure_is_told_with_the_reason_and_the_logs_are_kept(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        failed = subprocess.run(
            [*command_in(tmp_path), "--ca-port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == f"dev.py demo: failed: in use already on 127.0.0.1: port {port}"
    [kept] = tmp_path.iterdir()
    assert f"The logs are in {kept / 'logs'}" in failed.stderr


def test_where_a_part_dies_its_last_words_are_the_reason(tmp_path: Path) -> None:
    options, ports = with_ports()
    port = ports[PORTS.index("app")]
    with subprocess.Popen(
        [*command_in(tmp_path), *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 300
        while not accepts_connections(port):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        subprocess.run(["pkill", "-KILL", "-P", str(process.pid), "-f", "sandbox.host"], check=True)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert b"dev.py demo: failed: host ended" in errors
    assert b"host.log, ends:" in errors
    assert not any(map(accepts_connections, ports))


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_on_a_terminal_it_shows_a_spinner_and_ctrl_c_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    options, ports = with_ports()
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    command = [*command_in(tmp_path), *options]
    begun = "✓ Start Azurite".encode()  # from now on two servers run, and a third one starts
    with subprocess.Popen(command, cwd=ROOT, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that nobody writes to the terminal any more
            while part := os.read(master, 65536):
                before, shown = begun in shown, shown + part
                if not before and begun in shown:
                    assert any(map(accepts_connections, ports))
                    process.send_signal(signal.SIGINT)  # once: a second one would interrupt the end
    os.close(master)
    assert process.returncode == 130
    assert "⠋ Start the vault and the identity endpoint" in shown.decode()
    assert b"Traceback" not in shown
    assert b"failed" not in shown
    assert not any(map(accepts_connections, ports))
    assert list(tmp_path.iterdir()) == []


def test_the_pfx_to_import_opens_with_its_password_only() -> None:
    leaf, pfx, password = make_pfx("legacy.contoso.example", datetime.now(UTC))
    key, found, _ = pkcs12.load_key_and_certificates(pfx, password.encode())
    assert found == leaf
    assert key is not None
    with pytest.raises(ValueError, match="password"):
        pkcs12.load_key_and_certificates(pfx, b"another")
