"""The digest counts everything."""

from typing import Any

from certrelay.connectors.base import Rejected
from certrelay.renewal import digest, sweep
from tests.notifications.receiver import delivered, listening
from tests.world import DAY, World, made


def test_the_digest_counts_no_failure_of_a_certificate_that_is_gone(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    world.ca.answers = [Rejected("closed")]
    sweep.sweep(world.services)
    world.finish(name)
    assert digest.send_digest(world.services)["renewals_failing"] == 1
    world.vault.call("DELETE", f"/certificates/{name}")  # not by us
    assert digest.send_digest(world.services)["renewals_failing"] == 0


def test_the_digest_counts_everything(lonely_world: World, receiver: Any) -> None:
    url, got, _ = receiver
    world = listening(lonely_world, url)
    made(world, world.name("-1"))
    made(world, world.name("-2"), authority=None)
    counted = digest.send_digest(world.services)
    assert counted == {
        "certificates": 2, "managed": 1, "due_within_a_week": 0, "expiring": 0, "expired": 0,
        "operations_open": 0, "renewals_failing": 0,
    }  # fmt: skip
    delivered(world)
    assert "digest" in got[-1][1].decode()
