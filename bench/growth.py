"""How the work grows with the number of certificates, and what several hosts on one storage account do to each other.

    python3 dev.py bench growth [--certificates 8000] [--due 200] [--vaults 1] [--hosts 1]

First sweeps in which nothing is due, of an eighth and of all: CPU of the whole process, the sandbox vaults included,
and the most memory that a sweep takes. Then `due` more are due at once. The hosts sweep in turn, one each hour, and
share the messages of the queue, until everything is renewed. The vaults count as Key Vault does.
"""

import gc
import sys
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from bench._fleet import Fleet
from bench._report import Line, arguments, conclude
from certrelay.renewal import sweep
from certrelay.services import Services
from certrelay.storage.operation import State

MOST = 1.5  # of the largest fleet against the smallest, and of the last renewals against the first
BATCH = 500  # CERTRELAY_RENEWAL_BATCH, by default


@dataclass(slots=True)
class Idle:
    """Sweeps of `certificates`, in which nothing is due: the least CPU (s), the most memory (bytes), requests."""

    certificates: int
    cpu: float
    memory: int
    calls: Counter[str]


@dataclass(slots=True)
class Burst:
    """Renewals that were due at once. `started`: by each sweep. `cpu` (s): of the sweep and the queue, in each hour.

    `most_open`: operations at once. `refused`: creations (429) and lost races (409, 412), by service and status.
    `wrong`: certificates that do not have exactly one new version and one ended operation. `orders`: how often the
    authority was asked for a certificate."""

    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    started: list[int] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    most_open: int = 0
    wrong: int = 0
    orders: int = 0


def idle(fleet: Fleet, certificates: int, rounds: int = 3) -> Idle:
    """Sweep `rounds` times, each time when all lists are to be read again, and once more with its memory traced."""
    cpu, calls = [], Counter[str]()
    for _ in range(rounds):
        fleet.wait(7)
        begun = time.process_time()
        calls = fleet.counted(lambda: sweep.sweep(fleet.services))
        cpu.append(time.process_time() - begun)
    fleet.wait(7)
    gc.collect()
    tracemalloc.start()
    try:
        sweep.sweep(fleet.services)
        return Idle(certificates, min(cpu), tracemalloc.get_traced_memory()[1], calls)
    finally:
        tracemalloc.stop()


def burst(fleet: Fleet, due: int) -> Burst:
    """Let `due` certificates of each vault be due at once, and renew them."""
    names, found = fleet.seed(due, "due", timedelta(days=300)), Burst()
    for server in fleet.servers.values():
        server.faults.throttle()
    fleet.wait(7)
    while sum(found.started) < due * len(fleet.aliases):
        host, begun = fleet.hosts[len(found.started) % len(fleet.hosts)], time.process_time()
        found.calls += fleet.counted(partial(_an_hour, fleet, host, found))
        found.refused += fleet.refused
        found.cpu.append(time.process_time() - begun)
    found.wrong = sum(is_wrong(fleet, alias, name) for alias in fleet.aliases for name in names)
    found.orders = sum(fleet.authority.asked.values())
    return found


def _an_hour(fleet: Fleet, host: Services, found: Burst) -> None:
    until = fleet.now() + timedelta(hours=1)
    swept = sweep.sweep(host)
    assert swept.started, swept.refused
    found.started.append(len(swept.started))
    found.most_open = max(found.most_open, sum(1 for _ in fleet.services.storage.worklist()))
    fleet.settle(until)
    fleet.clock.set(until.timestamp())


def is_wrong(fleet: Fleet, alias: str, name: str) -> bool:
    certificate = fleet.servers[alias].vault.find(name)
    ended = [operation.state for operation in fleet.services.storage.ended(alias, name)]
    return certificate is None or len(certificate.versions) != 2 or ended != [State.COMPLETED]


def measure(certificates: int, due: int, vaults: int = 1, hosts: int = 1) -> tuple[Idle, Idle, Burst]:
    """Of an eighth of the certificates, of all, and of what is due besides; each a number in all vaults together."""
    with Fleet(lateness=0.5, vaults=vaults, hosts=hosts) as fleet:
        few, all_of_a_vault = certificates // 8 // vaults, certificates // vaults
        fleet.seed(few, "a", timedelta(days=10))
        sweep.sweep(fleet.services)  # clients and tables are made
        small = idle(fleet, few * vaults)
        fleet.seed(all_of_a_vault - few, "b", timedelta(days=10))
        large = idle(fleet, all_of_a_vault * vaults)
        return small, large, burst(fleet, due // vaults)


def of_sweeps(swept: Idle) -> Line:
    """CPU and requests for 1,000 certificates, and memory for all."""
    thousands = swept.certificates / 1000
    calls = f"{swept.calls['Key Vault'] / thousands:.0f} + {swept.calls['tables'] / thousands:.0f} requests"
    shown = f"{swept.cpu * 1000 / thousands:.0f} ms CPU, {calls}, {swept.memory / 2**20:.1f} MiB"
    return Line(f"sweep, 1,000 of {swept.certificates:,}", shown)


def of_renewals(found: Burst, idle_cpu: float) -> list[Line]:
    """What the renewals took, and what the hosts did to each other."""
    count = sum(found.started)
    each = [(cpu - idle_cpu) * 1000 / started for cpu, started in zip(found.cpu, found.started, strict=True)]
    calls = ", ".join(f"{service} {found.calls[service] / count:.1f}" for service in sorted(found.calls))
    refused = ", ".join(f"{what}: {number}" for what, number in sorted(found.refused.items()))
    lines = [
        Line("renewed, sweeps", f"{count:,}, {len(found.started)}"),
        Line("started by the first sweep", str(found.started[0]), found.started[0], min(count, BATCH), least=True),
        Line("open at once, at most", f"{found.most_open:,}"),
        Line("requests a renewal, the lists included", calls),
        Line("refused", refused or "none"),
        Line("CPU a renewal, first hour", f"{each[0]:.0f} ms"),
    ]
    if len(each) > 1:
        lines.append(Line("the last full hour against it", f"{each[-2] / each[0]:.2f} times", each[-2] / each[0], MOST))
    doubled = found.orders - count
    lines.append(Line("certificates not renewed exactly once", str(found.wrong), found.wrong, 0))
    return [*lines, Line("orders beyond one a certificate", str(doubled), abs(doubled), 0)]


def main() -> int:
    given = arguments("growth", __doc__, certificates=8_000, due=200, vaults=1, hosts=1)
    small, large, found = measure(given.certificates, given.due, given.vaults, given.hosts)
    ratio = large.cpu / large.certificates / (small.cpu / small.certificates)
    return conclude("growth", given, [
        of_sweeps(small),
        of_sweeps(large),
        Line("ratio of the CPU", f"{ratio:.2f} times", ratio, MOST),
        *of_renewals(found, large.cpu),
    ], "azure-keyvault-certificates", "azure-data-tables")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
