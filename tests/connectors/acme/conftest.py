"""Pebble, the DNS that it asks, and what stands before it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.acme.acme_proxy import AcmeProxy
from tests.connectors.acme.dns.bind import Bind
from tests.connectors.acme.ordering import TestSolver
from tests.connectors.acme.pebble import Pebble, TestDns
from tests.connectors.debian import CannotFetch


@pytest.fixture(scope="session")
def dns() -> Iterator[TestDns]:
    try:
        server = TestDns()
    except CannotFetch as reason:
        pytest.skip(f"pebble cannot be had: {reason}")
    with server:
        yield server


@pytest.fixture
def solver(dns: TestDns) -> TestSolver:
    return TestSolver(dns)


@pytest.fixture(scope="module")
def pebble(dns: TestDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), dns.port, PEBBLE_ALTERNATE_ROOTS="2") as running:
        yield running


@pytest.fixture
def start(dns: TestDns, tmp_path: Path) -> Iterator[Callable[..., Pebble]]:
    """Starts a pebble of the test's own."""
    running: list[Pebble] = []

    def begin(settings: dict[str, Any] | None = None, **knobs: str) -> Pebble:
        running.append(Pebble(tmp_path / str(len(running)), dns.port, settings, **knobs))
        return running[-1].__enter__()

    yield begin
    for server in running:
        server.__exit__()


@pytest.fixture
def proxy(pebble: Pebble) -> Iterator[AcmeProxy]:
    with AcmeProxy(pebble) as running:
        yield running


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    try:
        server = Bind(tmp_path_factory.mktemp("bind"))
    except CannotFetch as reason:
        pytest.skip(f"BIND cannot be had: {reason}")
    with server:
        yield server
