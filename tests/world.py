"""The world of the tests: the sandbox vault, Azurite, a CA of the tests' own, a clock; and sudden death."""

import functools
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrelay import redaction, services, settings
from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import (
    Connector,
    ConnectorSettings,
    Context,
    Feature,
    Issued,
    Outcome,
    Pending,
    RevocationReason,
    SigningRequest,
)
from certrelay.errors import NotReady
from certrelay.keyvault import client
from certrelay.keyvault.client import Vault
from certrelay.operations import lease, reconcile
from certrelay.services import Services
from certrelay.setting_models import VaultSettings
from certrelay.storage.ledger import Ledger
from certrelay.storage.operation import Operation
from certrelay.storage.tables import Account
from sandbox.azurite import Azurite
from sandbox.clock import Clock
from sandbox.simulation.world import in_turn
from sandbox.vault import VaultServer
from sandbox.vault.seed import Seed, seed

ALIAS = "main"
KEY = {"key_props": {"kty": "EC", "crv": "P-256"}}
DAY = 86_400


class Killed(BaseException):
    """The process is gone: nothing but recovery may catch this."""


@dataclass
class Life:
    """Counts effects and ends at the chosen ones: (number, "before" | "after")."""

    deaths: set[tuple[int, str]] = field(default_factory=set)
    effects: list[str] = field(default_factory=list)

    def live(self, name: str, effect: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number = len(self.effects)
        self.effects.append(name)
        if (number, "before") in self.deaths:
            raise Killed(f"before {name}")
        result = effect(*args, **kwargs)
        if (number, "after") in self.deaths:
            raise Killed(f"after {name}")
        return result


def mortal(thing: Any, life: Life, *effects: str) -> Any:
    """`thing` whose named effects are counted, and may be the last."""

    def wrapped(name: str) -> Callable[..., Any]:
        original = getattr(thing, name)
        return lambda *args, **kwargs: life.live(f"{type(thing).__name__}.{name}", original, *args, **kwargs)

    for name in effects:
        setattr(thing, name, wrapped(name))
    return thing


class TestCaSettings(ConnectorSettings):
    pass


class TestCa:
    """A CA in the test's process, which signs for real. Finds an earlier order by its operation id.

    `wait` looks pass before it issues; `answers` (outcomes or exceptions) come first; `issue` may be replaced."""

    __test__ = False
    Settings: ClassVar[type[ConnectorSettings]] = TestCaSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def __init__(self, settings: Any, context: Context) -> None:
        self.context, self.now = context, context.now
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.self_signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")]))
        self.wait = 0
        self.orders: dict[str, int] = {}
        self.answers: list[Outcome | Exception] = []
        self.issue: Callable[[SigningRequest], bytes] = self.signed
        self.seen: list[SigningRequest] = []
        self.canceled: list[str] = []
        self.revoked: list[tuple[bytes, RevocationReason]] = []

    def submit(self, request: SigningRequest) -> Outcome:
        self.seen.append(request)
        if self.answers:
            return self._scripted()
        self.orders.setdefault(request.operation_id, 0)
        return self._look(request)

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        if self.answers:
            return self._scripted()
        assert reference == request.operation_id
        return self._look(request)

    def cancel(self, reference: str) -> None:
        self.canceled.append(reference)

    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        self.revoked.append((certificate, reason))

    def signed(self, request: SigningRequest, **changes: Any) -> bytes:
        csr = x509.load_der_x509_csr(request.csr)
        begins = changes.get("begins", self.now() - timedelta(minutes=1))
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(self.certificate.subject)
            .public_key(changes.get("public_key", csr.public_key()))
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(changes.get("ends", request.not_after))
        )
        replaced = {value.oid: value for value in changes.get("replaced", ())}
        for extension in csr.extensions:
            builder = builder.add_extension(replaced.get(extension.oid, extension.value), extension.critical)
        leaf = builder.sign(self.key, hashes.SHA256())
        return leaf.public_bytes(Encoding.PEM) + self.certificate.public_bytes(Encoding.PEM)

    def _scripted(self) -> Outcome:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _look(self, request: SigningRequest) -> Outcome:
        self.orders[request.operation_id] += 1
        if self.orders[request.operation_id] <= self.wait:
            return Pending(request.operation_id, retry_after=5)
        return Issued(self.issue(request))

    def self_signed(self, name: x509.Name) -> x509.Certificate:
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(self.now() - timedelta(days=1)).not_valid_after(
            self.now() + timedelta(days=3650)
        )
        return builder.add_extension(constraints, critical=True).sign(self.key, hashes.SHA256())


