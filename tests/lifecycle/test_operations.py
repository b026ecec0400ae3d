"""What happens to an operation: deliveries, fences, leases, the authority's outcomes, cancellation, poison."""

import base64
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from cryptography.hazmat.primitives.asymmetric import ec

from certrelay import services
from certrelay.certificates import create as creations
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Issued, Pending, Rejected, SigningRequest, Unavailable
from certrelay.errors import Conflict, Invalid, NotFound, NotPermitted, NotReady, Unverified
from certrelay.keyvault import client
from certrelay.operations import intervene, lease, reconcile
from certrelay.renewal import sweep
from certrelay.settings import Rules
from certrelay.storage.operation import Operation, State
from certrelay.storage.tables import Stale
from sandbox.azurite import Azurite
from sandbox.vault import VaultServer
from tests.world import ALIAS, Killed, World, make_world

KEY = {"key_props": {"kty": "EC", "crv": "P-256"}}


def asked(name: str, **changes: object) -> CertificateSpec:
    return replace(CertificateSpec(authority="test-ca", dns_names=(f"{name}.contoso.example",), policy=KEY), **changes)  # type: ignore[arg-type]


def create(world: World, name: str, **changes: object) -> Operation:
    return creations.create(world.services, ALIAS, name, asked(name, **changes), requested_by="test")


def test_a_certificate_is_made_signed_and_merged(world: World) -> None:
    name = world.name()
    opened = create(world, name, tags={"team": "web"})
    assert opened.state is State.REQUESTED
    ended = world.finish(name)
    assert ended.state is State.COMPLETED
    steps = [entry.state for entry in ended.transitions]
    assert steps == [State.REQUESTED, State.PENDING, State.ISSUED, State.COMPLETED]
    bundle = world.vault.get(name)
    assert bundle is not None
    assert bundle["id"].endswith(ended.version)
    assert bundle["tags"]["certrelay-authority"] == "test-ca"
    assert bundle["tags"]["team"] == "web"


def test_the_same_request_finds_the_open_operation_and_another_one_is_refused(world: World) -> None:
    name = world.name()
    first = create(world, name)
    assert create(world, name).id == first.id
    with pytest.raises(Conflict) as refused:
        create(world, name, dns_names=("other.contoso.example",))
    assert first.id in str(refused.value)


def test_an_idempotency_key_finds_the_ended_operation(world: World) -> None:
    name = world.name()

    def ask() -> Operation:
        key = "order-1"
        return creations.create(world.services, ALIAS, name, asked(name), requested_by="t", idempotency_key=key)

    first = ask()
    world.finish(name)
    assert ask().id == first.id
    assert len(world.versions(name)) == 1


def test_the_same_nudge_delivered_by_many_workers_at_once_makes_one_order_and_one_version(world: World) -> None:
    """Check 1."""
    name = world.name()
    operation = create(world, name)
    start = threading.Barrier(6)

    def deliver(_: int) -> None:
        start.wait()
        for _ in range(3):
            reconcile.advance(world.services, ALIAS, name, operation.id)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(deliver, range(6)))
    world.finish(name)
    assert len(world.ca.orders) == 1
    assert len(world.versions(name)) == 1


def test_many_callers_at_once_get_one_operation(world: World) -> None:
    """Check 7."""
    for turn in range(10):
        name = world.name(f"-{turn}")
        with ThreadPoolExecutor(3) as pool:
            found = {operation.id for operation in pool.map(lambda _, name=name: create(world, name), range(3))}
        assert len(found) == 1


def test_a_lost_answer_to_the_creation_is_found_again(world: World) -> None:
    """Check 3: Key Vault made the key, and the answer never came."""
    name = world.name()
    opened = create(world, name)
    world.vault.create(name, opened.request.policy, opened.request.tags, True)
    ended = world.finish(name)
    assert ended.state is State.COMPLETED
    assert "adopted" in [entry.detail for entry in ended.transitions]
    assert len(world.versions(name)) == 1


