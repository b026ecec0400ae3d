"""Orders that an authority lost or failed: the connector is told how many there were, and decides how long to go on."""

from certrelay.connectors.base import Pending, Rejected, Unavailable
from certrelay.storage.operation import State
from tests.world import World, create


def test_a_connector_knows_how_many_orders_of_the_operation_were_lost(world: World) -> None:
    name, lost = world.name(), Unavailable("the look-up failed", 600.0, restart=True)
    world.ca.answers = [Pending("1", 0), lost, Pending("2", 0), lost, Pending("3", 0), Rejected("the look-up failed")]
    create(world, name)
    begun = world.services.now()
    ended = world.finish(name)
    assert [request.lost_orders for request in world.ca.seen] == [0, 1, 2]
    assert ended.state is State.FAILED
    assert (world.services.now() - begun).total_seconds() >= 1200
    assert [one.detail for one in ended.transitions].count("the look-up failed") == 3
