"""Measures the sandbox vault: `python -m bench.vault [--certificates 20000]`. Prints a table and the ratios.

- start to first answer: from starting the program to the first certificate list that it gives;
- seeding: that many elliptic certificates through the admin API;
- one page of the list with that many certificates, against one page with 100.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

SMALL = 100
PAGES = 200
LIMITS = {"start": 1.0, "seed": 60.0, "page": 3.0}


class Program:
    """The sandbox vault in a process of its own, and how long it took to give its first answer."""

    def __init__(self, directory: Path) -> None:
        began = time.perf_counter()
        command = [sys.executable, "-m", "sandbox.vault", "--directory", str(directory)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        description = directory / "vault.json"
        while not description.exists():
            time.sleep(0.002)
        self.description: dict[str, str] = json.loads(description.read_text())
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = self.description["ca_bundle"]
        query = {"resource": "https://vault.azure.net", "api-version": "2019-08-01"}
        header = {"X-IDENTITY-HEADER": self.description["identity_header"]}
        token = self.session.get(self.description["identity_endpoint"], params=query, headers=header, timeout=10).json()
        self.session.headers["Authorization"] = f"Bearer {token['access_token']}"
        self.page(f"{self.description['vault_url']}/certificates?api-version=7.6")
        self.started = time.perf_counter() - began

    def page(self, url: str) -> dict[str, Any]:
        answer = self.session.get(url, timeout=30)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def seed(self, count: int, prefix: str) -> float:
        """Seconds that seeding took, the request included."""
        began = time.perf_counter()
        body = {"count": count, "prefix": prefix}
        self.session.post(f"{self.description['admin_url']}/seed", json=body, timeout=600).raise_for_status()
        return time.perf_counter() - began

    def page_times(self) -> list[float]:
        """Seconds for each of many pages, from all over the list."""
        start = f"{self.description['vault_url']}/certificates?api-version=7.6"
        times: list[float] = []
        link = start
        while len(times) < PAGES:
            began = time.perf_counter()
            link = self.page(link)["nextLink"] or start
            times.append(time.perf_counter() - began)
        return times

    def end(self) -> None:
        self.session.close()
        self.process.terminate()
        self.process.wait(20)


def measure(certificates: int) -> dict[str, float]:
    """The figures, in seconds, and `ratio` of the two page times."""
    with tempfile.TemporaryDirectory() as directory:
        program = Program(Path(directory))
        try:
            program.seed(SMALL, "small")
            small = statistics.median(program.page_times())
            seeded = program.seed(certificates - SMALL, "large")
            large = statistics.median(program.page_times())
        finally:
            program.end()
    return {"start": program.started, "seed": seeded, "small": small, "large": large, "ratio": large / small}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.vault", description=__doc__)
    parser.add_argument("--certificates", type=int, default=20_000)
    count = parser.parse_args().certificates
    found = measure(count)
    rows = [
        ("start to first answer", f"{found['start']:.2f} s", f"{found['start'] / LIMITS['start']:.2f} of 1 s"),
        (f"{count} EC certificates seeded", f"{found['seed']:.1f} s", f"{found['seed'] / LIMITS['seed']:.2f} of 60 s"),
        (f"list page of {SMALL}", f"{found['small'] * 1000:.2f} ms", ""),
        (f"list page of {count}", f"{found['large'] * 1000:.2f} ms", f"{found['ratio']:.2f} times (limit 3)"),
    ]
    for label, figure, ratio in rows:
        print(f"{label:34} {figure:>10}   {ratio}")
    good = found["start"] <= LIMITS["start"] and found["seed"] <= LIMITS["seed"] and found["ratio"] <= LIMITS["page"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