def test_a_pending_operation_of_somebody_else_is_never_sent_to_an_authority(world: World) -> None:
    """Check 4."""
    name = world.name()
    foreign = creations.complete(world.services, ALIAS, name, asked(name, dns_names=("foreign.contoso.example",)))
    world.vault.create(name, foreign.policy, {}, True)
    with pytest.raises(Conflict) as refused:
        create(world, name)
    assert refused.value.code == "NameBusy"
    assert world.ca.seen == []


def test_a_pending_operation_that_appears_in_between_makes_the_name_busy(world: World) -> None:
    """Check 4, later."""
    name = world.name()
    create(world, name)
    foreign = creations.complete(world.services, ALIAS, name, asked(name, dns_names=("foreign.contoso.example",)))
    theirs = world.vault.create(name, foreign.policy, {}, True)
    ended = world.finish(name)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert ended.failure.code == "NameBusy"
    assert world.ca.seen == []
    left = world.vault.pending(name)
    assert left is not None
    assert left.request_id == theirs.request_id, "theirs is left alone"


def test_an_operation_that_was_replaced_in_key_vault_is_left_alone(world: World) -> None:
    """Check 9: the request id is the fence."""
    name = world.name()
    world.ca.wait = 5
    create(world, name)
    world.advance(name)
    before = world.vault.pending(name)
    assert before is not None
    world.vault.delete_pending(name, before.request_id)
    replacement = world.vault.create(
        name, creations.complete(world.services, ALIAS, name, asked(name)).policy, {}, True
    )
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "PendingOperationReplaced"
    after = world.vault.pending(name)
    assert after is not None
    assert after.request_id == replacement.request_id
    assert after.in_progress


def test_a_worker_that_outlives_its_lease_loses(world: World) -> None:
    """Check 8."""
    name = world.name()
    create(world, name)
    slow = lease.take(world.services, ALIAS, name)
    assert slow is not None
    assert reconcile.advance(world.services, ALIAS, name) is None, "the name is leased"
    world.outlive_lease()
    ended = world.finish(name)
    assert ended.state is State.COMPLETED
    assert ended.crashes == 1
    with pytest.raises(Stale):
        lease.save(world.services, slow.moved(State.PENDING, world.services.now(), request_id="x"))
    assert world.services.storage.open(ALIAS, name) is None


@pytest.mark.slow
def test_an_operation_that_kills_every_worker_ends_at_its_deadline(world: World) -> None:
    name = world.name()
    opened = create(world, name)

    def killed(request: SigningRequest) -> bytes:
        raise Killed

    world.ca.issue = killed
    while world.services.now() < opened.deadline:
        with pytest.raises(Killed):
            reconcile.advance(world.services, ALIAS, name)
        world.outlive_lease()
    ended = reconcile.advance(world.services, ALIAS, name)
    assert ended is not None
    assert ended.failure is not None
    assert (ended.state, ended.failure.code) == (State.FAILED, "TimedOut")
    assert world.services.storage.open(ALIAS, name) is None


@pytest.mark.parametrize("kind", ["reset", "error"])
def test_a_merge_whose_answer_is_lost_past_the_deadline_is_no_failure(world: World, kind: str) -> None:
    """The SDK tries an error again, and then hears that there is nothing left to merge."""
    name = world.name()
    opened = create(world, name)
    world.clock.advance((opened.deadline - world.services.now()).total_seconds() + 1)
    world.server.faults.add(kind=kind, operation="MergeCertificate", when="after")
    ended = world.finish(name)
    assert ended.state is State.COMPLETED, ended.failure
    assert world.versions(name)[0].endswith(ended.version)


def test_a_creation_whose_answer_is_lost_past_the_deadline_leaves_nothing_in_key_vault(world: World) -> None:
    name = world.name()
    opened = create(world, name)
    world.clock.advance((opened.deadline - world.services.now()).total_seconds() + 1)
    world.server.faults.add(kind="reset", operation="CreateCertificate", when="after")
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "TimedOut"
    assert world.vault.pending(name) is None