@dataclass
class World:
    """One test's world: its own tables and queue, names of its own, the shared vault."""

    services: Services
    clock: Clock
    server: VaultServer
    ca: TestCa
    prefix: str

    @property
    def vault(self) -> Vault:
        return self.services.vault(ALIAS)

    def name(self, suffix: str = "") -> str:
        return f"{self.prefix}{suffix}"

    def advance(self, name: str, times: int = 1) -> Operation | None:
        """Advance as the queue would, with the clock moved to when it is due."""
        result = None
        for _ in range(times):
            operation = self.services.storage.open(ALIAS, name)
            if operation is None:
                return result
            result = self._advance(operation)
        return result

    def finish(self, name: str) -> Operation:
        """Advance until the operation has ended."""
        operation = self.services.storage.open(ALIAS, name)
        for _ in range(60):
            if operation is None:
                return self.services.storage.ended(ALIAS, name)[0]
            operation = self._advance(operation) or self.services.storage.open(ALIAS, name)
            if operation and not operation.etag:  # its row is gone
                return operation
        raise AssertionError(f"{name} does not end: {operation}")

    def _advance(self, operation: Operation) -> Operation | None:
        wait = (operation.next_attempt_at - self.services.now()).total_seconds()
        if wait > 0:
            self.clock.advance(wait + 0.001)
        return reconcile.advance(self.services, ALIAS, operation.name)

    def outlive_lease(self) -> None:
        self.clock.advance(lease.LEASE.total_seconds() + 1)

    def versions(self, name: str) -> list[str]:
        return [str(item["id"]) for item in self.vault.versions(name)]

    def mortal(self, life: Life) -> Services:
        """The same world for a process that dies where `life` says."""
        ledger = Ledger(_account(self.services.settings.storage["AzureWebJobsStorage"]), self.prefix)
        mortal(ledger, life, "insert", "save", "record", "remove", "wake_up")
        mortal(ledger.renewals, life, "save", "begin", "delete")
        mortal(ledger.owners, life, "insert", "replace")
        mortal(ledger.limits, life, "acquire", "release")
        doomed_vault = mortal(
            Vault(self.vault._client), life, "create", "cancel", "delete_pending", "merge", "import_certificate"
        )

        def connector(name: str) -> Connector:
            return _MortalConnector(self.services.connector(name), life)

        return replace(self.services, storage=ledger, vault=lambda alias: doomed_vault, connector=connector)


class _MortalConnector:
    Settings: ClassVar[type[ConnectorSettings]] = ConnectorSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def __init__(self, settings: Any, context: Any) -> None:
        self._connector, self._life = settings, context

    def submit(self, request: SigningRequest) -> Outcome:
        outcome: Outcome = self._life.live("submit", self._connector.submit, request)
        return outcome

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        outcome: Outcome = self._life.live("collect", self._connector.collect, request, reference)
        return outcome

    def cancel(self, reference: str) -> None:
        self._life.live("cancel", self._connector.cancel, reference)


@functools.lru_cache(maxsize=1)
def _account(connection_string: str) -> Account:
    """One for all tests: their tables differ. Clients and connections take as long as the first requests.

    The tables and queues of a world are made once, for all lives of its process."""
    account = Account({"AzureWebJobsStorage": connection_string}, None)
    account.table = functools.lru_cache(account.table)  # type: ignore[method-assign]
    account.queue = functools.lru_cache(account.queue)  # type: ignore[method-assign]
    return account


_clients: WeakKeyDictionary[VaultServer, CertificateClient] = WeakKeyDictionary()


def _vault(server: VaultServer) -> Vault:
    """The server's vault, for one test; the connections to it, and the token, are shared."""
    if server not in _clients:
        _clients[server] = client.connect(server.url, ManagedIdentityCredential())._client
    return Vault(_clients[server])


