"""What happens to an operation in Key Vault: creation, fences, the merge, and operations of somebody else."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential

from certrelay import services
from certrelay.certificates import create as creations
from certrelay.connectors.base import Pending, Rejected
from certrelay.errors import Conflict, NotAllowedNow, NotReady, VaultForbidden
from certrelay.keyvault import client
from certrelay.keyvault import client as key_vault
from certrelay.operations import reconcile
from certrelay.operations.submit import Origin
from certrelay.renewal import renew, sweep
from certrelay.storage.operation import State
from tests.operations.creations import asked, create
from tests.world import ALIAS, World, made

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize(
    ("refusal", "closes"),
    [(VaultForbidden("no"), True), (NotAllowedNow("no"), True), (NotReady("later"), False), (Conflict("busy"), False)],
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


def test_a_failed_renewal_is_closed_although_its_certificate_cannot_be_read(world: World) -> None:
    name = world.name()
    made(world, name)
    world.ca.answers = [Rejected("closed")]
    renew.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    blind = key_vault.connect(world.server.url, ManagedIdentityCredential())
    read = blind.get

    def get(certificate: str, version: str = "") -> dict[str, Any] | None:
        open_one = world.services.storage.open(ALIAS, name)
        if open_one is not None and open_one.state.ended:
            raise NotReady("gone")
        found: dict[str, Any] | None = read(certificate, version)
        return found

    blind.get = get  # type: ignore[method-assign, assignment]
    reconcile.advance(replace(world.services, vault=lambda alias: blind), ALIAS, name)
    assert world.services.storage.open(ALIAS, name) is None
