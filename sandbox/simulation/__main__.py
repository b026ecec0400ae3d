"""`python3 dev.py simulate [--days 365] [--certificates 200] [--seed N]`: exit code 1 when a promise was broken."""

import argparse
import logging
import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sandbox.progress import Progress
from sandbox.simulation import plan
from sandbox.simulation.year import Report, simulate

BEGINS = datetime(2027, 1, 1, tzinfo=UTC)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py simulate", description="A year of renewals, with faults.")
    parser.add_argument("--days", type=int, default=365, help="how long (default 365)")
    parser.add_argument("--certificates", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=None, help="of the plan; the report names it")
    parser.add_argument("--log", default="CRITICAL", help="level of the app's own log (default CRITICAL)")
    given = parser.parse_args(arguments)
    if given.days < 1 or given.certificates < 1:
        parser.error("--days and --certificates are at least 1")
    logging.basicConfig(level=given.log.upper(), format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").disabled = True  # it minds connections that are dropped on purpose
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    progress, title = Progress(), f"{given.certificates} certificates, {given.days} days, seed {seed}"
    drawn = plan.drawn(seed, BEGINS, given.days, given.certificates)
    try:
        with tempfile.TemporaryDirectory() as directory, progress.step(title) as step:
            report = simulate(drawn, Path(directory), progress=step.now)
    except KeyboardInterrupt:
        return 130
    progress.line(rendered(report))
    return 1 if report.violations else 0


def rendered(report: Report) -> str:
    """The report for people."""
    requests = report.requests or [0]
    lines = [
        "Renewals by authority:",
        *(f"  {name:12} {count:6}" for name, count in sorted(report.renewals.items())),
        "Operations by end:",
        *(f"  {name:12} {count:6}" for name, count in sorted(report.ended.items())),
        f"Orders beyond an authority's limit: {report.turned_away}",
        f"Sweeps made: {report.sweeps}",
        f"Key Vault requests a day: {sum(requests) / len(requests):.0f} on average, {max(requests)} at most",
        "Faults:",
        *(f"  {name:48} {count:6}" for name, count in sorted(report.faults.items())),
    ]
    if not report.violations:
        return "\n".join([*lines, "Every promise was kept."])
    again = f"--seed {report.seed} --days {report.days} --certificates {report.certificates}"
    broken = [f"  {text}" for text in report.violations]
    return "\n".join([*lines, f"BROKEN PROMISES (again with {again}):", *broken])


if __name__ == "__main__":
    sys.exit(main())
