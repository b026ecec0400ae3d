"""Die before and after every effect, alone and in pairs, then recover: exactly one new version, nothing stuck, nothing
doubled (checks 2, 5 and 6 of the promises that CONTRIBUTING lists)."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.operations import reconcile, waiting
from certrelay.operations.submit import Origin
from certrelay.renewal import renew as renewal
from certrelay.services import Services
from certrelay.storage.operation import Operation, State
from sandbox.simulation.world import in_turn
from tests.world import ALIAS, Killed, Life, World, run_to_the_end

pytestmark = pytest.mark.slow

KEY = {"key_props": {"kty": "EC", "crv": "P-256"}}


def second_first[First, Second](first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """The other order of two effects that are under way at the same time."""
    done = second()
    return first(), done


@pytest.fixture(params=[in_turn, second_first])
def world(world: World, request: pytest.FixtureRequest) -> World:
    return replace(world, services=replace(world.services, both=request.param))


def asked(name: str) -> CertificateSpec:
    return CertificateSpec(
        authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY, tags={"team": "web"}
    )


def create(services: Services, name: str) -> Operation:
    return creations.create(services, ALIAS, name, asked(name), requested_by="test", idempotency_key=name)


def effects_of_one_life(world: World, wait: int) -> list[str]:
    world.ca.wait = wait
    life = Life()
    name = world.name("baseline")
    run_to_the_end(world, name, life, lambda services: create(services, name))
    return life.effects


def check_one_version_and_nothing_left(world: World, name: str, deaths: object) -> None:
    assert len(world.versions(name)) == 1, deaths
    assert world.services.storage.open(ALIAS, name) is None, deaths
    ended = world.services.storage.ended(ALIAS, name)
    assert [operation.state for operation in ended] == [State.COMPLETED], deaths
    assert len(world.ca.orders) == 1, (deaths, "the authority finds the first order")
    bundle = world.vault.get(name)
    assert bundle is not None
    assert bundle["tags"]["team"] == "web"


MOMENTS = ("before", "after")


def each_death(effects: list[str], request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """At each effect. Every effect is a write, so a death after one is a death before the next; `--soak` tries both."""
    if request.config.getoption("--soak"):
        yield from itertools.product(range(len(effects)), MOMENTS)
        return
    yield from ((number, "before") for number in range(len(effects)))
    yield (len(effects) - 1, "after")


@pytest.mark.parametrize("wait", [0, 1])
def test_a_death_at_any_effect_ends_in_exactly_one_version(
    world: World, wait: int, request: pytest.FixtureRequest
) -> None:
    effects = effects_of_one_life(world, wait)
    assert any(effect.endswith("merge") for effect in effects)
    for death in each_death(effects, request):
        name = world.name(f"-{death[0]}-{death[1]}")
        world.ca.orders.clear()
        run_to_the_end(world, name, Life({death}), lambda services, name=name: create(services, name))  # type: ignore[misc]
        check_one_version_and_nothing_left(world, name, (death, effects))


@pytest.mark.parametrize("wait", [0, 1])
def test_a_death_while_a_caller_waits_ends_in_exactly_one_version(
    world: World, wait: int, request: pytest.FixtureRequest
) -> None:
    """The row has a lease from its first moment on, so nobody takes the steps meanwhile."""

    def start(services: Services, name: str) -> Operation:
        opened = creations.create(
            services, ALIAS, name, asked(name), requested_by="test", idempotency_key=name, hold=True
        )
        return waiting.until_ended(services, opened, 30, world.clock.advance)

    world.ca.wait = wait
    baseline, probe = Life(), world.name("baseline")
    run_to_the_end(world, probe, baseline, lambda services: start(services, probe))
    assert len(baseline.effects) > 7
    for death in each_death(baseline.effects, request):
        name = world.name(f"-{death[0]}-{death[1]}")
        world.ca.orders.clear()
        run_to_the_end(world, name, Life({death}), lambda services, name=name: start(services, name))  # type: ignore[misc]
        check_one_version_and_nothing_left(world, name, (death, baseline.effects))


def test_what_the_history_has_as_completed_stays_so_whoever_makes_a_newer_version(world: World) -> None:
    """The row still says `issued`, and the newest version is somebody else's."""
    at_record = effects_of_one_life(world, 0).index("Ledger.record")
    name = world.name()
    doomed = world.mortal(Life({(at_record, "after")}))
    create(doomed, name)
    with pytest.raises(Killed):
        reconcile.advance(doomed, ALIAS, name)
    [ours] = world.versions(name)
    world.vault.create(name, {**KEY, "issuer": {"name": "Self"}, "x509_props": {"subject": "CN=other"}}, {}, True)
    world.outlive_lease()
    assert world.vault.pending(name).in_progress is False  # type: ignore[union-attr]
    assert len(world.versions(name)) == 2
    assert world.finish(name).state is State.COMPLETED
    [ended] = world.services.storage.ended(ALIAS, name)
    assert ours.endswith(ended.version)


