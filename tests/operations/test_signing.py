"""The authority's outcomes, and what of its answer is accepted."""

import math
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Issued, Pending, Rejected, Unavailable
from certrelay.operations import intervene, reconcile
from certrelay.setting_models import Rules
from certrelay.storage.operation import State
from sandbox.azurite import Azurite
from sandbox.vault import VaultServer
from tests.operations.creations import create
from tests.world import ALIAS, World, make_world

pytestmark = pytest.mark.slow


def test_a_pending_order_is_not_asked_about_before_its_time(world: World) -> None:
    name = world.name()
    world.ca.wait = 1
    create(world, name)
    reconcile.advance(world.services, ALIAS, name)
    waiting = world.services.storage.open(ALIAS, name)
    assert waiting is not None
    assert waiting.state is State.SUBMITTED
    assert reconcile.advance(world.services, ALIAS, name) is None
    assert sum(world.ca.orders.values()) == 1
    world.clock.advance(5.5)
    finished = reconcile.advance(world.services, ALIAS, name)
    assert finished is not None
    assert finished.state is State.COMPLETED


def test_a_refusal_of_the_authority_fails_and_frees_the_name(world: World) -> None:
    """Checks 12 and 19."""
    name = world.name()
    world.ca.answers = [Rejected("contoso.example is not yours")]
    create(world, name)
    ended = world.finish(name)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert (ended.failure.code, ended.failure.message) == ("RequestRejected", "contoso.example is not yours")
    assert world.vault.pending(name) is None
    create(world, name)
    assert world.finish(name).state is State.COMPLETED


@pytest.mark.parametrize(
    ("settings", "days"),
    [('{"connector": "manual"}', 14), ('{"connector": "manual", "deadline_hours": 48}', 2)],
)
def test_people_have_two_weeks_to_answer_unless_the_settings_say_otherwise(
    world: World, vault_server: VaultServer, azurite: Azurite, settings: str, days: int
) -> None:
    by_hand = make_world(vault_server, azurite, world.clock, f', "by-hand": {settings}')
    opened = create(by_hand, by_hand.name(), authority="by-hand")
    assert opened.deadline - opened.requested_at == timedelta(days=days)
    waiting = by_hand.advance(opened.name)
    assert waiting is not None
    assert waiting.state is State.SUBMITTED
    assert waiting.next_attempt_at - by_hand.services.now() > timedelta(hours=23)


