"""`python3 dev.py simulate [--days 365] [--certificates 200] [--seed N]`: exit code 1 if a promise was broken.

It is 2 if the simulation could not run."""

import argparse
import logging
import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sandbox.processes import ProcessError, exit_on_signals
from sandbox.progress import Progress
from sandbox.simulation import plan
from sandbox.simulation.year import Report, simulate

BEGINS = datetime(2027, 1, 1, tzinfo=UTC)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="dev.py simulate", description="Simulate a year of renewals, with faults.")
    parser.add_argument("--days", type=int, default=365, help="simulated days (default 365)")
    parser.add_argument("--certificates", type=int, default=200, help="number of certificates (default 200)")
    parser.add_argument("--seed", type=int, default=None, help="seed of the plan (default: a random one)")
    parser.add_argument("--log", default="CRITICAL", help="log level of the app (default CRITICAL)")
    options = parser.parse_args(arguments)
    if options.days < 1 or options.certificates < 1:
        parser.error("--days and --certificates must be at least 1")
    logging.basicConfig(level=options.log.upper(), format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").disabled = True  # it reports connections that are dropped on purpose
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    progress, title = Progress(), f"{options.certificates} certificates, {options.days} days, seed {seed}"
    drawn = plan.draw(seed, BEGINS, options.days, options.certificates)
    try:
        with tempfile.TemporaryDirectory() as directory, progress.step(title) as step:
            report = simulate(drawn, Path(directory), progress=step.now)
    except KeyboardInterrupt:
        return 130
    except ProcessError as error:
        print(f"dev.py simulate: {error}", file=sys.stderr)
        return 2
    progress.line(rendered(report))
    return 1 if report.violations else 0


def rendered(report: Report) -> str:
    """The report as text."""
    requests = report.requests or [0]
    lines = [
        "Renewals by authority:",
        *(f"  {name:12} {count:6}" for name, count in sorted(report.renewals.items())),
        "Operations by end:",
        *(f"  {name:12} {count:6}" for name, count in sorted(report.ended.items())),
        f"Orders beyond an authority's limit: {report.over_limit}",
        f"Sweeps made: {report.sweeps}",
        f"Key Vault requests a day: {sum(requests) / len(requests):.0f} on average, {max(requests)} at most",
        "Faults:",
        *(f"  {name:48} {count:6}" for name, count in sorted(report.faults.items())),
    ]
    if not report.violations:
        return "\n".join([*lines, "Every promise was kept."])
    again = f"--seed {report.seed} --days {report.days} --certificates {report.certificates}"
    broken = [f"  {text}" for text in report.violations]
    return "\n".join([*lines, f"BROKEN PROMISES (repeat with {again}):", *broken])


if __name__ == "__main__":
    exit_on_signals()
    sys.exit(main())
