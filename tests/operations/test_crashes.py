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
from certrelay.side_by_side import Both
from certrelay.storage.operation import Operation, State
from sandbox.simulation.world import in_turn
from tests.world import ALIAS, Killed, Life, World, run_to_the_end

pytestmark = pytest.mark.slow

KEY = {"key_props": {"kty": "EC", "crv": "P-256"}}


def second_first[First, Second](first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """The other order of two effects that are under way at the same time."""
    done = second()
    return first(), done


@pytest.fixture
def worlds(world: World) -> list[World]:
    """The world with either order."""
    return [replace(world, services=replace(world.services, both=order)) for order in (in_turn, second_first)]


def asked(name: str) -> CertificateSpec:
    return CertificateSpec(
        authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY, tags={"team": "web"}
    )


def create(services: Services, name: str) -> Operation:
    return creations.create(services, ALIAS, name, asked(name), requested_by="test", idempotency_key=name)


def check_one_version_and_nothing_left(world: World, name: str, deaths: object) -> None:
    assert len(world.versions(name)) == 1, deaths
    assert world.services.storage.open(ALIAS, name) is None, deaths
    ended = world.services.storage.ended(ALIAS, name)
    assert [operation.state for operation in ended] == [State.COMPLETED], deaths
    assert len(world.ca.orders) == 1, (deaths, "the authority finds the first order")
    bundle = world.vault.get(name)
    assert bundle is not None
    assert bundle["tags"]["team"] == "web"


def created(world: World, name: str, life: Life) -> None:
    """One life of a creation."""
    world.ca.orders.clear()
    run_to_the_end(world, name, life, lambda services: create(services, name))
    check_one_version_and_nothing_left(world, name, (life.deaths, life.effects))


MOMENTS = ("before", "after")


def each_death(effects: list[str], tried: set[tuple[str, ...]], soak: bool) -> Iterator[tuple[int, str]]:
    """At each effect. Every effect is a write, so a death after one is a death before the next, and one that leaves the
    same effects done, in whatever order, has been tried; `--soak` tries all."""
    for death in itertools.product(range(len(effects)), MOMENTS):
        done = tuple(sorted(effects[: death[0] + MOMENTS.index(death[1])]))
        if soak or done not in tried:
            tried.add(done)
            yield death


def die_at_each_effect(
    worlds: list[World], request: pytest.FixtureRequest, live: Callable[[World, str, Life], None]
) -> list[str]:
    """Let one certificate after the other `live`, in the world with either order. Returns what each life does."""
    tried: set[tuple[str, ...]] = set()
    for order, world in enumerate(worlds):
        whole = Life()
        live(world, world.name(f"-{order}"), whole)
        for death in each_death(whole.effects, tried, request.config.getoption("--soak")):
            live(world, world.name(f"-{order}-{death[0]}-{death[1]}"), Life({death}))
    return whole.effects


def test_a_death_at_any_effect_ends_in_exactly_one_version(worlds: list[World], request: pytest.FixtureRequest) -> None:
    """For an authority that signs at once; test_two_deaths… has one that does not."""
    effects = die_at_each_effect(worlds, request, created)
    assert any(effect.endswith("merge") for effect in effects)


@pytest.mark.parametrize("wait", [0, 1])
def test_a_death_while_a_caller_waits_ends_in_exactly_one_version(
    worlds: list[World], wait: int, request: pytest.FixtureRequest
) -> None:
    """The row has a lease from its first moment on, so nobody takes the steps meanwhile."""

    def live(world: World, name: str, life: Life) -> None:
        def start(services: Services) -> Operation:
            opened = creations.create(
                services, ALIAS, name, asked(name), requested_by="test", idempotency_key=name, hold=True
            )
            return waiting.until_ended(services, opened, 30, world.clock.advance)

        world.ca.wait = wait
        world.ca.orders.clear()
        run_to_the_end(world, name, life, start)
        check_one_version_and_nothing_left(world, name, (life.deaths, life.effects))

    assert len(die_at_each_effect(worlds, request, live)) > 7


@pytest.mark.parametrize("order", [in_turn, second_first])
def test_what_the_history_has_as_completed_stays_so_whoever_makes_a_newer_version(world: World, order: Both) -> None:
    """The row still says `issued`, and the newest version is somebody else's."""
    world, life, name = replace(world, services=replace(world.services, both=order)), Life(), world.name()
    created(world, world.name("-whole"), life)
    at_record = life.effects.index("Ledger.record")
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


def test_two_deaths_at_any_effects_end_in_exactly_one_version(
    worlds: list[World], request: pytest.FixtureRequest
) -> None:
    """And one death alone. Of pairs that leave the same effects to come, one is tried, and one more that dies twice at
    the same effect; with `--soak` each pair, at both moments."""

    def died(world: World, suffix: str, *deaths: tuple[int, str]) -> list[str]:
        life = Life(set(deaths))
        created(world, world.name(suffix), life)
        return life.effects

    tried_alone: set[tuple[str, ...]] = set()
    tried: set[tuple[bool, tuple[str, ...]]] = set()
    for order, world in enumerate(worlds):
        world.ca.wait = 1
        effects = died(world, f"-{order}")
        if request.config.getoption("--soak"):
            single = itertools.product(range(len(effects) + 4), MOMENTS)
            for number, pair in enumerate(itertools.combinations(single, 2)):
                died(world, f"-{order}-{number}", *pair)
            continue
        for death in each_death(effects, tried_alone, soak=False):
            first, more = death[0], died(world, f"-{order}-{death[0]}-{death[1]}", death)
            for second in range(first + 1, len(more)):
                rest = (more[first] == more[second], tuple(sorted(more[second:])))
                if rest not in tried and first:  # who has done nothing dies alone the second time
                    died(world, f"-{order}-{first}-{second}", death, (second, "before"))
                tried.add(rest)
    assert request.config.getoption("--soak") or len(tried) > 25, "different deaths leave different things to do"


def test_a_renewal_that_dies_at_any_effect_ends_in_exactly_one_more_version(
    worlds: list[World], request: pytest.FixtureRequest
) -> None:
    def live(world: World, name: str, life: Life) -> None:
        run_to_the_end(world, name, Life(), lambda services: create(services, name))
        run_to_the_end(world, name, life, lambda services: renew(services, name))
        assert len(world.versions(name)) == 2, life.deaths
        assert world.services.storage.open(ALIAS, name) is None, life.deaths

    die_at_each_effect(worlds, request, live)


def renew(services: Services, name: str) -> Operation:
    """Ask for the renewal until there is one in the history."""
    ended = services.storage.ended(ALIAS, name)
    done = [operation for operation in ended if operation.kind == "renew"]
    if done:
        return done[0]
    return renewal.renew(services, ALIAS, name, Origin(requested_by="test", reason="test"))


def test_a_certificate_of_key_vaults_own_issuer_survives_any_death(
    worlds: list[World], request: pytest.FixtureRequest
) -> None:
    """`Self` completes by itself: a repeat must find the version instead of making a second one."""

    def live(world: World, name: str, life: Life) -> None:
        plain = CertificateSpec(dns_names=(f"{name}.contoso.example",), policy=KEY)

        def start(services: Services) -> Operation:
            return creations.create(services, ALIAS, name, plain, requested_by="test", idempotency_key=name)

        run_to_the_end(world, name, life, start)
        assert len(world.versions(name)) == 1, (life.deaths, life.effects)
        assert world.services.storage.open(ALIAS, name) is None

    die_at_each_effect(worlds, request, live)
