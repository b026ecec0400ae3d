"""How many requests to Key Vault and to storage an operation costs. They are most of an issuance, and of the bill."""

import re
from dataclasses import replace
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from certrelay.certificates import create as creations
from certrelay.operations import reconcile, waiting
from certrelay.operations.submit import Origin
from certrelay.renewal import renew as renewal
from certrelay.services import Services
from certrelay.storage.operation import State
from tests.operations.creations import asked
from tests.world import ALIAS, World, create, made

SWEEP = Origin(requested_by="sweep", reason="due")


class Counted:
    """The world's services, with the vault's requests written down."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[str] = []
        vault = world.vault
        call = vault.call

        def counting(method: str, path: str, *args: object, **query: str) -> dict[str, object]:
            self.requests.append(f"{method} {path.split('?', maxsplit=1)[0].rpartition('/')[2] or 'newest'}")
            return call(method, path, *args, **query)  # type: ignore[arg-type]

        monkeypatch.setattr(vault, "call", counting)


@pytest.fixture
def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(world, monkeypatch)


def test_a_new_certificate_costs_three_requests(world: World, counted: Counted) -> None:
    assert made(world, world.name()).state is State.COMPLETED
    assert counted.requests == ["GET pending", "POST create", "POST merge"]


def test_an_authority_that_takes_its_time_costs_one_request_more_each_time_it_is_asked(
    world: World, counted: Counted
) -> None:
    world.ca.wait = 2
    assert made(world, world.name()).state is State.COMPLETED
    assert counted.requests == ["GET pending", "POST create", "GET pending", "GET pending", "POST merge"]


def test_a_renewal_by_the_sweep_costs_four_requests(world: World, counted: Counted) -> None:
    name = world.name()
    made(world, name)
    world.clock.advance(80 * 86_400)
    counted.requests.clear()
    renewal.renew_if_due(world.services, ALIAS, name, SWEEP)
    assert world.finish(name).state is State.COMPLETED
    assert counted.requests == ["GET newest", "GET newest", "POST create", "POST merge"]


def test_a_renewal_on_request_first_makes_sure_that_the_name_is_free(world: World, counted: Counted) -> None:
    name = world.name()
    made(world, name)
    counted.requests.clear()
    renewal.renew(world.services, ALIAS, name, Origin(requested_by="test"))
    assert world.finish(name).state is State.COMPLETED
    assert counted.requests == ["GET newest", "GET pending", "GET newest", "POST create", "POST merge"]


def test_a_second_try_reads_everything_again(world: World, counted: Counted) -> None:
    """The first one may have succeeded unseen."""
    name = world.name()
    operation = create(world, name)
    world.services.storage.save(replace(operation, attempts=1))
    counted.requests.clear()
    reconcile.advance(world.services, ALIAS, name)
    assert counted.requests == ["GET pending", "POST create", "POST merge"]


def test_what_others_did_to_the_pending_operation_within_the_lease_is_found(world: World) -> None:
    """The merge fails, and the reason is read."""
    name = world.name()
    create(world, name)

    def meanwhile(services: Services) -> None:
        pending = services.vault(ALIAS).pending(name)
        assert pending is not None
        services.vault(ALIAS).delete_pending(name, pending.request_id)

    issue = world.ca.issue
    world.ca.issue = lambda request: (meanwhile(world.services), issue(request))[1]  # type: ignore[func-returns-value]
    ended = world.finish(name)
    assert ended.failure is not None
    assert ended.failure.code == "PendingOperationReplaced"
    assert world.versions(name) == []


@pytest.fixture
def stored(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests to storage, after its tables and queues were made."""
    create(world, world.name("-first"))
    world.finish(world.name("-first"))
    found: list[str] = []
    send = RequestsTransport.send

    def counting(self: RequestsTransport, request: Any, **options: Any) -> Any:
        if "devstoreaccount1" in request.url:
            table = re.sub(r"[/(?].*", "", request.url.partition("devstoreaccount1/")[2])
            found.append(f"{request.method} {table.removeprefix(world.prefix)}")
        return send(self, request, **options)

    monkeypatch.setattr(RequestsTransport, "send", counting)
    return found


AT_ONCE = ["PUT operations", "PUT history", "PUT renewals", "DELETE operations"]


def test_a_caller_who_waits_costs_storage_eight_requests(world: World, stored: list[str]) -> None:
    """The lock, the place in the vault's rate, the row with its lease, the issued chain, the history, the names for
    lists, the end; and the wake-up, which is on its way during the steps."""
    name = world.name()
    spec = asked(name)
    opened = creations.create(world.services, ALIAS, name, spec, requested_by="test", hold=True)
    assert waiting.until_ended(world.services, opened, 30).state is State.COMPLETED
    assert stored == ["GET operations", "PUT limits", "POST operations", *AT_ONCE, "POST signing"]


def test_a_wake_up_costs_storage_two_requests_more_than_that(world: World, stored: list[str]) -> None:
    name = world.name()
    operation = create(world, name)
    stored.clear()
    ended = reconcile.advance(world.services, ALIAS, name, operation.id)
    assert ended is not None
    assert ended.state is State.COMPLETED
    assert stored == ["GET operations", "PUT operations", *AT_ONCE]
