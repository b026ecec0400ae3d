"""Measures the sandbox vault: `python3 dev.py bench vault [--certificates 20000]`. Prints a table and the ratios.

- start to first answer: from starting the program to the first certificate list that it gives, empty and with that
  many certificates in its file;
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
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

SMALL = 100
PAGES = 200
LIMITS = {"start": 1.0, "seed": 60.0, "page": 3.0}


class Program:
    """The sandbox vault in a process of its own, and how long it took to give its first answer."""

    def __init__(self, directory: Path) -> None:
        description = directory / "vault.json"
        description.unlink(missing_ok=True)
        began = time.perf_counter()
        command = [sys.executable, "-m", "sandbox.vault", "--directory", str(directory)]
        command += ["--data", str(directory / "vault.db")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
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
        self._first = self._link = f"{self.description['vault_url']}/certificates?api-version=7.6"
        self.page(self._first)
        self.started = time.perf_counter() - began

    def page(self, url: str) -> dict[str, Any]:
        answer = self.session.get(url, timeout=30)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def seed(self, count: int) -> float:
        """Seconds that seeding took, the request included."""
        began = time.perf_counter()
        body = {"count": count}
        self.session.post(f"{self.description['admin_url']}/seed", json=body, timeout=600).raise_for_status()
        return time.perf_counter() - began

    def next_page(self) -> float:
        """Seconds for one page; the pages follow each other through the list and begin anew at its end."""
        began = time.perf_counter()
        self._link = self.page(self._link)["nextLink"] or self._first
        return time.perf_counter() - began

    def end(self) -> None:
        self.session.close()
        self.process.terminate()
        self.process.wait(20)


def measure(certificates: int) -> dict[str, float]:
    """The figures, in seconds, and `ratio` of the two page times, which are taken in turns."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other, ExitStack() as ends:
        small, large = Program(Path(one)), Program(Path(other))
        ends.callback(small.end)
        small.seed(SMALL)
        seeded = large.seed(certificates)
        times = [(small.next_page(), large.next_page()) for _ in range(PAGES)]
        large.end()
        again = Program(Path(other))
        again.end()
    pages = {"small": statistics.median(a for a, _ in times), "large": statistics.median(b for _, b in times)}
    ratio = pages["large"] / pages["small"]
    return {"start": small.started, "again": again.started, "seed": seeded, **pages, "ratio": ratio}


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench vault", description=__doc__)
    parser.add_argument("--certificates", type=int, default=20_000)
    count = parser.parse_args().certificates
    found = measure(count)
    rows = [
        ("start to first answer", f"{found['start']:.2f} s", f"{found['start'] / LIMITS['start']:.2f} of 1 s"),
        (f"the same with {count} kept", f"{found['again']:.2f} s", f"{found['again'] / LIMITS['start']:.2f} of 1 s"),
        (f"{count} EC certificates seeded", f"{found['seed']:.1f} s", f"{found['seed'] / LIMITS['seed']:.2f} of 60 s"),
        (f"list page of {SMALL}", f"{found['small'] * 1000:.2f} ms", ""),
        (f"list page of {count}", f"{found['large'] * 1000:.2f} ms", f"{found['ratio']:.2f} times (limit 3)"),
    ]
    for label, figure, ratio in rows:
        print(f"{label:34} {figure:>10}   {ratio}")
    slow = max(found["start"], found["again"]) > LIMITS["start"] or found["seed"] > LIMITS["seed"]
    return 1 if slow or found["ratio"] > LIMITS["page"] else 0


if __name__ == "__main__":
    sys.exit(main())
