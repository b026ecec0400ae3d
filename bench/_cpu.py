"""CPU of the sandbox's processes. In Azure all but the app's are other people's machines; here they share the cores."""

import os
from collections import defaultdict
from pathlib import Path

PARTS = {
    "sandbox.host": "host and app", "azurite": "Azurite", "sandbox.vault": "vault", "pebble": "pebble",
    "_bare_acme": "bare client",
}  # fmt: skip
TICKS = os.sysconf("SC_CLK_TCK")


def by_part() -> dict[str, float]:
    """CPU (s) that this process's descendants have taken until now, by part; empty where there is no /proc."""
    found: dict[int, tuple[int, float, str]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, status = (path / "cmdline").read_text(), (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        found[int(path.name)] = int(status[1]), (int(status[11]) + int(status[12])) / TICKS, command
    taken: dict[str, float] = defaultdict(float)
    parents = {process: parent for process, (parent, *_) in found.items()}
    for process, (_, seconds, command) in found.items():
        if _descends(process, parents):
            taken[next((part for word, part in PARTS.items() if word in command.lower()), "others")] += seconds
    return taken


def _descends(process: int, parents: dict[int, int]) -> bool:
    while process in parents:
        process = parents[process]
        if process == os.getpid():
            return True
    return False
