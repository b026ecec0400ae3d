"""After a fall-back has signed: the next renewal, renewal information, what is replaced, and revocation."""

from datetime import timedelta

import pytest

from certrelay.certificates import revoke
from certrelay.certificates.revoke import Revocation
from certrelay.connectors.base import RenewalWindow
from certrelay.operations.submit import Origin
from certrelay.renewal import forecast, renew, sweep
from certrelay.storage.operation import Kind, Operation, State
from tests.operations.creations import create, row
from tests.operations.fallbacks import DOWN, FIRST, LIMITED, SECOND, Scripted, signer, with_fallbacks
from tests.world import ALIAS, DAY, World

pytestmark = pytest.mark.slow

ORIGIN = Origin(requested_by="test")


class Suggesting(Scripted):
    """With renewal information (RFC 9773); it counts for how many certificates it was asked."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.window: RenewalWindow | None = None
        self.inquiries = 0

    def renewal_window(self, certificate: bytes) -> RenewalWindow | None:
        self.inquiries += 1
        return self.window


def signed_by_second(world: World, authorities: dict[str, Scripted], name: str) -> Operation:
    authorities[FIRST].refusals["submit"] = LIMITED
    create(world, name)
    ended = world.finish(name)
    assert signer(authorities, ended) == SECOND
    authorities[FIRST].refusals = {}
    return ended


def test_the_next_renewal_asks_the_first_again_and_nobody_hears_of_another_ones_certificate(world: World) -> None:
    """RFC 9773, section 5: `replaces` names a certificate of the same CA."""
    world, authorities = with_fallbacks(world)
    first, second, name = authorities[FIRST], authorities[SECOND], world.name()
    made = signed_by_second(world, authorities, name)
    renew.renew(world.services, ALIAS, name, ORIGIN)
    assert signer(authorities, world.finish(name)) == FIRST
    assert first.seen[-1].replaces is None, "the second signed it"
    renew.renew(world.services, ALIAS, name, ORIGIN)
    ended = world.finish(name)
    assert first.seen[-1].replaces == world.services.storage.ended(ALIAS, name)[1].chain[0]
    first.refusals["submit"] = LIMITED
    renew.renew(world.services, ALIAS, name, ORIGIN)
    assert signer(authorities, world.finish(name)) == SECOND
    assert second.seen[-1].replaces is None, "the first signed it"
    renew.renew(world.services, ALIAS, name, ORIGIN)
    assert signer(authorities, world.finish(name)) == SECOND
    assert second.seen[-1].replaces is not None, "its own"
    assert first.seen[-1].replaces is None
    assert (made.kind, ended.kind) == (Kind.CREATE, Kind.RENEW)


def test_a_version_that_expires_soon_leaves_less_time_to_wait(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    create(world, name, validity_days=1)
    world.finish(name)
    world.clock.advance(20 * 3600)
    authorities[FIRST].refusals["submit"] = DOWN
    opened = renew.renew(world.services, ALIAS, name, ORIGIN)
    for _ in range(30):
        world.advance(name)
        if (fallback := row(world, name).fallback) is not None:
            break
    assert fallback is not None
    assert timedelta(minutes=59) < fallback.since - opened.requested_at < timedelta(hours=2, minutes=20)
    assert signer(authorities, world.finish(name)) == SECOND


def test_the_one_that_signed_is_asked_when_to_renew_and_the_first_is_asked_to(lonely_world: World) -> None:
    suggesting = {"connector": f"{__name__}:Suggesting"}
    world, authorities = with_fallbacks(lonely_world, first={"fallback": (SECOND,), **suggesting}, second=suggesting)
    first, second, name = authorities[FIRST], authorities[SECOND], world.name()
    assert isinstance(first, Suggesting)
    assert isinstance(second, Suggesting)
    signed_by_second(world, authorities, name)
    now = world.services.now()
    second.window = RenewalWindow(now + timedelta(days=2), now + timedelta(days=4))
    assert sweep.sweep(world.services).asked == 1
    assert (first.inquiries, second.inquiries) == (0, 1)
    assert [one.authority for one in forecast.expected(world.services, 5).renewals] == [FIRST]
    world.clock.advance(4.1 * DAY)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]
    assert signer(authorities, world.finish(name)) == FIRST
    sweep.sweep(world.services)
    assert (first.inquiries, second.inquiries) == (1, 1)


def test_a_version_is_revoked_by_the_authority_that_signed_it(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    by_second = signed_by_second(world, authorities, name)
    renew.renew(world.services, ALIAS, name, ORIGIN)
    by_first = world.finish(name)
    for version in (by_first.version, by_second.version):
        revoke.revoke(world.services, ALIAS, name, Revocation(version), ORIGIN)
    assert [leaf for leaf, _ in authorities[FIRST].revoked] == [by_first.chain[0]]
    assert [leaf for leaf, _ in authorities[SECOND].revoked] == [by_second.chain[0]]


@pytest.mark.parametrize("moved", [False, True])
def test_a_certificate_that_moved_to_another_authority_is_not_replaced_there(world: World, moved: bool) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    create(world, name)
    world.finish(name)
    changes = renew.Changes(authority=SECOND) if moved else renew.Changes()
    renew.renew(world.services, ALIAS, name, ORIGIN, changes)
    ended = world.finish(name)
    assert (ended.state, ended.fallback) == (State.COMPLETED, None)
    seen = authorities[SECOND if moved else FIRST].seen[-1]
    assert (seen.replaces is None) is moved


def test_a_certificate_whose_history_is_lost_is_taken_for_its_authoritys(world: World) -> None:
    world, authorities = with_fallbacks(world)
    name = world.name()
    create(world, name)
    made = world.finish(name)
    history = world.services.storage._history
    history.delete(f"{ALIAS}|{name}", made.id.split(".")[-1])
    renew.renew(world.services, ALIAS, name, ORIGIN)
    world.finish(name)
    assert authorities[FIRST].seen[-1].replaces == made.chain[0]
    history.delete(f"{ALIAS}|{name}", world.services.storage.ended(ALIAS, name)[0].id.split(".")[-1])
    renew.renew(world.services, ALIAS, name, ORIGIN, renew.Changes(authority=SECOND))
    world.finish(name)
    assert authorities[SECOND].seen[-1].replaces is None
