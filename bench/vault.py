"""Measures the sandbox vault: `python3 dev.py bench vault [--certificates 20000]`. Prints a table and the ratios.

- start to first answer: from starting the program to the first certificate list that it gives, empty and with that
  many certificates in its file;
- seeding: that many elliptic certificates through the admin API;
- one page of the list with that many certificates, against one page with 100.
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from bench._report import Line, arguments, conclude, in_turns, milliseconds, ratio

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


def measure(certificates: int) -> dict[str, list[float]]:
    """Seconds: of both starts (`start`, `again`), of `seed`, and of pages (`small`, `large`), taken in turns."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other, ExitStack() as ends:
        small, large = Program(Path(one)), Program(Path(other))
        ends.callback(small.end)
        small.seed(SMALL)
        seeded = large.seed(certificates)
        pages = in_turns({"small": lambda _: small.next_page(), "large": lambda _: large.next_page()}, PAGES)
        large.end()
        again = Program(Path(other))
        again.end()
    return {"start": [small.started], "again": [again.started], "seed": [seeded], **pages}


def main() -> int:
    given = arguments("vault", __doc__, certificates=20_000)
    found, count = measure(given.certificates), given.certificates
    (start,), (again,), (seeded,) = found["start"], found["again"], found["seed"]
    return conclude("vault", given, [
        Line("start to first answer", f"{start:.2f} s", start, LIMITS["start"]),
        Line(f"the same with {count} kept", f"{again:.2f} s", again, LIMITS["start"]),
        Line(f"{count} EC certificates seeded", f"{seeded:.1f} s", seeded, LIMITS["seed"]),
        Line(f"list page of {SMALL}", milliseconds(found["small"])),
        Line(f"list page of {count}", milliseconds(found["large"])),
        ratio("ratio of the pages, medians", found["large"], found["small"], LIMITS["page"]),
    ], "starlette", "cryptography")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
