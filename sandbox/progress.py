"""What is going on, step by step: alive on a terminal, plain lines anywhere else."""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_SECONDS = 0.1
CLEAR_LINE = "\r\x1b[2K"
GREEN, RED, DIM, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"


class Step:
    """One step under way. `seconds` is its time so far, and stands still when it has ended."""

    def __init__(self, title: str, progress: "Progress") -> None:
        self.title = title
        self.doing = ""
        self.details: list[str] = []
        self._progress = progress
        self._start = time.monotonic()
        self._end: float | None = None

    @property
    def seconds(self) -> float:
        return (time.monotonic() if self._end is None else self._end) - self._start

    def now(self, doing: str) -> None:
        """Say what the step does at this moment; saying the same again changes nothing."""
        if doing != self.doing:
            self.doing = doing
            self._progress.doing(self)

    def detail(self, text: str) -> None:
        """A line to be shown below the step when it has ended."""
        self.details.append(text)

    def end(self) -> None:
        self._end = time.monotonic()


class Progress:
    """Writes steps to a stream (default: standard output). Not for several threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._is_live = self._stream.isatty() and os.environ.get("TERM") != "dumb" and self._can_write(FRAMES + "✓✗")

    def _can_write(self, text: str) -> bool:
        try:
            text.encode(self._stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step that fails when its block raises."""
        step = Step(title, self)
        with self._spinner(step):
            try:
                yield step
            except BaseException:
                step.end()
                raise
            step.end()
        self._finish(step, "✓", "ok", GREEN)

    def doing(self, step: Step) -> None:
        if not self._is_live:
            self.line(f"  {step.doing}")

    def line(self, text: str = "") -> None:
        """A line of text. What the stream cannot encode becomes `?`."""
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()

    @contextlib.contextmanager
    def _spinner(self, step: Step) -> Iterator[None]:
        if not self._is_live:
            self.line(f"> {step.title}")
        ended = threading.Event()
        thread = threading.Thread(target=self._spin, args=(step, ended), daemon=True)
        if self._is_live:
            thread.start()
        try:
            yield
        except BaseException:
            self._stop(thread, ended)
            self._finish(step, "✗", "FAILED", RED)
            raise
        self._stop(thread, ended)

    def _stop(self, thread: threading.Thread, ended: threading.Event) -> None:
        ended.set()
        if self._is_live:
            thread.join()

    def _spin(self, step: Step, ended: threading.Event) -> None:
        number = 0
        while not ended.is_set():
            doing = f" - {step.doing}" if step.doing else ""
            text = f"{FRAMES[number % len(FRAMES)]} {step.title}{doing} {step.seconds:.1f} s"
            self._stream.write(CLEAR_LINE + text[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
            number += 1
            ended.wait(FRAME_SECONDS)

    def _finish(self, step: Step, sign: str, word: str, colour: str) -> None:
        if self._is_live:
            paint, dim, plain = ("", "", "") if os.environ.get("NO_COLOR") else (colour, DIM, PLAIN)
            self.line(f"{CLEAR_LINE}{paint}{sign}{plain} {step.title} {dim}{step.seconds:.1f} s{plain}")
        else:
            self.line(f"  {word}, {step.seconds:.1f} s")
        for detail in step.details:
            self.line(f"    {detail}")


def table(rows: list[list[str]]) -> list[str]:
    """The lines of a table; the first row is its head. Columns of numbers stand to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    is_number = [all(row[column].replace(".", "", 1).isdigit() for row in rows[1:]) for column in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        cells = zip(row, widths, is_number, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()

    return [line(rows[0]), "  ".join("-" * width for width in widths), *map(line, rows[1:])]