def test_a_failed_creation_leaves_a_pending_operation_of_somebody_else_alone(world: World) -> None:
    name = world.name()
    opened = create(world, name)
    foreign = creations.complete(world.services, ALIAS, name, asked(name, dns_names=("foreign.contoso.example",)))
    world.clock.advance((opened.deadline - world.services.now()).total_seconds() + 1)
    world.vault.create(name, foreign.policy, {}, True)
    assert world.finish(name).state is State.FAILED
    assert world.vault.pending(name) is not None


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


@pytest.mark.parametrize("step", ["requested", "submitted"])
def test_a_canceled_operation_ends_canceled_and_frees_the_name(world: World, step: str) -> None:
    """Check 41."""
    name = world.name()
    world.ca.wait = 3
    create(world, name)
    if step == "submitted":
        world.advance(name)
    assert intervene.cancel(world.services, ALIAS, name).cancel_requested
    assert intervene.cancel(world.services, ALIAS, name).cancel_requested, "twice is no error"
    ended = world.finish(name)
    assert ended.state is State.CANCELED
    assert world.vault.pending(name) is None
    assert bool(world.ca.canceled) is (step == "submitted")
    create(world, name)
    assert world.finish(name).state is State.COMPLETED


def test_a_cancellation_while_a_worker_is_busy_is_kept(world: World) -> None:
    """Check 41: the worker's write and the caller's meet in one row."""
    name = world.name()

    def canceled_meanwhile(request: SigningRequest) -> bytes:
        intervene.cancel(world.services, ALIAS, name)
        return world.ca.signed(request)

    world.ca.issue = canceled_meanwhile
    create(world, name)
    ended = world.finish(name)
    assert ended.state is State.CANCELED
    assert (world.vault.get(name) or {}).get("cer") is None, "a late certificate is not merged"


def test_canceling_what_does_not_run_is_an_error(world: World) -> None:
    with pytest.raises(NotFound):
        intervene.cancel(world.services, ALIAS, world.name())


def test_a_forged_or_outdated_nudge_does_nothing(world: World) -> None:
    """Check 11."""
    name = world.name()
    opened = create(world, name)
    assert reconcile.advance(world.services, ALIAS, name, "main.other.0") is None
    assert reconcile.advance(world.services, ALIAS, world.name("-unknown"), opened.id) is None
    world.finish(name)
    assert reconcile.advance(world.services, ALIAS, name, opened.id) is None
    assert len(world.ca.orders) == 1


def test_a_message_in_the_poison_queue_closes_only_an_operation_that_crashed(world: World) -> None:
    """Check 10."""
    name = world.name()
    opened = create(world, name)
    assert not intervene.fail(world.services, ALIAS, name, opened.id), "it never crashed: the message is forged"
    world.services.storage.save(replace(opened, crashes=5))
    assert intervene.fail(world.services, ALIAS, name, opened.id)
    ended = world.services.storage.ended(ALIAS, name)[0]
    assert ended.failure is not None
    assert ended.failure.code == "Abandoned"
    assert world.services.storage.open(ALIAS, name) is None


def test_an_error_nobody_foresaw_is_raised_counted_and_the_row_is_free(world: World) -> None:
    name = world.name()
    create(world, name)
    broken = replace(world.services, vault=lambda alias: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(AttributeError):
        reconcile.advance(broken, ALIAS, name)
    row = world.services.storage.open(ALIAS, name)
    assert row is not None
    assert (row.crashes, row.lease_id) == (1, "")
    assert world.finish(name).state is State.COMPLETED


def test_an_operator_may_bring_the_certificate(world: World) -> None:
    name = world.name()
    world.ca.answers = [Pending("by hand", retry_after=86_400)]
    create(world, name)
    world.advance(name)
    request = world.ca.seen[0]
    with pytest.raises(Invalid):
        intervene.provide_answer(world.services, ALIAS, name, b"nonsense")
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(Unverified):
        intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(request, public_key=stranger))
    ended = intervene.provide_answer(world.services, ALIAS, name, world.ca.signed(request))
    assert ended.state is State.COMPLETED
    assert len(world.versions(name)) == 1


