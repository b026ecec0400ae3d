"""Many certificates over ACME while the CA refuses nonces and the app's host is killed: as many as were asked for, and
no order finalized twice. `--soak` asks for 500."""

import json
import logging
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from sandbox.app_settings import ALIAS
from sandbox.ports import free_ports
from sandbox.progress import Progress
from sandbox.up import Sandbox
from tests.connectors.acme.dns.powerdns import API_KEY, PowerDns
from tests.connectors.acme.pebble import Pebble
from tests.connectors.debian import CannotFetch

pytestmark = pytest.mark.slow

POLICY = {"key_props": {"kty": "EC", "crv": "P-256"}}
LEASE_SECONDS = 400  # of a worker that died, and a little more
STANDSTILL_SECONDS, SHORTER_THAN_A_LEASE = 6.0, 300

log = logging.getLogger(__name__)


@pytest.fixture
def powerdns(tmp_path: Path) -> Iterator[PowerDns]:
    """Not BIND: TSIG signs the time, and the app's clock is moved here."""
    folder = tmp_path / "powerdns"
    folder.mkdir()
    try:
        server = PowerDns(folder)
    except CannotFetch as reason:
        pytest.skip(f"PowerDNS cannot be had: {reason}")
    with server:
        yield server


@pytest.fixture
def pebble(powerdns: PowerDns, tmp_path: Path) -> Iterator[Pebble]:
    try:
        server = Pebble(tmp_path / "pebble", powerdns.port, PEBBLE_WFE_NONCEREJECT="15", PEBBLE_AUTHZREUSE="0")
    except CannotFetch as reason:
        pytest.skip(f"pebble cannot be had: {reason}")
    with server:
        yield server


def app_settings(powerdns: PowerDns, pebble: Pebble, vault_port: int) -> dict[str, str]:
    dns = {
        "provider": "lexicon",
        "service": "powerdns",
        "options": {"pdns_server": powerdns.url},
        "secrets": {"auth_token": "@POWERDNS_KEY"},
        "resolvers": [powerdns.address],
        "name_servers": [powerdns.address],
    }
    acme = {
        "connector": "acme",
        "url": pebble.directory,
        "ca_certificates": pebble.tls_roots,
        "account_key_vault_url": f"https://127.0.0.1:{vault_port}",
        "account_key_name": "acme-account",
        "deadline_hours": 2000,
        "dns": dns,
    }
    return {"CERTRELAY_AUTHORITIES": json.dumps({"le": acme}), "POWERDNS_KEY": API_KEY}


class Row(NamedTuple):
    """An open operation; `leased`: somebody is at work on it."""

    name: str
    state: str
    failure_message: str
    leased: bool


