"""How a sweep grows with the number of certificates in a vault: CPU, requests, and what it starts when all are due.

    python3 dev.py bench growth [--certificates 8000] [--due 200]

The sizes take turns within a process, the smallest first; CPU is of the whole process, the sandbox vault included.
"""

import sys
import time
from datetime import timedelta

from bench._fleet import Fleet
from bench._report import Line, arguments, conclude
from certrelay.renewal import sweep

MOST = 1.5  # CPU for 1,000 certificates, of the largest vault against the smallest


def measure(certificates: int, due: int) -> dict[str, float]:
    """For an eighth and for all: CPU (ms) and requests for 1,000 certificates; CPU (ms) for each renewal started."""
    found: dict[str, float] = {}
    with Fleet() as fleet:
        fleet.seed(certificates // 8, "a", timedelta(days=10))
        sweep.sweep(fleet.services)  # clients and tables are made
        for size, more in ((certificates // 8, 0), (certificates, certificates - certificates // 8)):
            if more:
                fleet.seed(more, "b", timedelta(days=10))
            cpu = []
            for _ in range(3):
                fleet.wait(7)
                begun = time.process_time()
                calls = fleet.counted(lambda: sweep.sweep(fleet.services))
                cpu.append(time.process_time() - begun)
            name = "small" if not more else "large"
            found[f"{name} cpu"], found[f"{name} calls"] = min(cpu) * 1e6 / size, calls["Key Vault"] * 1000 / size
            found[f"{name} tables"] = calls["tables"] * 1000 / size
        fleet.seed(due, "c", timedelta(days=300))
        fleet.wait(7)
        begun = time.process_time()
        started = len(sweep.sweep(fleet.services).started)
        found["start"] = (time.process_time() - begun - found["large cpu"] * certificates / 1e6) * 1000 / started
        found["started"] = started
    return found


def main() -> int:
    given = arguments("growth", __doc__, certificates=8_000, due=200)
    found = measure(given.certificates, given.due)
    small, large, started = found["small cpu"], found["large cpu"], found["started"]
    return conclude("growth", given, [
        Line(f"1,000 of {given.certificates // 8}", f"{small:.0f} ms CPU, {found['small calls']:.0f} requests"),
        Line(f"1,000 of {given.certificates}", f"{large:.0f} ms CPU, {found['large calls']:.0f} requests"),
        Line("of tables", f"{found['large tables']:.0f} requests"),
        Line("ratio of the CPU", f"{large / small:.2f} times", large / small, MOST),
        Line("a renewal started", f"{found['start']:.0f} ms CPU"),
        Line("started by one sweep", f"{started:.0f} of {given.due}", started, min(given.due, 500), least=True),
    ], "azure-keyvault-certificates", "azure-data-tables")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
