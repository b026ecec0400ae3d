"""Creations a second of one host and of two, against the same three calls by hand; and the app's own part of the CPU.

    python3 dev.py bench throughput [--certificates 300] [--rounds 3] [--alone 50]

All in one run and in turns: a sandbox with one host, another with two hosts on one storage account, and 24 threads that
create in Key Vault, sign by OpenBao and merge. Eight callers a host ask; the queue does the rest. Then `--alone`
certificates are created by the app's functions in this process, one after the other, where the CPU within the calls of
the Azure SDKs can be told from the rest.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import azure.functions as func
import httpx

from bench._app import POLICY, App, median_cpu, running, unthrottled
from bench._fleet import ALIAS, AUTHORITY, Fleet
from bench._foreign_cpu import ForeignCpu
from bench._report import Line, arguments, conclude, in_turns, ratio
from bench.issuance import by_hand, openbao, vault_client
from handlers import certificates
from sandbox import app_settings
from sandbox.up import Sandbox

BY_HAND, ONE, TWO = "the three calls by hand, 24 threads", "one host", "two hosts"
THREADS = 24
LEAST = {ONE: 50.0, TWO: 95.0}  # a second
OWN_CPU = 0.005  # s
WINDOW = 10 / 3600  # hours, in which Key Vault creates no more than a few keys


class Measured(NamedTuple):
    """By contestant: certificates a second in each round. By process: CPU (s) a certificate, with one host.

    Of each certificate that was created alone: CPU (s) of the SDKs' calls, and of the rest."""

    rates: dict[str, list[float]]
    cpu: dict[str, float]
    sdk: list[float]
    own: list[float]


@contextmanager
def on_hosts(folder: Path, hosts: int) -> Iterator[App]:
    """The app on so many hosts, each of which has issued a certificate."""
    with running(folder, unthrottled, app_settings.AUTHORITY, "contoso.example") as app:
        app.urls += [app.sandbox.add_host() for _ in range(hosts - 1)]
        app.rate("first", 4 * hosts)
        app.cpu.clear()
        yield app


def measure(certificates: int, rounds: int, alone: int) -> Measured:
    """All contestants, in turns; then those that are created alone."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one, two = (stack.enter_context(on_hosts(folder / str(hosts), hosts)) for hosts in (1, 2))
        rates = in_turns({
            ONE: lambda number: _awake(one, f"one-{number}", certificates),
            TWO: lambda number: _awake(two, f"two-{number}", certificates),
            BY_HAND: lambda number: _floor(one.sandbox, f"hand-{number}", certificates),
        }, rounds)  # fmt: skip
    sdk, own = created_alone(alone)
    return Measured(rates, median_cpu(one.cpu), sdk, own)


def _awake(app: App, prefix: str, count: int) -> float:
    """The rate of hosts that look often: after a pause, the first message waits for seconds (maxPollingInterval)."""
    app.rate(f"{prefix}-awake", 4)
    app.cpu.pop()
    return app.rate(prefix, count)


def _floor(sandbox: Sandbox, prefix: str, count: int) -> float:
    with httpx.Client(trust_env=False) as client, vault_client(sandbox.settings, client) as vault:
        bao, begun = openbao(sandbox), time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda number: by_hand(vault, bao, f"{prefix}-{number}"), range(count)))
        return count / (time.perf_counter() - begun)


def created_alone(count: int) -> tuple[list[float], list[float]]:
    """CPU (s) within the SDKs' calls, and of the app, of each certificate: from the request to the merged version.

    The authority signs in this thread, too: that counts for neither."""
    sdk, own = [], []
    with Fleet() as fleet, _app_of(fleet), ForeignCpu().counted((fleet.authority, "submit")) as foreign:
        for number in range(-5, count):  # the first ones make connections, tables and models
            fleet.wait(WINDOW)
            foreign.seconds = foreign.sdk = 0.0
            begun = time.thread_time()
            answer = certificates.blueprint["create_certificate"](_request(f"alone-{number + 5}"))
            taken = time.thread_time() - begun
            assert answer.status_code == httpx.codes.OK, answer.get_body()
            if number >= 0:
                sdk.append(foreign.sdk)
                own.append(taken - foreign.seconds)
    return sdk, own


@contextmanager
def _app_of(fleet: Fleet) -> Iterator[None]:
    """The app's functions with the fleet's services."""
    settings = fleet.services.settings
    with (
        patch("handlers._services", lambda: fleet.services),
        patch("handlers.settings", lambda: settings),
        patch("handlers.roles.settings", lambda: settings),
    ):
        yield


def _request(name: str) -> func.HttpRequest:
    body = {"authority": AUTHORITY, "dns_names": [f"{name}.example.com"], "policy": POLICY}
    return func.HttpRequest(
        "POST", f"https://host/api/vaults/{ALIAS}/certificates/{name}/create", headers={"Prefer": "wait=60"}, params={},
        route_params={"vault": ALIAS, "name": name}, body=json.dumps(body).encode(),
    )  # fmt: skip


def lines(measured: Measured) -> list[Line]:
    """The table of what `measure` has found."""
    rates, cpu = measured.rates, measured.cpu
    shown = [_rate(name, statistics.median(taken)) for name, taken in rates.items()]
    parts = ", ".join(f"{part} {seconds * 1000:.0f} ms" for part, seconds in cpu.items() if seconds >= 0.001)
    own = statistics.median(measured.own)
    return [
        *shown,
        Line("CPU a certificate, one host", parts),
        ratio("one host against by hand", rates[ONE], rates[BY_HAND]),
        ratio("two hosts against one, medians", rates[TWO], rates[ONE]),
        Line("CPU of the SDKs' calls, a certificate", f"{statistics.median(measured.sdk) * 1000:.1f} ms"),
        Line("the app's own CPU besides", f"{own * 1000:.1f} ms", own * 1000, OWN_CPU * 1000),
    ]


def _rate(name: str, a_second: float) -> Line:
    return Line(name, f"{a_second:.0f} a second", a_second, LEAST.get(name), least=True)


def main() -> int:
    given = arguments("throughput", __doc__, certificates=300, rounds=3, alone=50)
    measured = measure(given.certificates, given.rounds, given.alone)
    return conclude("throughput", given, lines(measured), "azure-functions", "azure-data-tables")


if __name__ == "__main__":
    sys.exit(main())
