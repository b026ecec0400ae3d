"""An ACME server goes down in the middle of an order: another authority signs, and no record is left in the zone."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.connectors.acme.acme_proxy import Answer
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver, Request
from tests.connectors.acme.clients import connect
from tests.operations.creations import create, row
from tests.operations.fallbacks import FIRST, SECOND, signer, with_fallbacks
from tests.world import World


class Unseen(MemorySolver):
    """Records that take long to be visible."""

    def is_visible(self, name: str, value: str) -> bool:
        return False


def closed(request: Request, answer: Answer) -> None:
    """Maintenance for a day."""
    answer.refuse("serverInternal", 503)
    answer.headers["Retry-After"] = "86400"


@pytest.mark.slow
def test_the_records_of_an_order_are_removed_before_another_authority_is_asked(world: World) -> None:
    world, authorities = with_fallbacks(world, first={"fallback": (SECOND,)})
    name, solver = world.name(), Unseen()
    with AcmeServer() as server:
        acme = connect(server, solver, SimpleNamespace(now=world.services.now))
        services = replace(world.services, connector=lambda key: acme if key == FIRST else authorities[key])
        world = replace(world, services=services)
        create(world, name)
        while not solver.records:
            world.advance(name)
        server.change = closed
        while (changed := row(world, name)).authority == FIRST:  # at first by what the server has said before
            world.advance(name)
    assert changed.authority == SECOND
    assert (solver.records, authorities[SECOND].asked) == (set(), [])
    assert signer(authorities, world.finish(name)) == SECOND
    assert len(server.orders) == 1
    assert server.orders[0].certificate is None
