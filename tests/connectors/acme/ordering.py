"""Connectors of the ACME tests, the orders that they place, and what these end with."""

import time
import uuid
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import Connector, Issued, Outcome, Pending
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.acme_proxy import AcmeProxy, Answer
from tests.connectors.acme.pebble import Pebble, TestDns
from tests.connectors.answers import leaf_of
from tests.connectors.conformance import context
from tests.connectors.signing_requests import private_key, signing_request

HMAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def pem(key: Any) -> SecretStr:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return SecretStr(key.private_bytes(encoding, form, serialization.NoEncryption()).decode())


def pem_of(owner: str) -> SecretStr:
    return pem(private_key("ec-256", owner))


class TestSolver:
    """Sets records over challtestsrv's HTTP interface, and remembers what is set."""

    __test__ = False

    def __init__(self, dns: TestDns) -> None:
        self.dns, self.looks = dns, 0
        self.records: set[tuple[str, str]] = set()

    def publish(self, name: str, value: str) -> None:
        if (name, value) not in self.records:
            self.dns.tell("set-txt", host=f"{name}.", value=value)
            self.records.add((name, value))

    def is_visible(self, name: str, value: str) -> bool:
        self.looks += 1
        return (name, value) in self.records

    def remove(self, name: str, value: str) -> None:
        self.records.discard((name, value))
        if not any(known == name for known, _ in self.records):
            self.dns.tell("clear-txt", host=f"{name}.")


def acme(pebble: Pebble | AcmeProxy, solver: TestSolver | None = None, **settings: Any) -> Acme:
    defaults = {"url": pebble.directory, "ca_certificates": pebble.tls_roots, "account_key_pem": pem_of("account")}
    return Acme(AcmeSettings(**{**defaults, **settings}), context("acme"), solver)


def follow(connector: Connector, request: Any, outcome: Outcome | None = None, pause: float = 0.05) -> Outcome:
    """What the order ends with, each Pending followed up soon, after `pause` seconds."""
    outcome, end = outcome or connector.submit(request), time.monotonic() + 300
    while isinstance(outcome, Pending) and time.monotonic() < end:
        time.sleep(pause)
        outcome = connector.collect(request, outcome.reference)
    return outcome


def request_for(*names: str, **changes: Any) -> Any:
    return signing_request(SubjectNames(names[0], names), private_key(), **changes)


def leaf_for(connector: Acme, name: str, **changes: Any) -> x509.Certificate:
    request = request_for(name, **changes)
    outcome = follow(connector, request)
    assert isinstance(outcome, Issued), outcome
    return leaf_of(outcome.answer, request)


def known_leaf_for(connector: Acme, name: str) -> x509.Certificate:
    """A leaf that pebble finds again: not one in 256, whose serial number begins with a zero octet."""
    while (leaf := leaf_for(connector, name)).serial_number.bit_length() % 8 == 0:
        pass
    return leaf


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def with_a_record(connector: Acme, solver: TestSolver, request: Any) -> Pending:
    """An order that waits for its record to be seen."""
    solver.is_visible = lambda name, value: False  # type: ignore[method-assign]
    outcome = connector.submit(request)
    for _ in range(2):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    assert len(solver.records) == len(request.names.dns_names)
    return outcome


def follow_some(connector: Acme, request: Any, calls: int) -> Outcome:
    outcome = connector.submit(request)
    for _ in range(calls):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    return outcome


def fresh_name() -> str:
    """A name that has no valid authorization yet."""
    return f"h{uuid.uuid4().hex[:10]}.example.com"


def once(path: str, change: Callable[[Answer], None], after: int = 0) -> Callable[[Answer], None]:
    """`change` for one answer to a path that holds `path`, after so many that are left as they are."""
    seen: list[str] = []

    def maybe(answer: Answer) -> None:
        if path in answer.path:
            seen.append(answer.path)
            if len(seen) == after + 1:
                change(answer)

    return maybe