def make_world(server: VaultServer, azurite: Azurite, clock: Clock, authorities: str = "", **environment: str) -> World:
    """A world with the authority `test-ca` and whatever `authorities` (JSON members) adds."""
    prefix = "t" + uuid.uuid4().hex[:10]
    found = settings.load(
        {
            "AzureWebJobsStorage": azurite.connection_string,
            "CERTRELAY_VAULTS": f'{{"{ALIAS}": {{"url": "{server.url}"}}}}',
            "CERTRELAY_AUTHORITIES": '{"test-ca": {"connector": "tests.world:TestCa"}' + authorities + "}",
            **environment,
        }
    )

    def now() -> datetime:
        return datetime.fromtimestamp(clock.now(), UTC)

    redaction.protect(found.secrets())
    ledger, vault = Ledger(_account(azurite.connection_string), prefix), _vault(server)
    context = Context("test-ca", now, lambda: None)
    ca = TestCa(TestCaSettings(), context)
    others = functools.cache(lambda: services.connect(found, now))

    def connector(name: str) -> Connector:
        return ca if name == "test-ca" else others().connector(name)

    made = Services(found, ledger, lambda alias: vault, connector, now, random.Random(7), both=in_turn)
    return World(made, clock, server, ca, prefix)


def create(world: World, name: str, **changes: object) -> Operation:
    return _create(world, name, changes)


def _create(world: World, name: str, changes: Mapping[str, object], hold: bool = False) -> Operation:
    asked = CertificateSpec(
        authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY, tags={"team": "web"}
    )
    spec = replace(asked, **changes)  # type: ignore[arg-type]
    return creations.create(world.services, ALIAS, name, spec, requested_by="test", hold=hold)


def made(world: World, name: str, **changes: object) -> Operation:
    """A creation that has ended. Its caller takes the steps, as one who waits does: that costs the fewest requests."""
    opened = _create(world, name, changes, hold=True)
    ended = reconcile.go_on(world.services, opened) if opened.lease_id else None
    return ended if ended and not ended.etag else world.finish(name)


def seeded(world: World, count: int, suffix: str = "", months: int = 3) -> list[str]:
    """The names of managed certificates that are put into the vault, which takes no request."""
    prefix = world.name(suffix)
    seed(world.server.vault, Seed(count, prefix, validity_months=months, tags={"certrelay-authority": "test-ca"}))
    return [f"{prefix}-{number:05}" for number in range(count)]


def out_of_order(_text: str, _delay_seconds: float = 0) -> None:
    """A queue's `send`, while it is down."""
    raise NotReady("out of order", code="StorageNotReady")


def configured(world: World, **changes: Any) -> World:
    """The world with other settings of its authority."""
    known = world.services.settings.authorities["test-ca"]
    authority = replace(known, settings=known.settings.model_copy(update=changes))
    settings = replace(world.services.settings, authorities={"test-ca": authority})
    return replace(world, services=replace(world.services, settings=settings))


def vault_that_fails(world: World, fails: Callable[[str, str], bool]) -> Vault:
    """The world's vault, not ready for the requests (method, path) that `fails` says."""
    vault = client.connect(world.server.url, ManagedIdentityCredential())
    ask = vault.call

    def call(method: str, path: str, *args: Any, **query: Any) -> dict[str, Any]:
        if fails(method, path):
            raise NotReady("out of order")
        return ask(method, path, *args, **query)

    vault.call = call  # type: ignore[method-assign]
    return vault


def with_vaults(world: World, batch: int, **vaults: Vault) -> Services:
    known = world.services.settings.vaults[ALIAS]
    known_vaults: Mapping[str, VaultSettings] = dict.fromkeys(vaults, known)
    settings = replace(world.services.settings, vaults=known_vaults, renewal_batch=batch)
    return replace(world.services, settings=settings, vault=vaults.__getitem__)


def run_to_the_end(world: World, name: str, life: Life, start: Callable[[Services], Operation]) -> None:
    """Start and advance in a process that dies as `life` says, and again after each death."""
    doomed = world.mortal(life)
    for _ in range(100):
        try:
            if start(doomed).state.ended and doomed.storage.open(ALIAS, name) is None:
                return
            reconcile.advance(doomed, ALIAS, name)
            world.clock.advance(6)
        except Killed:
            world.outlive_lease()
    raise AssertionError(f"{name} never ended: {world.services.storage.open(ALIAS, name)}")
