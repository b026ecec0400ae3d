"""All operations, open and ended, in pages; filters that are checked."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certrelay.connectors.base import Rejected, Unavailable
from certrelay.errors import Invalid, NotFound
from certrelay.operations import listing
from certrelay.operations.listing import Filters
from certrelay.renewal import replacements
from certrelay.renewal.replacements import Criteria
from tests.world import ALIAS, World, create, made, with_vaults

pytestmark = pytest.mark.slow


def names(world: World, filters: Filters, limit: int = 100) -> list[str]:
    """The names of all pages, with the number of pages bounded."""
    found: list[str] = []
    after: str | None = None
    for _ in range(50):
        operations, after = listing.page(world.services, filters, limit, after)
        assert len(operations) <= limit
        found += [operation.name.removeprefix(world.prefix) for operation in operations]
        if after is None:
            return found
    raise AssertionError("the list does not end")


def test_open_and_ended_operations_are_listed_in_pages_and_by_every_filter(world: World) -> None:
    begun = world.services.now()
    made(world, world.name("-a"))
    world.ca.answers = [Rejected("no")]
    made(world, world.name("-b"))
    world.clock.advance(3600)
    world.ca.answers = [Unavailable("down")]
    create(world, world.name("-c"))
    world.advance(world.name("-c"))
    create(world, world.name("-d"))
    later = world.services.now() - timedelta(minutes=1)
    expected = {
        Filters(): ["-c", "-d", "-a", "-b"],
        Filters(state="open"): ["-c", "-d"],
        Filters(state="requested"): ["-d"],
        Filters(state="failing"): ["-c"],
        Filters(state="crowded"): [],
        Filters(state="completed"): ["-a"],
        Filters(state="failed"): ["-b"],
        Filters(vault=ALIAS, state="failed"): ["-b"],
        Filters(authority="test-ca", since=later): ["-c", "-d"],
        Filters(authority="another"): [],
        Filters(since=begun): ["-c", "-d", "-a", "-b"],
        Filters(since=begun + timedelta(days=1)): [],
        Filters(name=world.prefix): ["-c", "-d", "-a", "-b"],
        Filters(name=f"{world.prefix.upper()}-B"): ["-b"],
        Filters(name=f"{world.prefix}-a", vault=ALIAS): ["-a"],
        Filters(name=f"{world.prefix}-c", state="failing"): ["-c"],
        Filters(name=f"{world.prefix}-a", state="failing"): [],
        Filters(name=world.prefix, since=later): ["-c", "-d"],
        Filters(name=f"{world.prefix}-aa"): [],
        Filters(name=world.prefix[1:]): [],
        Filters(name="{"): [],
    }
    for filters, found in expected.items():
        for limit in (1, 3, 100):
            assert names(world, filters, limit) == found, filters


def test_a_vault_whose_alias_begins_as_anothers_is_not_in_its_list(world: World) -> None:
    made(world, world.name())
    services = with_vaults(world, 10, **{ALIAS: world.vault, "mai": world.vault, "main-2": world.vault})
    other = replace(world, services=services)
    for name in (None, world.prefix):
        found = [names(other, Filters(vault=alias, name=name)) for alias in (ALIAS, "mai", "main-2")]
        assert found == [[""], [], []]
    for limit in (1, 100):
        assert names(other, Filters(name=world.prefix), limit) == [""], "of all vaults"
    with pytest.raises(NotFound, match="there is no vault 'gone'"):
        listing.page(services, Filters(vault="gone"), 5)


@pytest.mark.parametrize("position", [["gone", None], ["open", ["a"]], ["open", [1, 2]], 7, []])
def test_a_continuation_of_another_version_is_refused(world: World, position: object) -> None:
    forged = world.services.storage.continuations.seal(listing.LIST, position)
    with pytest.raises(Invalid, match="must be the continuation of an earlier response"):
        listing.page(world.services, Filters(), 5, forged)


def test_a_continuation_that_azure_does_not_know_is_refused_or_starts_where_it_says(world: World) -> None:
    forged = world.services.storage.continuations.seal(listing.LIST, ["open", ["x' or 1 eq 1", "a b"]])
    assert listing.page(world.services, Filters(), 5, forged)[0] == []


def test_replacements_are_listed_in_pages(world: World) -> None:
    jobs = [
        replacements.start(world.services, Criteria(authority="test-ca"), f"caller {number}") for number in range(5)
    ]
    replacements.cancel(world.services, jobs[0].id)
    found, after = replacements.page(world.services, 2)
    while after is not None:
        more, after = replacements.page(world.services, 2, after)
        found += more
    assert sorted(job.id for job in found) == sorted(job.id for job in jobs)
    assert [job.id for job in replacements.page(world.services, 10, state="canceled")[0]] == [jobs[0].id]
