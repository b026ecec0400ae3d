"""The directory that a sandbox has to itself."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sandbox.processes import ProcessError


def clear(directory: Path) -> None:
    """The storage and the authority forget everything when they stop, so the vault and the clock begin anew too."""
    for name in ("env", "env.new", "clock", "ca.pem", "sign-in.json"):
        (directory / name).unlink(missing_ok=True)
    for name in ("logs", "vault"):
        shutil.rmtree(directory / name, ignore_errors=True)


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file all at once, by default for its owner only. Whoever is killed, or has no room, leaves what was."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode)
    temporary.write_bytes(content)
    temporary.replace(path)


@contextlib.contextmanager
def only_one_in(directory: Path) -> Iterator[None]:
    """Hold the directory. Raises ProcessError when another sandbox runs in it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ProcessError(f"a sandbox runs in {directory} already; give another --directory") from None
        yield
