"""What all measurements share: contestants in turns, lines with limits, and their table in docs/performance.md."""

import argparse
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table. `limit`: what `value` may be at most, or at least if `least`; None: it is only shown."""

    what: str
    shown: str
    value: float = 0.0
    limit: float | None = None
    least: bool = False

    @property
    def missed(self) -> bool:
        """Whether the limit is missed, which fails the run."""
        if self.limit is None:
            return False
        return self.value < self.limit if self.least else self.value > self.limit

    @property
    def limit_shown(self) -> str:
        """The limit in words."""
        if self.limit is None:
            return ""
        return f"{'≥' if self.least else '≤'} {self.limit:g}{', missed' if self.missed else ''}"


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes (s)."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns[Result](contestants: Mapping[str, Callable[[int], Result]], rounds: int) -> dict[str, list[Result]]:
    """The results of the contestants, which take turns, so that a busy machine is busy for all of them.

    Each is called with the number of the round."""
    results: dict[str, list[Result]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, contestant in contestants.items():
            results[name].append(contestant(number))
    return results


def milliseconds(results: Sequence[float]) -> str:
    """Median and longest of results in seconds."""
    return f"p50 {statistics.median(results) * 1000:.0f} ms, longest {max(results) * 1000:.0f} ms"


def ratio(
    what: str, results: Sequence[float], floor: Sequence[float], limit: float | None = None, *, least: bool = False
) -> Line:
    """The line with the ratio of two medians; `limit` and `least` as in Line."""
    value = statistics.median(results) / statistics.median(floor)
    return Line(what, f"{value:.2f} times", value, limit, least)


def arguments(name: str, about: str | None, **numbers: int) -> argparse.Namespace:
    """The command line of a measurement: whole numbers with their defaults, and `--write`."""
    parser = argparse.ArgumentParser(prog=f"dev.py bench {name}", description=about)
    for option, default in numbers.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    return parser.parse_args()


def conclude(name: str, given: argparse.Namespace, lines: Sequence[Line], *peers: str) -> int:
    """Print the table; with `--write`, put it into the page. The exit code: 1 if a limit is missed.

    `peers`: distributions whose versions belong to the result."""
    width = max(len(line.what) for line in lines)
    for line in lines:
        print(f"{line.what:{width}}  {line.shown:>24}  {line.limit_shown}".rstrip())
    if given.write:
        sizes = ", ".join(f"{key} {value}" for key, value in vars(given).items() if key != "write")
        PAGE.write_text(_replaced(PAGE.read_text(), name, _section(lines, f"{sizes}. {_conditions(peers)}")))
    return int(any(line.missed for line in lines))


def _conditions(peers: Sequence[str]) -> str:
    cores, load = os.cpu_count(), os.getloadavg()[0]
    versions = ", ".join(f"{peer} {version(peer)}" for peer in peers)
    python = f"Python {platform.python_version()}{', ' if versions else ''}{versions}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {cores} cores, load {load:.1f}, {python}."


def _section(lines: Sequence[Line], conditions: str) -> str:
    rows = "\n".join(f"| {line.what} | {line.shown} | {line.limit_shown} |" for line in lines)
    return f"| what | measured | limit |\n|---|---|---|\n{rows}\n\n{conditions}\n"


def _replaced(page: str, name: str, section: str) -> str:
    begin, end = f"<!-- bench {name} -->\n", "<!-- end -->"
    if begin not in page:
        raise SystemExit(f"docs/performance.md has no place for it: it needs the lines {begin.strip()} and {end}")
    written = f"{begin}\n{section}\n{end}"
    return re.sub(re.escape(begin) + ".*?" + end, lambda _: written, page, count=1, flags=re.DOTALL)
