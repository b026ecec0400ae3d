"""Child processes that end with their parent, however that ends."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Never, Self

GRACE = 5.0
KILLED_GRACE = 60.0  # a busy machine takes its time to bury a process that is killed
POLL = 0.02

# Reads "+PID" and "-PID" lines; when its input ends, the parent is gone: it kills what is still on the list.
WATCHDOG = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
# A child enters itself in the watchdog's list, which is its standard input, before it becomes the command: the parent
# may end or be interrupted before it knows the child. Until then the child keeps the watchdog's input open.
ENTERED = ["/bin/sh", "-c", 'echo "+$$" >&0 && exec "$@" </dev/null', "sh"]


class ProcessError(RuntimeError):
    """A child ended, or was not ready in time. The message ends with the tail of its log."""


def end_process(code: int) -> Never:
    """End this process, which has cleaned up after itself: Python would take its modules apart, for as long as a third
    of its start has taken."""
    logging.shutdown()  # writes what its handlers keep
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def exit_on_signals() -> None:
    """From now on SIGTERM and SIGHUP raise SystemExit in the main thread, so that `with` blocks clean up.

    SIGINT raises KeyboardInterrupt, even where a shell that started this in the background has it ignored.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave)


class Child:
    """A running child, leader of its own process group, with standard output and error in the file `log`.

    `watchdog` is the input of the watchdog that the child enters itself with, where there is one.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        cwd: Path,
        env: Mapping[str, str],
        watchdog: IO[bytes] | None,
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*(ENTERED if watchdog else []), *map(str, command)],
                stdin=watchdog or subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout: float = 120) -> None:
        """Until `ready()` is true. Raises ProcessError when the child ends first or `timeout` seconds have passed."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.is_running():
                raise self.error(f"ended with code {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self.error(f"was not ready within {timeout:g} s")
            time.sleep(POLL)

    def error(self, what: str) -> ProcessError:
        lines = self.log.read_text(errors="replace").splitlines()
        tail = "\n".join(f"    {line[:500]}" for line in lines[-20:]) or "    (it wrote nothing)"
        return ProcessError(f"{self.name} {what}. Its log, {self.log}, ends:\n{tail}")

    def signal_group(self, number: int) -> None:
        """Send a signal to the child and all that it started. Nothing happens when they are gone."""
        if os.name != "posix":
            self._process.terminate()
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            return

    def wait(self, timeout: float) -> bool:
        """Whether the child has ended within `timeout` seconds."""
        try:
            self._process.wait(max(timeout, 0))
        except subprocess.TimeoutExpired:
            return False
        return True


class Processes:
    """Context manager that owns children. On leaving, it ends them all, the last first: TERM, then KILL.

    Where the parent is killed itself (SIGKILL), a watchdog process kills the children and what they started. A signal
    at the death of the parent (PR_SET_PDEATHSIG) would be simpler, but is Linux's alone, reaches no grandchildren and
    strikes when the *thread* that started the child ends.
    """

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs.absolute()
        self._children: list[Child] = []
        self._watchdog: subprocess.Popen[bytes] | None = None

    def start(
        self, name: str, command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start a command; `env` is its whole environment (default: the parent's). Its log is `LOGS/NAME.log`."""
        environment = os.environ if env is None else env
        if shutil.which(command[0], path=environment.get("PATH")) is None:
            raise ProcessError(f"{name} cannot be started: there is no program {command[0]}")
        log = self._logs / f"{name}.log"
        try:
            child = Child(name, command, log, cwd or Path.cwd(), environment, self._watchdogs_input())
        except OSError as error:
            raise ProcessError(f"{name} cannot be started: {error}") from error
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raises ProcessError when a child has ended."""
        for child in self._children:
            if not child.is_running():
                raise child.error("ended unexpectedly")

    def terminate(self) -> None:
        """Ask all children to end, and wait for none: that is for `stop`."""
        for child in reversed(self._children):
            child.signal_group(signal.SIGTERM)

    def stop(self) -> None:
        """End all children. May be called again."""
        try:
            self.terminate()
            deadline = time.monotonic() + GRACE
            for child in reversed(self._children):
                child.wait(deadline - time.monotonic())
        finally:
            self._kill()

    def _kill(self) -> None:
        while self._children:
            child = self._children[-1]
            if os.name == "posix":
                child.signal_group(signal.SIGKILL)
            child.wait(KILLED_GRACE)
            self._children.pop()
            if self._watchdog and self._watchdog.stdin:
                self._watchdog.stdin.write(f"-{child.pid}\n".encode())
        if self._watchdog is not None:
            self._watchdog.communicate()  # it kills who was interrupted while it was started, and ends
            self._watchdog = None

    def _watchdogs_input(self) -> IO[bytes] | None:
        """Starts the watchdog, if there is none yet. None where there are no process groups."""
        if os.name == "posix" and self._watchdog is None:
            self._watchdog = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", WATCHDOG], stdin=subprocess.PIPE, start_new_session=True, bufsize=0
            )
        return self._watchdog.stdin if self._watchdog else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
