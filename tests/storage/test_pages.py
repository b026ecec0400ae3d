"""Continuations: sealed for their holders, the same for all hosts, and after restarts."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from certrelay.errors import Invalid, NotReady
from certrelay.storage.ledger import Ledger
from certrelay.storage.pages import PARTITION, ROW, Continuations
from certrelay.storage.tables import Account
from tests.world import World


def another_host(world: World) -> Continuations:
    return Ledger(Account(world.services.settings.storage, None), world.prefix).continuations


def test_a_continuation_is_read_by_every_host_and_says_nothing_to_its_holder(world: World) -> None:
    sealed = world.services.storage.continuations.seal("a list", ["/certificates?x=secret-name", 3])
    assert another_host(world).open("a list", sealed) == ["/certificates?x=secret-name", 3]
    assert b"secret-name" not in base64.urlsafe_b64decode(sealed)
    short, long = (world.services.storage.continuations.seal("a list", ["n" * count, 3]) for count in (1, 600))
    assert len(short) == len(long)
    assert short != world.services.storage.continuations.seal("a list", ["n", 3])


def test_hosts_that_need_the_first_key_at_once_agree_on_one(world: World) -> None:
    hosts = [another_host(world) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        sealed = list(pool.map(lambda host: host.seal("a list", 1), hosts))
    assert [host.open("a list", one) for host in hosts for one in sealed] == [1] * 36


def test_a_key_that_was_deleted_is_made_again_and_older_continuations_are_refused(world: World) -> None:
    continuations = world.services.storage.continuations
    sealed = continuations.seal("a list", 1)
    continuations._table.delete(PARTITION, ROW)
    with pytest.raises(Invalid, match="must be the continuation of an earlier response"):
        another_host(world).open("a list", sealed)
    again = continuations.seal("a list", 2)
    assert another_host(world).open("a list", again) == 2


def test_a_key_that_somebody_spoiled_says_which_row_to_delete(world: World) -> None:
    continuations = world.services.storage.continuations
    for value in ("", "x", "a" * 44, 7):
        continuations._table.upsert({"PartitionKey": PARTITION, "RowKey": ROW, "value": value})
        with pytest.raises(NotReady, match="table keys cannot be read: PartitionKey continuations, RowKey key"):
            continuations.seal("a list", 1)


def test_a_continuation_of_another_list_is_refused(world: World) -> None:
    continuations = world.services.storage.continuations
    for position in (
        ["gone", None],
        ["open", ["a"]],
        ["open", [1, 2]],
        ["open", ["a", "b" * 5000]],
        7,
        [],
        ["open", 7],
    ):
        with pytest.raises(Invalid):
            continuations.open_row("a list", continuations.seal("a list", position), ("open", "ended"))
    for text in ("%%%", "", "\u00e9", "\ud800", continuations.seal("another list", ["open", None])):
        with pytest.raises(Invalid):
            continuations.open_row("a list", text, ("open", "ended"))
