"""Requests with an Idempotency-Key that find an operation of somebody else's open: they have joined it."""

import pytest

from certrelay.certificates import create as creations
from certrelay.errors import Conflict, NameBusy
from certrelay.operations import find, listing
from certrelay.operations.listing import Filters
from certrelay.operations.submit import Origin
from certrelay.renewal import renew, replacement_run, replacements
from certrelay.renewal.replacements import Criteria
from certrelay.storage.operation import Operation, State
from certrelay.storage.rows import Row
from tests.operations.creations import asked
from tests.world import ALIAS, Killed, World, made

pytestmark = pytest.mark.slow


def create(world: World, name: str, key: str | None, **changes: object) -> Operation:
    wanted = asked("joined", **changes)
    return creations.create(world.services, ALIAS, name, wanted, requested_by="t", idempotency_key=key)


def renewed(world: World, name: str, key: str | None) -> Operation:
    return renew.renew(world.services, ALIAS, name, Origin(requested_by="t", idempotency_key=key))


@pytest.mark.parametrize("first_key", [None, "first"])
def test_a_creation_that_joined_another_one_is_repeated_without_a_second_version(
    world: World, first_key: str | None
) -> None:
    name = world.name()
    first = create(world, name, first_key)
    assert create(world, name, "second").id == first.id
    assert create(world, name, "second").id == first.id, "while it is open"
    world.finish(name)
    assert create(world, name.upper(), "second").id == first.id
    assert len(world.versions(name)) == 1
    with pytest.raises(Conflict, match="different operation"):
        create(world, name, "second", dns_names=("other.contoso.example",))
    assert create(world, name, "third").id != first.id


def test_a_renewal_that_joined_another_one_is_repeated_without_a_second_version(world: World) -> None:
    name = world.name()
    made(world, name)
    first = renewed(world, name, None)
    assert renewed(world, name, "second").id == first.id
    world.finish(name)
    assert renewed(world, name, "second").id == first.id
    assert len(world.versions(name)) == 2


def end_unclosed(world: World, name: str, state: State) -> None:
    """The row of an ended operation stays until its end is told."""
    operation = world.services.storage.open(ALIAS, name)
    assert operation is not None
    world.services.storage.save(operation.moved(state, world.services.now()))


@pytest.mark.parametrize("state", [State.CANCELED, State.FAILED, State.COMPLETED])
def test_a_new_key_joins_no_operation_that_has_ended_and_one_that_has_joined_finds_it(
    world: World, state: State
) -> None:
    name = world.name()
    first = create(world, name, "first")
    create(world, name, "second")
    end_unclosed(world, name, state)
    assert create(world, name, "first").id == create(world, name, "second").id == first.id
    assert create(world, name, None).id == first.id
    with pytest.raises(NameBusy, match="has just ended; try again"):
        create(world, name, "third")
    world.finish(name)
    assert create(world, name, "second").id == first.id
    assert create(world, name, "third").id != first.id


def test_a_renewal_that_was_joined_is_found_while_it_is_closed(world: World) -> None:
    name = world.name()
    made(world, name)
    first = renewed(world, name, None)
    renewed(world, name, "second")
    end_unclosed(world, name, State.CANCELED)
    assert renewed(world, name, "second").id == first.id
    for key in (None, "third"):
        with pytest.raises(NameBusy, match="has just ended; try again"):
            renewed(world, name, key)
    world.finish(name)
    assert renewed(world, name, "second").id == first.id
    assert renewed(world, name, "third").id != first.id


def test_who_joined_is_in_no_list_and_no_history(world: World) -> None:
    name = world.name()
    first = create(world, name, None)
    create(world, name, "second")
    world.finish(name)
    assert [one.id for one in world.services.storage.ended(ALIAS, name)] == [first.id]
    assert [one.id for one in listing.page(world.services, Filters(), 10)[0]] == [first.id]
    assert find.by_id(world.services, first.id).state is State.COMPLETED


def test_a_replacement_that_joined_a_renewal_and_died_renews_nothing_twice(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lonely_world
    made(world, name := world.name())
    renewed(world, name, None)
    job = replacements.start(world.services, Criteria(authority="test-ca"), "test")
    table = world.services.storage.replacements

    def deadly(row: Row) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(table, "upsert", deadly)
        with pytest.raises(Killed):
            replacement_run.advance_all(world.services)
    world.finish(name)
    for _ in range(2):
        replacement_run.advance_all(world.services)
    assert replacements.progress(world.services, job.id) == {"matched": 1, "completed": 1}
    assert len(world.versions(name)) == 2


def test_an_operation_of_ones_own_key_is_never_hidden_by_having_joined(world: World) -> None:
    """Two requests with one key at once: one joins, and the other opens an operation when the first has ended."""
    name = world.name()
    first = create(world, name, None)
    world.finish(name)
    own = create(world, name, "second")
    ended = world.finish(name)
    world.services.storage.note_joined(first, own.id)
    found = world.services.storage.ended_with(ALIAS, name, own.id)
    assert found is not None
    assert (found.id, found.state) == (own.id, ended.state)