def test_two_deaths_at_any_effects_end_in_exactly_one_version(world: World, request: pytest.FixtureRequest) -> None:
    """Of pairs that leave the same effects to come, one is tried, and one more that dies twice at the same effect; with
    `--soak` each pair, at both moments."""
    effects = effects_of_one_life(world, 1)
    if request.config.getoption("--soak"):
        single = itertools.product(range(len(effects) + 4), MOMENTS)
        for number, pair in enumerate(itertools.combinations(single, 2)):
            died(world, f"-{number}", {*pair})
        return
    tried = set()
    for first in range(len(effects)):
        more = died(world, f"-{first}", {(first, "before")})
        for second in range(first + 1, len(more)):
            rest = (more[first] == more[second], tuple(more[second:]))
            if rest not in tried:
                tried.add(rest)
                died(world, f"-{first}-{second}", {(first, "before"), (second, "before")})
    assert len(tried) > 25, "deaths at different effects leave different things to do"


def died(world: World, suffix: str, deaths: set[tuple[int, str]]) -> list[str]:
    """The effects of a creation that died at these of them."""
    name, life = world.name(suffix), Life(deaths)
    world.ca.orders.clear()
    run_to_the_end(world, name, life, lambda services: create(services, name))
    check_one_version_and_nothing_left(world, name, (deaths, life.effects))
    return life.effects


def test_a_renewal_that_dies_at_any_effect_ends_in_exactly_one_more_version(
    world: World, request: pytest.FixtureRequest
) -> None:
    probe = world.name("probe")
    run_to_the_end(world, probe, Life(), lambda services: create(services, probe))
    life = Life()
    run_to_the_end(world, probe, life, lambda services: renew(services, probe))
    for death in each_death(life.effects, request):
        name = world.name(f"-{death[0]}-{death[1]}")
        run_to_the_end(world, name, Life(), lambda services, name=name: create(services, name))  # type: ignore[misc]
        run_to_the_end(world, name, Life({death}), lambda services, name=name: renew(services, name))  # type: ignore[misc]
        assert len(world.versions(name)) == 2, death
        assert world.services.storage.open(ALIAS, name) is None, death


def renew(services: Services, name: str) -> Operation:
    """Ask for the renewal until there is one in the history."""
    ended = services.storage.ended(ALIAS, name)
    done = [operation for operation in ended if operation.kind == "renew"]
    if done:
        return done[0]
    return renewal.renew(services, ALIAS, name, Origin(requested_by="test", reason="test"))


def test_a_certificate_of_key_vaults_own_issuer_survives_any_death(
    world: World, request: pytest.FixtureRequest
) -> None:
    """`Self` completes by itself: a repeat must find the version instead of making a second one."""

    def start(services: Services, name: str) -> Operation:
        plain = CertificateSpec(dns_names=(f"{name}.contoso.example",), policy=KEY)
        return creations.create(services, ALIAS, name, plain, requested_by="test", idempotency_key=name)

    baseline = Life()
    probe = world.name("probe")
    run_to_the_end(world, probe, baseline, lambda services: start(services, probe))
    for death in each_death(baseline.effects, request):
        name = world.name(f"-{death[0]}-{death[1]}")
        life = Life({death})
        run_to_the_end(world, name, life, lambda services, name=name: start(services, name))  # type: ignore[misc]
        assert len(world.versions(name)) == 1, (death, baseline.effects)
        assert world.services.storage.open(ALIAS, name) is None
