"""One certificate for each order, whoever dies and however many work on it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certrelay.connectors.base import Rejected
from certrelay.pki.subject import SubjectNames
from tests.connectors.private_ca.private_authority import NAMES, World, der, issued
from tests.connectors.signing_requests import signing_request


def test_a_rejected_request_leaves_no_record(world: World) -> None:
    name, _ = world.root(permitted_dns=("example.com",))
    containers = world.containers()
    outcome = world.connector(name, **containers).submit(signing_request(SubjectNames(None, ("a.example.net",))))
    assert isinstance(outcome, Rejected)
    assert "a.example.net" in outcome.reason
    assert world.blobs(containers["records_container"]) == []


def test_an_operation_id_cannot_be_used_for_another_request(world: World, shared: Any) -> None:
    name, _, containers = shared
    connector, request = world.connector(name, **containers), signing_request(NAMES)
    issued(connector.submit(request))
    outcome = connector.submit(replace(request, names=SubjectNames(None, ("c.example.com",))))
    assert isinstance(outcome, Rejected)
    assert "another request" in outcome.reason


class Killed(BaseException):
    """Ends a submit as the end of its process would."""


@pytest.mark.parametrize("effect", range(5))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_around_any_effect_leaves_one_certificate(
    world: World, shared: Any, monkeypatch: pytest.MonkeyPatch, effect: int, moment: str
) -> None:
    name, root, _ = shared
    containers, request = world.containers(), signing_request(NAMES)
    connector = world.connector(name, **containers)
    with monkeypatch.context() as patch:
        count = count_effects(patch, kill_at=effect, moment=moment)
        with pytest.raises(Killed):
            connector.submit(request)
    assert count[0] == effect + 1
    first, second = (issued(world.connector(name, **containers).submit(request)) for _ in range(2))
    assert first == second
    first.verify_directly_issued_by(root)
    kinds = [blob.split("/")[1] for blob in world.blobs(containers["records_container"])]
    assert kinds == ["intents", "issued"]


def count_effects(patch: pytest.MonkeyPatch, kill_at: int, moment: str) -> list[int]:
    """Counts the reads, writes and signatures of a submit, and kills it at one of them."""
    from certrelay.connectors.private_ca.issuer import Issuer
    from certrelay.storage.blobs import BlobStore

    count = [0]

    def deadly(owner: type, method: str) -> None:
        original = getattr(owner, method)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            count[0] += 1
            if count[0] == kill_at + 1 and moment == "before":
                raise Killed
            result = original(*arguments, **named)
            if count[0] == kill_at + 1:
                raise Killed
            return result

        patch.setattr(owner, method, wrapped)

    deadly(BlobStore, "read")
    deadly(BlobStore, "create")
    deadly(Issuer, "sign")
    return count


@pytest.mark.slow
def test_many_workers_on_one_order_answer_one_certificate(world: World, shared: Any) -> None:
    name, _, _ = shared
    containers, request = world.containers(), signing_request(NAMES)

    def one(_: int) -> bytes:
        return der(issued(world.connector(name, **containers).submit(request)))

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(16)))) == 1
    assert len(world.blobs(containers["records_container"])) == 2


def test_an_order_that_was_decided_keeps_its_serial_and_times(
    world: World, shared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, containers = shared
    request, connector = signing_request(NAMES), world.connector(name, **containers)
    with monkeypatch.context() as patch:
        count_effects(patch, kill_at=3, moment="before")
        with pytest.raises(Killed):
            connector.submit(request)
    before = world.now()
    monkeypatch.setattr(world, "offset", timedelta(hours=5))
    leaf = issued(world.connector(name, **containers).submit(replace(request, not_after=world.now())))
    assert leaf.not_valid_before_utc < before
    assert leaf.not_valid_after_utc == request.not_after
