"""A fleet on the sandbox's clock, for measurements without a host: vaults, Azurite, an authority that signs at once.

The clock stands still while the code works, and moves to the next message of the queue. So hours pass in seconds, and
what is measured in them does not depend on this machine: waits, and requests."""

import heapq
import json
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.certificates import CertificateClient

from certrelay import settings
from certrelay.connectors.base import Connector, Context, Outcome, SigningRequest
from certrelay.errors import NotReady
from certrelay.keyvault.client import Vault
from certrelay.operations import reconcile
from certrelay.services import Services
from certrelay.setting_models import Settings
from certrelay.storage.ledger import OpenOperation
from certrelay.storage.operation import Operation, split_operation_id
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite
from sandbox.simulation.authority import SimulatedAuthority, SimulatedSettings
from sandbox.simulation.world import Credential, Message, SteppedClock, SteppedLedger, in_turn
from sandbox.vault import VaultServer, lifecycle, seed

ALIAS, AUTHORITY = "main", "quick"
CONNECTOR = "sandbox.simulation.authority:SimulatedAuthority"
BEGINS = datetime(2027, 1, 1, tzinfo=UTC)
TAGS = {"certrelay-authority": AUTHORITY, "certrelay-validity-days": "365"}
BATCH = 8  # messages that a host takes at a time: batchSize in host.json


class _LateLedger(SteppedLedger):
    """`lateness` (s): how late a message of its queue is seen. All hosts share the `messages`."""

    def __init__(
        self, account: Account, now: Callable[[], datetime], messages: list[Message], lateness: Callable[[], float]
    ) -> None:
        super().__init__(account, "bench", now)
        self.messages, self._lateness = messages, lateness

    def wake_up(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        super().wake_up(operation, max(delay_seconds, 0) + self._lateness())


class _Authority(SimulatedAuthority):
    """Signs at once; `asked` counts its orders by operation."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(SimulatedSettings(), Context(AUTHORITY, now, lambda: None))
        self.asked: Counter[str] = Counter()

    def submit(self, request: SigningRequest) -> Outcome:
        self.asked[request.operation_id] += 1
        return super().submit(request)


class Fleet:
    """Context manager. `lateness`: the longest time (s) after which a message of the queue is seen. `hosts`: services
    with connections of their own, on one storage account; `services` is the first of them."""

    def __init__(self, lateness: float = 0.0, vaults: int = 1, hosts: int = 1) -> None:
        self._lateness, self._count_of_hosts = lateness, hosts
        self.aliases = [ALIAS, *(f"vault-{number}" for number in range(2, vaults + 1))]
        self.clock = SteppedClock(BEGINS.timestamp())
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._messages: list[Message] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            azurite = stack.enter_context(Azurite(directory / "azurite"))
            self.servers = {
                alias: stack.enter_context(VaultServer(directory / alias, clock=self.clock)) for alias in self.aliases
            }
            self.server = self.servers[ALIAS]
            known = self._settings(azurite)
            self.authority = _Authority(self.now)
            self.hosts = [self._connect(stack, known, number) for number in range(self._count_of_hosts)]
            self.services = self.hosts[0]
            ports = {azurite.ports["table"]: "tables", azurite.ports["queue"]: "queues"}
            self._count(stack, ports | {server.port: "Key Vault" for server in self.servers.values()})
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def seed(self, count: int, prefix: str, age: timedelta) -> list[str]:
        """Make that many managed certificates of a year in each vault; returns their names there."""
        for server in self.servers.values():
            seed.seed(server.vault, seed.Seed(count, prefix, age=age.total_seconds(), tags=TAGS))
        return [f"{prefix}-{number:05}" for number in range(count)]

    def counted(self, work: Callable[[], object]) -> Counter[str]:
        """How many requests `work` makes, by service; the first of a connection without a token is none.

        `refused` then has those that were refused, by service and status."""
        self.calls.clear()
        self.refused.clear()
        work()
        return Counter(self.calls)

    def wait(self, hours: float) -> None:
        self.clock.set(self.clock.now() + hours * 3600)

    def settle(self, until: datetime | None = None) -> None:
        """Deliver the messages of the queue, each at its time, until none is left, or `until` then.

        Several hosts work at once, each on as many messages as a host takes."""
        with ThreadPoolExecutor(len(self.hosts) * BATCH) as pool:
            while self._messages and (until is None or self._messages[0][0] <= until):
                self.clock.set(max(self._messages[0][0], self.now()).timestamp())
                for server in self.servers.values():
                    lifecycle.run_due(server.vault)
                if len(self.hosts) == 1:
                    self._advance(self.services, self._take())
                else:
                    list(pool.map(self._advance, self.hosts * BATCH, self._taken(len(self.hosts) * BATCH)))

    def _taken(self, most: int) -> list[Message]:
        taken: list[Message] = []
        while self._messages and self._messages[0][0] <= self.now() and len(taken) < most:
            taken.append(self._take())
        return taken

    def _take(self) -> Message:
        return heapq.heappop(self._messages)

    @staticmethod
    def _advance(host: Services, message: Message) -> None:
        _, _, name, identifier = message
        vault = split_operation_id(identifier)
        assert vault is not None
        try:
            reconcile.advance(host, vault[0], name, identifier)
        except NotReady as error:
            raise AssertionError(f"{name}: {error}") from error

    def _settings(self, azurite: Azurite) -> Settings:
        return settings.load(
            {
                "AzureWebJobsStorage": azurite.connection_string,
                "CERTRELAY_VAULTS": json.dumps({alias: {"url": made.url} for alias, made in self.servers.items()}),
                "CERTRELAY_AUTHORITIES": f'{{"{AUTHORITY}": {{"connector": "{CONNECTOR}"}}}}',
            }
        )

    def _connect(self, stack: ExitStack, known: Settings, number: int) -> Services:
        vaults = {alias: self._vault(stack, server) for alias, server in self.servers.items()}
        chance, authority = random.Random(17 + number), self.authority
        ledger = _LateLedger(
            Account(known.storage, None), self.now, self._messages, lambda: chance.uniform(0, self._lateness)
        )

        def connector(name: str) -> Connector:
            return authority

        return Services(known, ledger, vaults.__getitem__, connector, self.now, chance, both=in_turn)

    def _vault(self, stack: ExitStack, server: VaultServer) -> Vault:
        client = CertificateClient(
            server.url, Credential(server), connection_verify=str(server.ca_bundle), retry_total=0
        )
        stack.callback(client.close)
        return Vault(client)

    def _count(self, stack: ExitStack, ports: dict[int, str]) -> None:
        send, lock = RequestsTransport.send, threading.Lock()

        def counting(transport: RequestsTransport, request: Any, **options: Any) -> Any:
            answer = send(transport, request, **options)
            service = ports.get(urlsplit(request.url).port or 0, "other")
            with lock:
                if answer.status_code != 401:
                    self.calls[service] += 1
                if answer.status_code in (409, 412, 429):
                    self.refused[f"{service} {answer.status_code}"] += 1
            return answer

        RequestsTransport.send = counting
        stack.callback(setattr, RequestsTransport, "send", send)
