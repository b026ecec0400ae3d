"""The steps of a command, drawn by rich: a spinner on a terminal, plain lines anywhere else."""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from rich.console import Console, RenderableType
from rich.text import Text

WIDE = 200  # columns where there is no terminal: a log folds no line


class Step:
    """One step. `seconds` is how long it has run, or ran if it has ended."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.details: list[str] = []
        self._show = show
        self._doing = ""
        self._start = time.monotonic()
        self._end: float | None = None

    @property
    def seconds(self) -> float:
        return (time.monotonic() if self._end is None else self._end) - self._start

    def now(self, doing: str) -> None:
        """Show what the step does at this moment. Repeating it changes nothing."""
        if doing != self._doing:
            self._doing = doing
            self._show(doing)

    def detail(self, text: str) -> None:
        """Add a line, printed below the step when it ends."""
        self.details.append(text)

    def end(self) -> None:
        """Stop the step's clock."""
        self._end = time.monotonic()


class Progress:
    """Prints steps to a stream (default: standard output), one at a time."""

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the stream cannot encode becomes `?`
        is_terminal = stream.isatty()  # FORCE_COLOR must not put control characters into a log
        width = None if is_terminal else WIDE
        self.console = Console(file=stream, force_terminal=is_terminal, width=width, soft_wrap=True, highlight=False)
        self.is_live = is_terminal and not self.console.is_dumb_terminal and self.console.encoding.startswith("utf")

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Run the block as one step, which fails when the block raises."""
        with contextlib.ExitStack() as spinner:
            if self.is_live:
                status = spinner.enter_context(self.console.status(Text(title)))
                step = Step(lambda doing: status.update(Text(f"{title} - {doing}")))
            else:
                self.line(f"> {title}")
                step = Step(lambda doing: self.line(f"  {doing}"))
            try:
                yield step
            except BaseException:
                spinner.close()
                self._ended(step, title, Text("✗", "red"), "FAILED")
                raise
        self._ended(step, title, Text("✓", "green"), "ok")

    def line(self, text: RenderableType = "") -> None:
        """Print a line, or several: a text (markup in it means nothing) or what rich renders, for example a table."""
        self.console.print(text, markup=False, emoji=False)

    def _ended(self, step: Step, title: str, sign: Text, word: str) -> None:
        step.end()
        seconds = f"{step.seconds:.1f} s"
        self.line(Text.assemble(sign, f" {title} ", (seconds, "dim")) if self.is_live else f"  {word}, {seconds}")
        for detail in step.details:
            self.line(f"    {detail}")
