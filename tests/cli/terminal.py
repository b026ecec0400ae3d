"""The command in a process of its own, on a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping


def arguments(*given: str) -> list[str]:
    return [sys.executable, "-m", "certrelay_cli", *given]


def on_terminal(columns: int, environment: Mapping[str, str], *given: str) -> str:
    """What the command writes on a terminal that is so wide."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {name: value for name, value in environment.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    more = {**kept, "TERM": "xterm", **{name: environment[name] for name in ("NO_COLOR",) if name in environment}}
    with subprocess.Popen(arguments(*given), env=more, stdin=follower, stdout=follower, stderr=follower) as running:
        os.close(follower)
        parts = []
        try:
            while part := os.read(leader, 65536):
                parts.append(part)
        except OSError:  # the other end is closed
            pass
    os.close(leader)
    assert running.returncode == 0
    return b"".join(parts).decode()
