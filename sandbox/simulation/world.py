"""The app's reconciler on the sandbox: vault, Azurite, simulated authorities, clock, and a queue that loses messages.

The vault, the tables and the signatures are real. The queue is simulated, because Azurite's delays run on the
machine's clock. The SDK does not retry, so that every fault reaches the reconciler and nothing sleeps.
"""

import heapq
import itertools
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.keyvault.certificates import CertificateClient

from certrelay import setting_models, settings
from certrelay.connectors.base import Connector, Context
from certrelay.keyvault.client import Vault
from certrelay.services import Services
from certrelay.storage.ledger import Ledger, OpenOperation
from certrelay.storage.operation import Operation
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.simulation.authority import SimulatedAuthority
from sandbox.simulation.death import Killed, Life, mortal
from sandbox.simulation.plan import AUTHORITIES, Plan
from sandbox.vault import VaultServer, lifecycle

ALIAS = "main"
type Message = tuple[datetime, int, str, str]  # visible from, order, certificate, operation


def in_turn[First, Second](first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Call both, the second after the first, so that what happens does not depend on threads."""
    return first(), second()


class SteppedClock(Clock):
    """A clock that stands still until it is set."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self._moment = moment

    def now(self) -> float:
        return self._moment

    def set(self, moment: float) -> None:
        self._moment = moment


class Credential:
    """A sandbox token. It expires by the machine's clock."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken(self._server.identities.token(self._server.resource), int(time.time()) + 86_000)


class SteppedLedger(Ledger):
    """The ledger in Azurite's tables, with a queue in memory instead of `signing`, whose delays run on a clock."""

    def __init__(self, account: Account, prefix: str, now: Callable[[], datetime]) -> None:
        super().__init__(account, prefix)
        self._now, self._order = now, itertools.count()
        self.messages: list[Message] = []

    def wake_up(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        seen = datetime.fromtimestamp(self._now().timestamp() + max(delay_seconds, 0), UTC)
        heapq.heappush(self.messages, (seen, next(self._order), operation.name, operation.id))


class LossyLedger(SteppedLedger):
    """One whose queue loses messages, and doubles them.

    `due` has the time at which each open operation is due, so that polls that would find nothing can be skipped."""

    def __init__(self, account: Account, prefix: str, plan: Plan, now: Callable[[], datetime], faults: Counter[str]):
        super().__init__(account, prefix, now)
        self._plan, self._faults = plan, faults
        self.due: dict[str, datetime] = {}

    def insert(self, operation: Operation) -> Operation | None:
        opened = super().insert(operation)
        if opened is not None:
            self.due[operation.name] = operation.next_attempt_at
        return opened

    def save(self, operation: Operation) -> Operation:
        saved = super().save(operation)
        self.due[operation.name] = operation.next_attempt_at
        return saved

    def remove(self, operation: Operation) -> None:
        super().remove(operation)
        self.due.pop(operation.name, None)

    def wake_up(self, operation: Operation | OpenOperation, delay_seconds: float = 0) -> None:
        chance = self._plan.chance.random()
        if chance < self._plan.message_lost:
            self._faults["message lost"] += 1
            return
        if chance < self._plan.message_lost + self._plan.message_doubled:
            self._faults["message doubled"] += 1
            super().wake_up(operation, delay_seconds)
        super().wake_up(operation, delay_seconds)


class World:
    """Context manager that starts everything. `messages` and `due` are the ledger's."""

    def __init__(self, directory: Path, plan: Plan, azurite: Azurite | None = None) -> None:
        self._directory, self._plan, self._azurite = directory, plan, azurite
        self.faults: Counter[str] = Counter()
        self.clock = SteppedClock(plan.begins.timestamp())
        self.life = Life(plan.chance)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            azurite = self._azurite or stack.enter_context(Azurite(self._directory / "azurite"))
            self.server = stack.enter_context(VaultServer(self._directory / "vault", clock=self.clock))
            known = _settings(azurite, self.server, self._plan)
            self._connect(stack, known)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def now(self) -> datetime:
        """The simulation's time (UTC)."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def set_clock(self, moment: datetime) -> None:
        """Move the clock forward and do what becomes due in Key Vault."""
        self.clock.set(moment.timestamp())
        lifecycle.run_due(self.server.vault)

    def work[T](self, risk: float, job: Callable[[], T]) -> T | None:
        """Run the job in a worker, which dies with the probability `risk`. Returns the result, or None if it died."""
        self.life.begin(risk)
        try:
            return job()
        except Killed:
            self.faults["worker killed"] += 1
            return None
        finally:
            self.life.end()

    def _connect(self, stack: ExitStack, known: setting_models.Settings) -> None:
        client = CertificateClient(
            self.server.url, Credential(self.server), connection_verify=str(self.server.ca_bundle), retry_total=0
        )
        stack.callback(client.close)
        vault = mortal(Vault(client), self.life, "create", "cancel", "delete_pending", "merge")
        prefix = "s" + uuid.uuid4().hex[:10]
        ledger = LossyLedger(Account(known.storage, None), prefix, self._plan, self.now, self.faults)
        self.messages, self.due = ledger.messages, ledger.due
        mortal(ledger, self.life, "insert", "save", "record", "remove", "wake_up")
        mortal(ledger.renewals, self.life, "save", "delete")
        mortal(ledger.limits, self.life, "reserve", "acquire", "release")
        self.authorities = {name: self._authority(known, name) for name in AUTHORITIES}

        def connector(name: str) -> Connector:
            return self.authorities[name]

        self.services = Services(
            known, ledger, lambda alias: vault, connector, self.now,
            random.Random(self._plan.seed), both=in_turn,  # noqa: S311 - jitter
        )  # fmt: skip

    def _authority(self, known: setting_models.Settings, name: str) -> SimulatedAuthority:
        authority = known.authorities[name]
        made = authority.connector_class(authority.connector_settings, Context(name, self.now, lambda: None))
        assert isinstance(made, SimulatedAuthority)
        made.chance, made.lost_answers = self._plan.chance, self._plan.answer_lost
        made.outages = self._plan.outages.get(name, ())
        return mortal(made, self.life, "submit", "collect")


def _settings(azurite: Azurite, server: VaultServer, plan: Plan) -> setting_models.Settings:
    classes = {"renewal-info": "RenewalInfoAuthority"}
    authorities = {
        name: {
            "connector": f"sandbox.simulation.authority:{classes.get(name, 'SimulatedAuthority')}",
            "fallback": list(plan.fallback.get(name, ())),
            **given,
        }
        for name, given in AUTHORITIES.items()
    }
    return settings.load(
        {
            "AzureWebJobsStorage": azurite.connection_string,
            "CERTRELAY_VAULTS": json.dumps({ALIAS: {"url": server.url}}),
            "CERTRELAY_AUTHORITIES": json.dumps(authorities),
        }
    )
