"""The app in its sandbox as a contestant: how many certificates a second it issues, from the request to the merge."""

import itertools
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from azure.data.tables import TableServiceClient

from bench import _cpu
from sandbox.app_settings import ALIAS
from sandbox.progress import Progress
from sandbox.up import MoreSettings, Sandbox

CALLERS = 8
POLICY = {"key_props": {"kty": "EC", "crv": "P-256"}}
RATE = {"requests": 10_000, "seconds": 10}
PAUSE = 0.1


class App:
    """CertRelay in its sandbox. `authority` signs for names under `domain`; `urls`: of its hosts, which take turns.

    `cpu` has an entry for each round: seconds a certificate, by process."""

    def __init__(
        self, sandbox: Sandbox, client: httpx.Client, tables: TableServiceClient, authority: str, domain: str
    ) -> None:
        self.sandbox, self._client, self._authority, self._domain = sandbox, client, authority, domain
        self._open, self._ended = (tables.get_table_client(name) for name in ("operations", "history"))
        self.urls = [sandbox.settings["APP_URL"]]
        self.cpu: list[Mapping[str, float]] = []

    def rate(self, prefix: str, count: int) -> float:
        """Certificates a second, from the first request to the last that is merged."""
        names = [f"{prefix}-{number}" for number in range(count)]
        before, begun = _cpu.by_part(), time.perf_counter()
        with ThreadPoolExecutor(CALLERS * len(self.urls)) as pool:
            list(pool.map(self._ask, itertools.cycle(self.urls), names))
        while any(self._open.list_entities(select=["RowKey"], results_per_page=1)):
            time.sleep(PAUSE)
        took = time.perf_counter() - begun
        self.cpu.append({part: (seconds - before[part]) / count for part, seconds in _cpu.by_part().items()})
        states = [row["state"] for row in self._ended.list_entities(select=["name", "state"]) if row["name"] in names]
        assert states == ["completed"] * count, states
        return count / took

    def _ask(self, url: str, name: str) -> None:
        body = {"authority": self._authority, "dns_names": [f"{name}.{self._domain}"], "policy": POLICY}
        self._client.post(f"{url}/api/vaults/{ALIAS}/certificates/{name}/create", json=body).raise_for_status()


@contextmanager
def running(folder: Path, settings: MoreSettings, authority: str, domain: str) -> Iterator[App]:
    """The app in a sandbox of its own, with these settings besides the sandbox's."""
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(folder, Progress(), app_settings=settings))
        key = {"x-functions-key": sandbox.settings["FUNCTION_KEY"]}
        client = stack.enter_context(httpx.Client(headers=key, timeout=90, trust_env=False))
        connection = sandbox.settings["STORAGE_CONNECTION_STRING"]
        tables = stack.enter_context(TableServiceClient.from_connection_string(connection))
        yield App(sandbox, client, tables, authority, domain)


def unthrottled(own: Mapping[str, str]) -> dict[str, str]:
    """The setting of the vaults, with a rate that holds nothing back: the sandbox's vault does not throttle.

    `own`: the sandbox's settings."""
    vaults = json.loads(own["CERTRELAY_VAULTS"])
    vaults[ALIAS]["rate"] = RATE
    return {"CERTRELAY_VAULTS": json.dumps(vaults)}


def median_cpu(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """CPU (s) a certificate by process, medians of the rounds."""
    return {part: statistics.median(one.get(part, 0.0) for one in rounds) for part in _cpu.PARTS.values()}
