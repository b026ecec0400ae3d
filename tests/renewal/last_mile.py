"""A certificate whose endpoint is a TLS server on loopback, and what the sweep says of it."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from certrelay.certificates import import_file
from certrelay.certificates.import_file import ImportCommand
from certrelay.renewal import sweep
from certrelay.services import Services
from certrelay.setting_models import EndpointRule
from certrelay.storage.endpoint_record import EndpointRecord
from tests.notifications.receiver import delivered, listening
from tests.renewal.servers import Served, Server, context, tls
from tests.world import ALIAS, World

HOUR = 3600
LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass
class Estate:
    """A world with one certificate, whose endpoint is a TLS server on loopback."""

    world: World
    server: Server
    got: list[Any]
    name: str

    @property
    def services(self) -> Services:
        return self.world.services

    @property
    def endpoint(self) -> str:
        return str(self.server.endpoint)

    def made(self, days: float = 90, version: int = 3) -> Served:
        return Served(ends=self.services.now() + timedelta(days=days), version=version)

    def put(self, served: Served, endpoint: str | None = None) -> None:
        """Import a version."""
        command = ImportCommand(served.pem.decode(), tags={"certrelay-endpoint": endpoint or self.endpoint})
        import_file.import_certificate(self.services, ALIAS, self.name, command, requested_by="test")

    def serve(self, *served: Served) -> None:
        self.server.context = context(*served)

    def swept(self, hours: float = 0) -> str:
        """The state after a sweep, so many hours later."""
        self.world.clock.advance(hours * HOUR)
        [found] = sweep.sweep(self.services).endpoints
        return found

    def told(self) -> list[Any]:
        """The events since the last call."""
        while delivered(self.world):
            pass
        found = [json.loads(body) for _, body in self.got]
        self.got.clear()
        return [event for event in found if kinds([event])[0] in ("not-deployed", "recovered")]

    def record(self) -> EndpointRecord:
        return self.services.storage.renewals.endpoints(ALIAS, [self.name])[self.name]


@contextlib.contextmanager
def served_by_a_server(world: World, receiver: Any) -> Iterator[Estate]:
    """The world with a certificate whose endpoint serves it, which may be looked at; `receiver` hears of everything."""
    url, got, _ = receiver
    world = listening(world, url)
    served = Served(ends=world.services.now() + timedelta(days=30))
    with tls(context(served)) as server:
        allowing(world, {"pattern": str(server.endpoint), "networks": LOOPBACK})
        made = Estate(world, server, got, world.name())
        made.put(served)
        yield made


def allowing(world: World, *rules: dict[str, Any]) -> None:
    """Let the world's setting have these patterns."""
    settings = replace(world.services.settings, endpoints=tuple(EndpointRule.model_validate(rule) for rule in rules))
    world.services = replace(world.services, settings=settings)


def kinds(events: list[Any]) -> list[str]:
    return [event["type"].rsplit(".", 1)[-1] for event in events]