class Soak:
    """The certificates that are asked for, and the app."""

    def __init__(self, sandbox: Sandbox, client: httpx.Client, count: int) -> None:
        self._sandbox, self._client = sandbox, client
        self._headers = {"x-functions-key": sandbox.settings["FUNCTION_KEY"]}
        self.names = [f"soak-{number:03}" for number in range(count)]

    def dns_names(self, name: str) -> list[str]:
        """Every fifth has a wildcard as well: two values at one name."""
        plain = f"{name}.example.com"
        return [plain, f"*.{plain}"] if int(name[-3:]) % 5 == 0 else [plain]

    def ask(self, name: str) -> None:
        body = {"authority": "le", "dns_names": self.dns_names(name), "policy": POLICY}
        answer = self.call("POST", f"{name}/create", body, {"Idempotency-Key": name})
        assert answer.status_code == 202, answer.text

    def call(self, method: str, rest: str, body: Any = None, more: dict[str, str] | None = None) -> httpx.Response:
        url = f"{self._sandbox.settings['APP_URL']}/api/vaults/{ALIAS}/certificates/{rest}"
        return self._client.request(method, url, json=body, headers={**self._headers, **(more or {})})

    def kill(self) -> None:
        """Kill the host, and start another one when the leases of the dead have run out."""
        self._sandbox.replace_host(LEASE_SECONDS)
        self._poll()

    def wait(self, seconds: float) -> None:
        """Until no operation is open. Where nothing moves for a while and nobody is at work, the next try is due later.

        No worker that lives loses its lease to the clock: whoever begins meanwhile has a longer one."""
        end, moved = time.monotonic() + seconds, time.monotonic()
        last: list[Row] = []
        while rows := self.open_rows():
            if rows != last:
                moved, last = time.monotonic(), rows
            assert time.monotonic() < end, f"{len(rows)} operations are open: {rows[:3]}"
            if time.monotonic() - moved > STANDSTILL_SECONDS:
                if not any(row.leased for row in rows):
                    self._let_time_pass()
                self._poll()
                moved = time.monotonic()
            time.sleep(0.3)

    def _let_time_pass(self) -> None:
        admin = self._sandbox.settings["VAULT_ADMIN_URL"]
        self._client.post(f"{admin}/clock", json={"advance": SHORTER_THAN_A_LEASE}).raise_for_status()

    def _poll(self) -> None:
        """A dead host keeps the timer's lease for a minute: the poll is run by hand."""
        poll = self._sandbox.settings["APP_URL"] + "/admin/functions/poll_operations"
        key = {"x-functions-key": self._sandbox.settings["MASTER_KEY"]}
        self._client.post(poll, json={"input": ""}, headers=key).raise_for_status()

    def open_rows(self) -> list[Row]:
        """The operations that are open."""
        connection = self._sandbox.settings["STORAGE_CONNECTION_STRING"]
        with TableServiceClient.from_connection_string(connection) as tables:
            rows = tables.get_table_client("operations").list_entities()
            return [Row(row["name"], row["state"], row["failure_message"], bool(row["lease_id"])) for row in rows]

    def poisoned(self) -> int:
        """Messages that crashed every time."""
        connection = self._sandbox.settings["STORAGE_CONNECTION_STRING"]
        with QueueServiceClient.from_connection_string(connection) as queues:
            try:
                found = queues.get_queue_client("signing-poison").get_queue_properties()
            except ResourceNotFoundError:
                return 0
            return found.approximate_message_count or 0


def test_a_ca_that_refuses_nonces_and_workers_that_die_cost_no_certificate_and_no_second_order(
    powerdns: PowerDns, pebble: Pebble, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count, kills = (500, 40) if request.config.getoption("--soak") else (12, 2)
    chance, [vault_port] = random.Random(20261123), free_ports(1)
    started = time.monotonic()
    settings = app_settings(powerdns, pebble, vault_port)
    with (
        Sandbox(tmp_path / "sandbox", Progress(), {"vault": vault_port}, app_settings=settings) as sandbox,
        httpx.Client(timeout=60, trust_env=False) as client,
    ):
        soak = Soak(sandbox, client, count)
        for part in range(kills):
            for name in soak.names[part::kills]:
                soak.ask(name)
            time.sleep(chance.uniform(0.2, 2.5))
            soak.kill()
        soak.wait(600 + 6 * count)
        log.info("%d certificates, %d kills: %.0f s", count, kills, time.monotonic() - started)
        assert [soak.call("GET", f"{name}/pending").json()["status"] for name in soak.names] == ["completed"] * count
        for name in soak.names:
            assert len(soak.call("GET", f"{name}/versions").json()["value"]) == 1
            found = soak.call("GET", name).json()
            assert sorted(found["dns_names"]) == sorted(soak.dns_names(name))
            assert "Pebble" in found["issuer"]
        assert soak.poisoned() == 0
    said = pebble.log.read_text()
    issued = re.findall(r"Issued certificate serial ([0-9a-f]+) for order (\S+)", said)
    assert len(issued) == count, "the authority's own log counts what it issued"
    assert len({order for _, order in issued}) == count
    assert "Configured to reject 15% of good nonces" in said
    left = {name: values for name in soak.names if (values := powerdns.texts(f"_acme-challenge.{name}.example.com"))}
    assert left == {}, "challenge records that nobody removed"
