"""A fleet on the sandbox's clock, for measurements without a host: a vault, Azurite, an authority that signs at once.

The clock stands still while the code works, and moves to the next message of the queue. So hours pass in seconds, and
what is measured in them does not depend on this machine: waits, and requests."""

import heapq
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from azure.core.pipeline.transport import RequestsTransport
from azure.keyvault.certificates import CertificateClient

from certrelay import settings
from certrelay.connectors.base import Connector, Context
from certrelay.errors import NotReady
from certrelay.keyvault.client import Vault
from certrelay.operations import reconcile
from certrelay.services import Services
from certrelay.storage.ledger import OpenOperation
from certrelay.storage.operation import Operation
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite
from sandbox.simulation.authority import SimulatedAuthority, SimulatedSettings
from sandbox.simulation.world import Credential, SteppedClock, SteppedLedger
from sandbox.vault import VaultServer, lifecycle, seed

ALIAS, AUTHORITY = "main", "quick"
CONNECTOR = "sandbox.simulation.authority:SimulatedAuthority"
BEGINS = datetime(2027, 1, 1, tzinfo=UTC)
TAGS = {"certrelay-authority": AUTHORITY, "certrelay-validity-days": "365"}


class _LateLedger(SteppedLedger):
    """`lateness` (s): how late a message of its queue is seen."""

    def __init__(
        self, account: Account, prefix: str, now: Callable[[], datetime], lateness: Callable[[], float]
    ) -> None:
        super().__init__(account, prefix, now)
        self._lateness = lateness

    def wake_up(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        super().wake_up(operation, max(delay_seconds, 0) + self._lateness())


class Fleet:
    """Context manager. `lateness`: the longest time (s) after which a message of the queue is seen."""

    def __init__(self, lateness: float = 0.0) -> None:
        self._lateness = lateness
        self.clock = SteppedClock(BEGINS.timestamp())
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            azurite = stack.enter_context(Azurite(directory / "azurite"))
            self.server = stack.enter_context(VaultServer(directory / "vault", clock=self.clock))
            self.services = self._connect(stack, azurite)
            ports = {azurite.ports["table"]: "tables", azurite.ports["queue"]: "queues", self.server.port: "Key Vault"}
            self._count(stack, ports)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def seed(self, count: int, prefix: str, age: timedelta) -> list[str]:
        """Make managed certificates of a year; returns their names."""
        seed.seed(self.server.vault, seed.Seed(count, prefix, age=age.total_seconds(), tags=TAGS))
        return [f"{prefix}-{number:05}" for number in range(count)]

    def counted(self, work: Callable[[], object]) -> Counter[str]:
        """How many requests `work` makes, by service; the first of a connection without a token is none."""
        self.calls.clear()
        work()
        return Counter(self.calls)

    def wait(self, hours: float) -> None:
        self.clock.set(self.clock.now() + hours * 3600)

    def settle(self) -> None:
        """Deliver the messages of the queue, each at its time, until none is left."""
        while self.ledger.messages:
            seen, _, name, identifier = heapq.heappop(self.ledger.messages)
            self.clock.set(max(seen, self.now()).timestamp())
            lifecycle.run_due(self.server.vault)
            try:
                reconcile.advance(self.services, ALIAS, name, identifier)
            except NotReady as error:
                raise AssertionError(f"{name}: {error}") from error

    def _connect(self, stack: ExitStack, azurite: Azurite) -> Services:
        known = settings.load(
            {
                "AzureWebJobsStorage": azurite.connection_string,
                "CERTRELAY_VAULTS": f'{{"{ALIAS}": {{"url": "{self.server.url}"}}}}',
                "CERTRELAY_AUTHORITIES": f'{{"{AUTHORITY}": {{"connector": "{CONNECTOR}"}}}}',
            }
        )
        client = CertificateClient(
            self.server.url, Credential(self.server), connection_verify=str(self.server.ca_bundle), retry_total=0
        )
        stack.callback(client.close)
        chance, vault = random.Random(17), Vault(client)
        self.ledger = _LateLedger(
            Account(known.storage, None), "bench", self.now, lambda: chance.uniform(0, self._lateness)
        )
        authority: Connector = SimulatedAuthority(SimulatedSettings(), Context(AUTHORITY, self.now, lambda: None))
        return Services(known, self.ledger, lambda _: vault, lambda _: authority, self.now, chance)

    def _count(self, stack: ExitStack, ports: dict[int, str]) -> None:
        send = RequestsTransport.send

        def counting(transport: RequestsTransport, request: Any, **options: Any) -> Any:
            answer = send(transport, request, **options)
            if answer.status_code != 401:
                self.calls[ports.get(urlsplit(request.url).port or 0, "other")] += 1
            return answer

        RequestsTransport.send = counting
        stack.callback(setattr, RequestsTransport, "send", send)
