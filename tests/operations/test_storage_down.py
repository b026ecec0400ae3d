"""A storage account that is down: nothing is half-started, nothing is lost, and the next timer heals (check 14)."""

import re
from dataclasses import replace
from typing import Any

import pytest
from azure.core.pipeline.transport import HttpTransport

from certrelay.errors import NotReady
from certrelay.operations import find, reconcile
from certrelay.renewal import sweep
from certrelay.storage.ledger import Ledger
from certrelay.storage.operation import State
from certrelay.storage.tables import Account
from tests.world import ALIAS, DAY, World, create, made


@pytest.fixture
def down(world: World, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The world's ledger, in a storage account that refuses every connection; the SDK tries again at once."""
    monkeypatch.setattr(HttpTransport, "sleep", lambda *_: None)
    known = world.services.settings.storage["AzureWebJobsStorage"]
    closed = re.sub(r"(://[^:/]+):[0-9]+/", r"\1:9/", known)
    assert closed != known
    return Ledger(Account({"AzureWebJobsStorage": closed}, None), world.prefix)


def test_a_request_while_the_tables_are_down_starts_nothing_in_key_vault(world: World, down: Ledger) -> None:
    with pytest.raises(NotReady) as refused:
        create(replace(world, services=replace(world.services, storage=down)), world.name())
    assert refused.value.code == "StorageNotReady"
    assert world.vault.pending(world.name()) is None
    create(world, world.name())
    assert world.finish(world.name()).state is State.COMPLETED


def test_a_request_while_the_queue_is_down_is_taken_up_by_the_timer(
    world: World, down: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(world.services.storage, "_signing", down._signing)
        create(world, world.name())
        assert sweep.advance_due(world.services) == 1
    assert find.latest(world.services, ALIAS, world.name()).state is State.COMPLETED


@pytest.mark.parametrize("effect", ["create", "merge"])
def test_tables_that_go_down_after_an_effect_cost_no_version_and_double_none(
    world: World, down: Ledger, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    create(world, world.name())
    act = getattr(world.vault, effect)
    with monkeypatch.context() as patched:

        def act_and_lose_the_tables(*args: Any) -> Any:
            done = act(*args)
            patched.setattr(world.services.storage, "_operations", down._operations)
            return done

        patched.setattr(world.vault, effect, act_and_lose_the_tables)
        assert reconcile.advance(world.services, ALIAS, world.name()) is None, "that raises nothing"
    assert world.services.storage.open(ALIAS, world.name()) is not None
    world.outlive_lease()
    assert sweep.advance_due(world.services) == 1
    assert find.latest(world.services, ALIAS, world.name()).state is State.COMPLETED
    assert len(world.versions(world.name())) == len(world.ca.orders) == 1


def test_what_a_sweep_could_not_start_while_the_tables_were_down_the_next_one_starts(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = lonely_world
    names = [world.name(f"-{number}") for number in range(3)]
    for name in names:
        made(world, name, validity_days=30)
    world.clock.advance(25 * DAY)
    storage = world.services.storage
    insert = storage.insert

    def insert_one(operation: Any) -> Any:
        if operation.name != names[0]:
            raise NotReady("the storage account cannot be reached", code="StorageNotReady")
        return insert(operation)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "insert", insert_one)
        swept = sweep.sweep(world.services)
        assert (swept.started, len(swept.refused)) == ([f"{ALIAS}/{names[0]}"], 2)
    world.clock.advance(3700)
    assert sorted(sweep.sweep(world.services).started) == [f"{ALIAS}/{name}" for name in names[1:]]
