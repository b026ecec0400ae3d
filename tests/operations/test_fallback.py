"""Another authority is asked when the first is unavailable for too long: when, which one, and what of the order."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certrelay.connectors.base import Outcome, Pending, Rejected, Unavailable
from certrelay.operations import intervene, reconcile
from certrelay.setting_models import Rate, Rules
from certrelay.storage.operation import Operation, State
from tests.operations.creations import create, row
from tests.operations.fallbacks import DOWN, FIRST, LIMITED, SECOND, THIRD, signer, with_fallbacks
from tests.world import ALIAS, Killed, Life, World

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)


def until_changed(world: World, name: str) -> Operation:
    """Advance until a fall-back is asked."""
    for _ in range(60):
        world.advance(name)
        if row(world, name).fallback:
            return row(world, name)
    raise AssertionError(row(world, name))


def test_an_authority_that_is_down_for_a_quarter_of_the_time_is_not_waited_for(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    authorities[FIRST].refusals["submit"] = DOWN
    opened = create(world, name)
    changed = until_changed(world, name)
    assert changed.fallback is not None
    waited = changed.fallback.since - opened.requested_at
    assert 6 * HOUR <= waited < 7.5 * HOUR
    assert (changed.authority, changed.request.authority, changed.fallback.why) == (SECOND, FIRST, "out of order")
    ended = world.finish(name)
    assert signer(authorities, ended) == SECOND
    assert ended.transitions[-3].detail == f"{SECOND} is asked, a fall-back of {FIRST}: out of order"
    assert (authorities[THIRD].asked, authorities[FIRST].canceled) == ([], [])
    assert ended.failure is None
    bundle = world.vault.get(name)
    assert bundle is not None
    assert bundle["tags"]["certrelay-authority"] == FIRST
    assert len(world.versions(name)) == 1


def test_an_authority_that_comes_back_in_time_signs(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    authorities[FIRST].refusals["submit"] = DOWN
    opened = create(world, name)
    while world.services.now() < opened.requested_at + 4 * HOUR:
        world.advance(name)
    authorities[FIRST].wait, authorities[FIRST].refusals = 1, {}
    world.advance(name)
    assert row(world, name).unavailable_since is None
    world.clock.advance(12 * 3600)
    authorities[FIRST].refusals["collect"] = DOWN
    world.advance(name)
    assert row(world, name).fallback is None, "it worked on the order in between"
    authorities[FIRST].refusals = {}
    assert signer(authorities, world.finish(name)) == FIRST


def test_a_limit_that_frees_too_late_is_not_waited_for_and_the_open_order_is_withdrawn_first(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name, first = world.name(), authorities[FIRST]
    first.wait = 1
    create(world, name)
    world.advance(name)
    assert first.opened
    first.refusals["collect"] = LIMITED
    world.advance(name)
    assert (first.canceled, first.opened, authorities[SECOND].asked) == ([row(world, name).id], set(), [])
    ended = world.finish(name)
    assert signer(authorities, ended) == SECOND
    assert ended.ended_at is not None
    assert ended.ended_at - ended.requested_at < HOUR
    assert [one.state for one in ended.transitions] == [
        State.REQUESTED, State.PENDING, State.SUBMITTED, State.PENDING, State.ISSUED, State.COMPLETED,
    ]  # fmt: skip
    assert authorities[SECOND].doubled == []
    assert (ended.withdraw_from, ended.reference) == ("", "")


def test_a_limit_that_frees_soon_is_waited_for(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    authorities[FIRST].refusals["submit"] = Unavailable("too many orders", retry_after=3600)
    create(world, name)
    world.advance(name)
    authorities[FIRST].refusals = {}
    assert signer(authorities, world.finish(name)) == FIRST


def test_the_next_of_several_is_asked_when_a_fall_back_is_unavailable_too(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    authorities[FIRST].refusals["submit"] = LIMITED
    authorities[SECOND].refusals["submit"] = DOWN
    opened = create(world, name)
    ended = world.finish(name)
    assert signer(authorities, ended) == THIRD
    assert ended.fallback is not None
    assert 6 * HOUR <= ended.fallback.since - opened.requested_at < 7.5 * HOUR
    assert authorities[FIRST].asked == ["submit"], "nobody is gone back to within one operation"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Rejected("contoso.example is not yours"), "RequestRejected"),
        (Unavailable("our DNS", 86_399, everywhere=True), "TimedOut"),
    ],
)
def test_nobody_else_is_asked_for_what_everybody_would_refuse(world: World, answer: Outcome, code: str) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    authorities[FIRST].refusals["submit"] = answer
    create(world, name)
    world.advance(name, 2)
    ended = world.finish(name)
    assert ended.failure is not None
    assert (ended.failure.code, ended.fallback) == (code, None)
    assert authorities[SECOND].asked == []


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"connector": "tests.operations.fallbacks:WithoutElliptic"}, "authority second does not support ec"),
        ({"rules": Rules(names=("*.fabrikam.example",))}, "(rule names)"),
        ({"rules": Rules(key_types=("RSA",))}, "does not allow EC keys"),
        ({"rate": Rate(requests=1, seconds=604_800, burst=1)}, "its rate is used up until"),
    ],
)
def test_who_may_not_or_cannot_is_passed_over_and_the_history_says_why(
    world: World, second: dict[str, object], reason: str
) -> None:
    world, authorities = with_fallbacks(world, second=second)
    if "rate" in second:
        assert create(world, world.name("-before"), authority=SECOND)
    name = world.name()
    authorities[FIRST].refusals["submit"] = LIMITED
    create(world, name)
    ended = world.finish(name)
    assert signer(authorities, ended) == THIRD
    assert ended.fallback is not None
    assert ended.fallback.why.startswith("too many certificates; second cannot be asked: ")
    assert reason in ended.fallback.why
    assert "second cannot be asked" in next(one.detail for one in ended.transitions if THIRD in one.detail)


def test_when_nobody_can_the_error_names_each_and_the_first_is_asked_until_the_deadline(world: World) -> None:
    narrow, other = {"rules": Rules(key_types=("RSA",))}, {"connector": "tests.operations.fallbacks:WithoutElliptic"}
    world, authorities = with_fallbacks(world, second=narrow, third=other)
    main = world.services.settings.vaults[ALIAS].model_copy(update={"authorities": (FIRST, THIRD)})
    settings = replace(world.services.settings, vaults={ALIAS: main})
    world = replace(world, services=replace(world.services, settings=settings))
    name = world.name()
    authorities[FIRST].refusals["submit"] = LIMITED
    create(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    for part in (
        "TimedOut", "too many certificates", "vault main does not allow authority second (setting authorities)",
        "authority second does not allow EC keys (rule key_types)", "third cannot be asked: authority third does not",
    ):  # fmt: skip
        assert part in f"{ended.failure.code} {ended.failure.message}"
    assert (authorities[SECOND].asked, authorities[THIRD].asked) == ([], [])


def test_a_fall_back_that_left_the_settings_meanwhile_is_not_asked(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    authorities[FIRST].refusals["submit"] = LIMITED
    create(world, name)
    without, _ = with_fallbacks(world, first={"fallback": (THIRD,)})
    changed = replace(world, services=replace(without.services, connector=world.services.connector))
    ended = changed.finish(name)
    assert signer(authorities, ended) == THIRD
    assert ended.fallback is not None
    assert "second cannot be asked: the settings do not name it any more" in ended.fallback.why


def test_a_fall_back_starts_when_its_rate_allows_and_takes_no_slot_of_the_first(world: World) -> None:
    rate = Rate(requests=1, seconds=7200, burst=1)
    world, authorities = with_fallbacks(
        world, first={"fallback": (SECOND,), "concurrency": 1}, second={"rate": rate, "concurrency": 1}
    )
    create(world, world.name("-before"), authority=SECOND)
    name, other = world.name(), world.name("-other")
    authorities[FIRST].wait = 1
    create(world, name)
    world.advance(name)
    authorities[FIRST].refusals["collect"] = LIMITED
    world.advance(name)
    assert 1.9 * HOUR < row(world, name).next_attempt_at - world.services.now() <= 2 * HOUR
    assert reconcile.advance(world.services, ALIAS, name) is None, "not before its turn"
    create(world, other)
    authorities[FIRST].refusals = {}
    assert signer(authorities, world.finish(other)) == FIRST, "the slot of the first is free"
    authorities[SECOND].wait = 1
    world.advance(name)
    limits, until = world.services.storage.limits, row(world, name).deadline
    assert not limits.acquire(f"authority {SECOND}", "another", 1, world.services.now(), until), "it holds the slot"
    assert signer(authorities, world.finish(name)) == SECOND


def test_people_who_are_asked_last_have_the_time_that_their_authority_gives_them(world: World) -> None:
    world, authorities = with_fallbacks(world, second={"deadline_hours": 336.0})
    name = world.name()
    authorities[FIRST].refusals["submit"] = LIMITED
    opened = create(world, name)
    world.advance(name)
    assert opened.deadline - opened.requested_at == 24 * HOUR
    changed = row(world, name)
    assert changed.fallback is not None
    assert changed.deadline - changed.fallback.since == 336 * HOUR


def test_an_answer_that_was_lost_leaves_an_order_whose_certificate_is_never_merged(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name, first = world.name(), authorities[FIRST]
    placed: list[bytes] = []

    def issued_and_lost(request: object) -> bytes:
        placed.append(first.signed(request))  # type: ignore[arg-type]
        first.refusals["submit"] = LIMITED
        raise TimeoutError("the answer was lost")

    first.issue = issued_and_lost
    create(world, name)
    ended = world.finish(name)
    assert len(placed) == 1
    assert signer(authorities, ended) == SECOND
    assert len(world.versions(name)) == 1


@pytest.mark.parametrize("canceled", [False, True])
def test_a_death_before_the_order_is_withdrawn_leaves_it_with_nobody(world: World, canceled: bool) -> None:
    world, authorities = with_fallbacks(world)
    name, first = world.name(), authorities[FIRST]
    first.wait = 1
    create(world, name)
    world.advance(name)
    first.refusals["collect"] = LIMITED
    world.clock.advance(6)
    life = Life()
    doomed = world.mortal(life)
    life.deaths = {(number, "before") for number in range(20)} - {(0, "before"), (1, "before"), (2, "before")}
    with pytest.raises(Killed, match="cancel"):
        reconcile.advance(doomed, ALIAS, name)
    assert row(world, name).withdraw_from == FIRST
    assert first.canceled == []
    world.outlive_lease()
    if canceled:
        intervene.cancel(world.services, ALIAS, name)
    ended = world.finish(name)
    assert first.canceled == [ended.id]
    assert ended.state is (State.CANCELED if canceled else State.COMPLETED)
    assert authorities[SECOND].doubled == []
    assert authorities[SECOND].canceled == []


def test_an_order_that_is_lost_again_and_again_is_taken_elsewhere(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name, first = world.name(), authorities[FIRST]
    first.wait = 1000
    opened = create(world, name)
    lost = Unavailable("the order failed", restart=True)
    for _ in range(80):
        world.advance(name)
        if row(world, name).fallback:
            break
        first.refusals = {} if row(world, name).state is State.PENDING else {"collect": lost}
        first.opened.clear()
    changed = row(world, name)
    assert changed.fallback is not None
    assert 6 * HOUR <= changed.fallback.since - opened.requested_at < 9 * HOUR
    assert first.seen[-1].lost_orders > 3
    assert signer(authorities, world.finish(name)) == SECOND
    assert authorities[SECOND].seen[0].lost_orders == 0


def test_a_person_may_bring_a_certificate_while_a_fall_back_is_asked(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name, second = world.name(), authorities[SECOND]
    authorities[FIRST].refusals["submit"] = LIMITED
    second.refusals["submit"] = Pending("order-2", retry_after=600)
    create(world, name)
    world.advance(name, 2)
    answer = second.signed(second.seen[0])
    ended = intervene.provide_answer(world.services, ALIAS, name, answer)
    assert signer(authorities, ended) == SECOND
    assert second.canceled == ["order-2"]
