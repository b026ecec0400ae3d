"""An ACME connector whose standing records are looked up in the tests' DNS."""

from typing import Any

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import Context, StandingRecord
from tests.connectors.acme.clients import TestClock
from tests.connectors.acme.ordering import pem_of
from tests.connectors.acme.pebble import TestDns
from tests.connectors.acme.persist_server import ISSUER, PersistServer

PEBBLE_ISSUER = "pebble.letsencrypt.org"


class Site:
    """A connector to a server, by whose DNS the records are looked up; `memory` outlives it."""

    def __init__(self, server: Any, dns: TestDns, solver: Any = None, **settings: Any) -> None:
        self.server, self.dns, self.solver, self.settings = server, dns, solver, settings
        self.memory: dict[str, str] = {}
        self.clock = TestClock()

    def connect(self, **changes: Any) -> Acme:
        issuer = ISSUER if isinstance(self.server, PersistServer) else PEBBLE_ISSUER
        address = f"127.0.0.1:{self.dns.port}"
        persist = {"issuer": issuer, "resolvers": [address], "name_servers": [address]}
        defaults = {
            "url": self.server.directory,
            "ca_certificates": getattr(self.server, "tls_roots", None),
            "account_key_pem": pem_of("standing"),
            "dns_persist": {**persist, **changes.pop("persist", {})},
        }
        context = Context("acme", self.clock.now, lambda: None, memory=self.memory)
        return Acme(AcmeSettings(**{**defaults, **self.settings, **changes}), context, self.solver)

    def publish(self, record: StandingRecord) -> None:
        self.dns.tell("set-txt", host=f"{record.name}.", value=record.value)
