"""A list that is read page by page while certificates come and go."""

from collections.abc import Callable

import pytest

from certrelay.certificates import edit, read
from certrelay.certificates.read import Filters
from tests.world import ALIAS, World, seeded

pytestmark = pytest.mark.slow


def pages(world: World, limit: int, meanwhile: Callable[[], object]) -> list[str]:
    """The names of all pages; `meanwhile` happens after the first one."""
    found, continuation = read.certificates(world.services, ALIAS, Filters(), limit, None)
    meanwhile()
    while continuation is not None:
        more, continuation = read.certificates(world.services, ALIAS, Filters(), limit, continuation)
        found += more
    return [item.name for item in found]


def delete(world: World, *names: str) -> None:
    for name in names:
        edit.delete(world.services, ALIAS, name)


@pytest.mark.parametrize("limit", [10, 25, 30])
@pytest.mark.parametrize("gone", [(3,), (0, 9), (12,), (9, 10), (24, 25, 26), (29,)])
def test_what_is_deleted_meanwhile_hides_nothing_else(lonely_world: World, limit: int, gone: tuple[int, ...]) -> None:
    names = seeded(lonely_world, 60)
    found = pages(lonely_world, limit, lambda: delete(lonely_world, *(names[number] for number in gone)))
    deleted = {names[number] for number in gone if number >= limit}
    assert found == [name for name in names if name not in deleted]


@pytest.mark.parametrize("limit", [10, 25, 30])
def test_what_is_created_meanwhile_repeats_nothing(lonely_world: World, limit: int) -> None:
    names = seeded(lonely_world, 60, "b")
    found = pages(lonely_world, limit, lambda: seeded(lonely_world, 30, "a"))
    assert len(set(found)) == len(found)
    assert [name for name in found if name in set(names)] == names


def test_a_certificate_that_is_deleted_and_recovered_meanwhile_is_listed_once(lonely_world: World) -> None:
    names = seeded(lonely_world, 12)

    def again() -> None:
        delete(lonely_world, names[2], names[4])
        lonely_world.clock.advance(60)
        edit.recover(lonely_world.services, ALIAS, names[2])
        lonely_world.clock.advance(60)

    assert pages(lonely_world, 6, again) == names
