"""Die before and after every effect of a change-over to a fall-back: one version, and never two orders at a time."""

import pytest

from certrelay.certificates import create
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.services import Services
from certrelay.storage.operation import Operation, State
from tests.operations.creations import asked
from tests.operations.fallbacks import FIRST, LIMITED, SECOND, Scripted, signer, with_fallbacks
from tests.world import ALIAS, Life, World, run_to_the_end

pytestmark = pytest.mark.slow


def start(services: Services, name: str) -> Operation:
    return create.create(services, ALIAS, name, asked(name), requested_by="test", idempotency_key=name)


def renewed(services: Services, name: str) -> Operation:
    done = [operation for operation in services.storage.ended(ALIAS, name) if operation.kind == "renew"]
    return done[0] if done else renew.renew(services, ALIAS, name, Origin(requested_by="test"))


def check(world: World, authorities: dict[str, Scripted], name: str, versions: int, deaths: object) -> None:
    assert len(world.versions(name)) == versions, deaths
    assert world.services.storage.open(ALIAS, name) is None, deaths
    ended = world.services.storage.ended(ALIAS, name)
    assert [operation.state for operation in ended] == [State.COMPLETED] * versions, deaths
    assert signer(authorities, ended[0]) == ended[0].authority == SECOND, deaths
    for key, authority in authorities.items():
        assert authority.doubled == [], (key, deaths)
        assert authority.opened == set(), (key, deaths)
        assert len([identifier for identifier in authority.orders if identifier == ended[0].id]) <= 1, (key, deaths)
    bundle = world.vault.get(name)
    assert bundle is not None
    assert bundle["tags"]["certrelay-authority"] == FIRST


def refusing(world: World) -> tuple[World, dict[str, Scripted]]:
    """The first takes each order and then refuses for its limits, and the second signs."""
    world, authorities = with_fallbacks(world, first={"fallback": (SECOND,)})
    authorities[FIRST].wait, authorities[FIRST].refusals = 1000, {"collect": LIMITED}
    return world, authorities


def change_over(effects: list[str]) -> range:
    """The effects from the refusal of the first to the submission to the second; test_crashes has those around them."""
    assert effects.count("cancel") == 1
    return range(effects.index("collect"), len(effects) - effects[::-1].index("submit"))


def test_a_death_at_any_effect_of_a_change_over_ends_in_one_version_by_one_order_at_a_time(world: World) -> None:
    world, authorities = refusing(world)

    def live(suffix: str, *deaths: tuple[int, str]) -> list[str]:
        name, life = world.name(suffix), Life(set(deaths))
        run_to_the_end(world, name, life, lambda services: start(services, name))
        check(world, authorities, name, 1, (deaths, life.effects))
        return life.effects

    numbers = change_over(live(""))
    assert len(numbers) > 5
    for number in numbers:  # a death after an effect is one before the next
        live(f"-{number}", (number, "before"))
    for number in numbers[:-2]:
        live(f"-{number}-twice", (number, "before"), (number + 2, "before"))


def test_a_renewal_that_dies_around_the_withdrawal_ends_in_one_more_version(world: World) -> None:
    world, authorities = refusing(world)

    def live(suffix: str, *deaths: tuple[int, str]) -> list[str]:
        name, life, first = world.name(suffix), Life(set(deaths)), authorities[FIRST]
        first.wait, first.refusals = 0, {}
        run_to_the_end(world, name, Life(), lambda services: start(services, name))
        first.wait, first.refusals = 1000, {"collect": LIMITED}
        run_to_the_end(world, name, life, lambda services: renewed(services, name))
        check(world, authorities, name, 2, (deaths, life.effects))
        return life.effects

    withdrawn = live("").index("cancel")
    for number in range(withdrawn - 1, withdrawn + 2):
        live(f"-{number}", (number, "after"))