def test_an_authority_that_is_down_is_asked_again_until_the_deadline(world: World) -> None:
    """Checks 23 and 24."""
    name = world.name()
    world.ca.answers = [Unavailable("out of order")] * 200
    create(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "TimedOut"
    assert "out of order" in ended.failure.message
    assert 20 < 200 - len(world.ca.answers) < 45, "back-off doubles up to an hour in a day"
    assert ended.ended_at is not None
    assert ended.ended_at < ended.deadline + timedelta(hours=2)


def test_an_authority_that_comes_back_is_used(world: World) -> None:
    name = world.name()
    world.ca.answers = [Unavailable("out of order", retry_after=120), ValueError("a bug in a connector")]
    create(world, name)
    world.advance(name)
    waiting = world.services.storage.open(ALIAS, name)
    assert waiting is not None
    assert waiting.next_attempt_at >= world.services.now() + timedelta(seconds=119)
    ended = world.finish(name)
    assert ended.state is State.COMPLETED
    assert ended.crashes == 0, "what a connector raises is no crash of ours"


def test_a_worthless_reference_is_given_up_and_the_order_placed_anew(world: World) -> None:
    name = world.name()
    world.ca.answers = [Pending("old"), Unavailable("the order expired", restart=True)]
    create(world, name)
    ended = world.finish(name)
    assert ended.state is State.COMPLETED
    assert len(world.ca.seen) == 2


def test_orders_that_are_lost_one_after_the_other_are_placed_ever_more_slowly(world: World) -> None:
    name = world.name()
    for _ in range(12):
        world.ca.answers += [Pending("order", retry_after=0), Unavailable("the order expired", restart=True)]
    create(world, name)
    begin = world.services.now()
    while world.ca.answers:
        world.advance(name)
    assert world.services.now() - begin > timedelta(hours=2)
    assert world.finish(name).state is State.COMPLETED


def test_a_certificate_for_another_key_is_never_merged(world: World) -> None:
    """Check 27."""
    name = world.name()
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    world.ca.issue = lambda request: world.ca.signed(request, public_key=stranger)
    create(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "UnverifiedCertificate"
    assert world.versions(name) == [] or world.vault.get(name) is None or "cer" not in (world.vault.get(name) or {})


def test_an_answer_that_is_no_certificate_fails_clearly(world: World) -> None:
    name = world.name()
    world.ca.answers = [Issued(b"<html>sorry</html>")]
    create(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "UnverifiedCertificate"


@pytest.mark.parametrize("whose", ["vault", "authority"])
@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ({"issuer_pins": ["00" * 32]}, "none of the pinned issuers"),
        ({"max_validity_days": 30}, "longer than the 30 days"),
        ({"public_trust": True}, "not among its alternative names"),
        ({"keep_root": False}, None),
    ],
)
def test_the_rules_of_the_authority_and_of_the_vault_hold_for_the_answer(
    world: World, whose: str, rules: dict[str, Any], fault: str | None
) -> None:
    world.ca.issue = lambda request: world.ca.signed(request, ends=world.services.now() + timedelta(days=60))
    settings = world.services.settings
    main, ca = settings.vaults[ALIAS], settings.authorities["test-ca"]
    if whose == "vault":
        main = main.model_copy(update={"rules": Rules.model_validate(rules)})
    else:
        ca = replace(ca, settings=ca.settings.model_copy(update={"rules": Rules.model_validate(rules)}))
    settings = replace(settings, vaults={ALIAS: main}, authorities={"test-ca": ca})
    narrow = replace(world, services=replace(world.services, settings=settings))
    name = narrow.name()
    create(narrow, name, validity_days=30, subject="CN=Somebody")
    ended = narrow.finish(name)
    if fault:
        assert ended.failure is not None
        assert ended.failure.code == "UnverifiedCertificate"
        assert fault in ended.failure.message
    else:
        assert (ended.state, len(ended.chain)) == (State.COMPLETED, 1)


@pytest.mark.parametrize("kind", [Rejected, Unavailable])
def test_words_of_a_connector_that_are_too_long_for_a_row_or_a_log_line_are_cut(
    world: World, kind: type[Rejected] | type[Unavailable], caplog: pytest.LogCaptureFixture
) -> None:
    """Check 45. A connector of one's own may hand on a whole page; the row could never be written again."""
    name = world.name()
    world.ca.answers = [kind("no\n\x1b[2J\ud800 " + "x" * 200_000)] * 100
    asked = CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",))
    creations.create(world.services, ALIAS, name, asked, requested_by="test")
    ended = world.finish(name)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert "no [2J x" in ended.failure.message
    assert len(ended.failure.message) < 2000
    assert all(message.isprintable() for message in caplog.messages)


@pytest.mark.parametrize(
    "answer",
    [
        Pending("order-1", retry_after=math.nan),
        Pending("order-1", retry_after=math.inf),
        Pending("order-1", retry_after=10.0**300),
        Unavailable("down", retry_after=math.nan),
        Unavailable("down", retry_after=-math.inf),
        Pending(7),  # type: ignore[arg-type]
        None,
        "issued",
    ],
)
def test_an_outcome_that_makes_no_sense_crashes_nothing_and_the_deadline_still_holds(world: World, answer: Any) -> None:
    name = world.name()
    create(world, name)
    world.ca.answers = [answer]
    world.advance(name)
    waiting = world.services.storage.open(ALIAS, name)
    assert waiting is not None
    assert (waiting.crashes, waiting.lease_id) == (0, "")
    assert waiting.next_attempt_at <= waiting.deadline
    intervene.cancel(world.services, ALIAS, name)
    world.finish(name)


def test_orders_that_are_lost_again_and_again_for_a_long_reason_fill_no_row(world: World) -> None:
    name = world.name()
    lost = Unavailable("证" * 900, restart=True)
    world.ca.answers = [answer for _ in range(200) for answer in (Pending("order-1", retry_after=1), lost)]
    create(world, name)
    for _ in range(25):
        world.advance(name)
        world.advance(name)
    row = world.services.storage.open(ALIAS, name)
    ended = row or world.services.storage.ended(ALIAS, name)[0]
    assert sum(one.detail.startswith("证") for one in ended.transitions) >= 20
    world.clock.advance(2 * 86_400)
    assert row is None or world.finish(name).state is State.FAILED


def test_operations_that_failed_together_are_spread_by_chance(world: World) -> None:
    times = set()
    for seed in range(4):
        other = replace(world, services=replace(world.services, jitter=random.Random(seed)))
        name = other.name(f"-{seed}")
        create(other, name)
        other.ca.answers = [Unavailable("out of order")]
        began = other.services.now()
        other.advance(name)
        row = other.services.storage.open(ALIAS, name)
        assert row is not None
        times.add(round((row.next_attempt_at - began).total_seconds(), 3))
    assert len(times) == 4
    assert all(4 <= seconds <= 12 for seconds in times), times
