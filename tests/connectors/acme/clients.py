"""Connectors of the ACME tests, on a clock that the test moves."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import Context, Outcome, Pending
from tests.connectors.acme.ordering import pem_of


class TestClock:
    """The time (UTC), which stands still until it is moved."""

    __test__ = False

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def now(self) -> datetime:
        return self.time

    def advance(self, **parts: float) -> None:
        self.time += timedelta(**parts)


def connect(server: Any, solver: Any = None, clock: Any = None, **settings: Any) -> Acme:
    """A new connector, as after a restart. `server` has `directory` and perhaps `tls_roots`; `clock` has `now`."""
    roots = getattr(server, "tls_roots", None)
    defaults = {"url": server.directory, "ca_certificates": roots, "account_key_pem": pem_of("account")}
    now = clock.now if clock else lambda: datetime.now(UTC)
    context = Context("acme", now, lambda: None)
    return Acme(AcmeSettings(**{**defaults, **settings}), context, solver)


def follow(connector: Acme, request: Any, outcome: Outcome | None = None) -> Outcome:
    """What the order ends with, or the first Pending that asks to wait for a minute or more."""
    outcome, end = outcome or connector.submit(request), time.monotonic() + 300
    while isinstance(outcome, Pending) and outcome.retry_after < 60 and time.monotonic() < end:
        time.sleep(0.01)
        outcome = connector.collect(request, outcome.reference)
    return outcome
