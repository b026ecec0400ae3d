"""What is lost with the tables, and what comes back from the vaults by itself (docs/operations.md)."""

from dataclasses import replace

import pytest

from certrelay.connectors.base import Pending
from certrelay.operations import listing
from certrelay.operations.listing import Filters
from certrelay.storage.ledger import Ledger
from certrelay.storage.operation import State
from certrelay.storage.tables import Account
from certrelay.watch import doctor, status, timers
from tests.world import ALIAS, DAY, World, create, made

pytestmark = pytest.mark.slow


def without_tables(world: World) -> World:
    """The same vault and authority, with all tables and queues empty."""
    prefix = world.prefix + "new"
    ledger = Ledger(Account(world.services.settings.storage, None), prefix)
    return replace(world, services=replace(world.services, storage=ledger))


def test_certificates_are_renewed_as_before_by_their_tags_in_the_vault(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    before = world.vault.get(name)
    restored = without_tables(world)
    restored.clock.advance(61 * DAY)
    assert timers.sweep(restored.services).started == [f"{ALIAS}/{name}"]
    assert restored.finish(name).state is State.COMPLETED
    after = restored.vault.get(name)
    assert before is not None
    assert after is not None
    assert after["tags"] == before["tags"]
    assert after["policy"]["x509_props"]["sans"] == before["policy"]["x509_props"]["sans"]
    assert len(restored.versions(name)) == 2
    assert len(listing.page(restored.services, Filters(), 50)[0]) == 1, "the history before is lost"


def test_a_pending_operation_is_adopted_by_the_same_request_and_makes_one_version(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    world.ca.answers = [Pending("order-1", retry_after=60)]
    create(world, name)
    world.advance(name)
    pending = world.vault.pending(name)
    world.ca.answers = []
    restored = without_tables(world)
    create(restored, name)
    assert restored.finish(name).state is State.COMPLETED
    assert pending is not None
    assert restored.services.storage.ended(ALIAS, name)[0].request_id == pending.request_id, "the key is the same"
    assert len(restored.versions(name)) == 1


def test_a_renewal_that_was_under_way_starts_anew_at_the_next_sweep(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    world.ca.answers = [Pending("order-1", retry_after=60)]
    timers.sweep(world.services)
    world.advance(name)
    world.ca.answers = []
    restored = without_tables(world)
    assert timers.sweep(restored.services).started == [f"{ALIAS}/{name}"]
    assert restored.finish(name).state is State.COMPLETED
    assert len(restored.versions(name)) == 2


def test_status_and_doctor_answer_with_empty_tables(lonely_world: World) -> None:
    found = status.read(without_tables(lonely_world).services)
    assert [run.ok for run in found.runs] == [None] * 5
    assert found.operations == {"open": 0, "failing": 0, "waiting": 0, "crowded": 0}
    wrong = [one.what for one in doctor.examine(without_tables(lonely_world).services) if not one.ok]
    assert wrong == ["notifications"], "nobody is told in this world"