def test_a_deleted_but_recoverable_name_fails_with_key_vaults_word_and_nothing_is_purged(world: World) -> None:
    """Check 40."""
    name = world.name()
    create(world, name)
    world.finish(name)
    world.vault.call("DELETE", f"/certificates/{name}")
    create(world, name)
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "ObjectIsDeletedButRecoverable"


def test_no_key_or_secret_is_in_the_ledger(world: World) -> None:
    """Check 45, for rows: what is stored is the request, the public chain, and where it stands."""
    name = world.name()
    create(world, name)
    world.finish(name)
    bundle = world.vault.get(name)
    assert bundle is not None
    row = repr(world.services.storage.ended(ALIAS, name))
    assert "PRIVATE" not in row
    assert base64.b64decode(bundle["cer"]) in world.services.storage.ended(ALIAS, name)[0].chain


def test_an_idempotency_key_finds_its_operation_while_another_one_is_open(world: World) -> None:
    name = world.name()

    def ask(key: str, **changes: object) -> Operation:
        wanted = asked(name, **changes)
        return creations.create(world.services, ALIAS, name, wanted, requested_by="t", idempotency_key=key)

    first = ask("order-1")
    world.finish(name)
    second = ask("order-2", dns_names=("second.contoso.example",))
    assert ask("order-1").id == first.id
    assert ask("order-2", dns_names=("second.contoso.example",)).id == second.id
    with pytest.raises(Conflict):
        ask("order-1", dns_names=("third.contoso.example",))


@pytest.mark.parametrize(
    ("refusal", "closes"), [(NotPermitted("no"), True), (NotReady("later"), False), (Conflict("busy"), False)]
)
def test_a_pending_operation_that_cannot_be_deleted_keeps_nobody_waiting_past_the_deadline(
    world: World, refusal: Exception, closes: bool
) -> None:
    name = world.name()
    world.ca.answers = [Rejected("no")]
    create(world, name)
    stubborn = client.connect(world.server.url, ManagedIdentityCredential())

    def refuse(name: str, request_id: str) -> None:
        raise refusal

    stubborn.delete_pending = refuse  # type: ignore[method-assign]
    services = replace(world.services, vault=lambda alias: stubborn)
    reconcile.advance(services, ALIAS, name)
    assert (world.services.storage.open(ALIAS, name) is None) is closes
    world.clock.advance(25 * 3600)
    reconcile.advance(services, ALIAS, name)
    assert world.services.storage.open(ALIAS, name) is None
    assert world.services.storage.ended(ALIAS, name)[0].state is State.FAILED


@pytest.mark.slow
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


def test_an_operation_whose_vault_left_the_settings_ends_at_its_deadline(world: World) -> None:
    name = world.name()
    create(world, name)
    world.ca.answers = [Pending("order-1", retry_after=60)]
    world.advance(name)
    settings = replace(world.services.settings, vaults={"another": world.services.settings.vaults[ALIAS]})
    without = replace(world.services, settings=settings, vault=services.connect(settings, world.services.now).vault)
    world.clock.advance(61)
    sweep.advance_due(without)
    waiting = world.services.storage.open(ALIAS, name)
    assert waiting is not None
    assert waiting.failure is not None
    assert waiting.failure.code == "VaultNotConfigured"
    world.clock.advance((waiting.deadline - world.services.now()).total_seconds() + 1)
    sweep.advance_due(without)
    assert world.services.storage.open(ALIAS, name) is None
    failure = world.services.storage.ended(ALIAS, name)[0].failure
    assert failure is not None
    assert failure.code == "TimedOut"
    assert "not in the settings" in failure.message


def test_a_request_that_is_too_large_for_a_row_is_refused_and_not_put_off(world: World) -> None:
    """Check 37. The names alone may be longer than what a column holds."""
    long = tuple(f"https://contoso.example/{number}/{'x' * 2000}" for number in range(60))
    asked = CertificateSpec(authority="test-ca", dns_names=("a.contoso.example",), uris=long)
    with pytest.raises(Invalid, match="larger than can be kept"):
        creations.create(world.services, ALIAS, world.name(), asked, requested_by="test")
    assert world.vault.pending(world.name()) is None


@pytest.mark.slow
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
