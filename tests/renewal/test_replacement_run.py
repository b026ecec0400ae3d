"""A replacement among certificates and vaults that are out of order, and cut off in the middle."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.errors import Invalid, NameBusy
from certrelay.keyvault.certificate import CERTIFICATES, item_of
from certrelay.keyvault.client import Vault
from certrelay.operations.submit import Origin
from certrelay.renewal import renew, replacement_run, replacements
from certrelay.renewal.replacements import Criteria, Replacement
from certrelay.services import Services
from certrelay.storage.operation import State
from tests.world import ALIAS, KEY, Killed, World, seeded, vault_that_fails, with_vaults

pytestmark = pytest.mark.slow

ALL = Criteria(authority="test-ca")


def start(services: Services) -> Replacement:
    return replacements.start(services, ALL, "test")


def run(world: World, services: Services, job: Replacement) -> dict[str, int]:
    """One poll, then all open operations to their ends, then another poll."""
    replacement_run.advance_all(services)
    for entry in list(world.services.storage.worklist()):
        world.finish(entry.name)
    replacement_run.advance_all(services)
    return replacements.progress(services, job.id)


def test_a_certificate_for_which_the_vault_is_not_ready_keeps_no_other_waiting(lonely_world: World) -> None:
    world = lonely_world
    names = seeded(world, 4)
    down = [True]
    broken = vault_that_fails(world, lambda method, path: down[0] and path.startswith(f"/certificates/{names[0]}"))
    services = with_vaults(world, 100, main=broken)
    job = start(services)
    assert run(world, services, job) == {"matched": 4, "waiting": 1, "completed": 3}
    assert replacements.find(services, job.id).state == "started"
    down.clear()
    down.append(False)
    assert run(world, services, job) == {"matched": 4, "completed": 4}
    assert [len(world.versions(name)) for name in names] == [2] * 4
    replacement_run.advance_all(services)
    assert replacements.find(services, job.id).state == "settled"


def test_a_vault_that_is_down_keeps_no_other_vault_waiting_and_is_given_up_after_a_day(lonely_world: World) -> None:
    world = lonely_world
    seeded(world, 1)
    services = with_vaults(world, 100, broken=vault_that_fails(world, lambda *_: True), main=world.vault)
    job = start(services)
    assert run(world, services, job) == {"matched": 1, "completed": 1}
    assert replacements.find(services, job.id).state == "running", "the other vault may come back"
    world.clock.advance(86_401)
    for _ in range(3):
        replacement_run.advance_all(services)
    assert replacements.progress(services, job.id) == {"matched": 2, "completed": 1, "refused": 1}
    assert replacements.find(services, job.id).state == "settled"


def busy(world: World) -> str:
    """The name of a certificate for which somebody else's operation waits for the authority."""
    [name] = seeded(world, 1)
    other = CertificateSpec(authority="test-ca", dns_names=("other.contoso.example",), policy=KEY)
    world.ca.wait = 1
    create.create(world.services, ALIAS, name, other, requested_by="somebody else")
    return name


def test_a_certificate_that_is_busy_waits_until_it_can_be_renewed(lonely_world: World) -> None:
    world, name = lonely_world, busy(lonely_world)
    job = start(world.services)
    replacement_run.advance_all(world.services)
    assert replacements.progress(world.services, job.id) == {"matched": 1, "waiting": 1}
    world.finish(name)
    assert run(world, world.services, job) == {"matched": 1, "completed": 1}


def test_a_certificate_that_waits_is_renewed_no_more_once_the_replacement_is_canceled(lonely_world: World) -> None:
    world, name = lonely_world, busy(lonely_world)
    job = start(world.services)
    replacement_run.advance_all(world.services)
    assert replacements.find(world.services, job.id).state == "started", "all that match are known"
    assert replacements.cancel(world.services, job.id).state == "canceled"
    world.finish(name)
    assert run(world, world.services, job) == {"matched": 1, "refused": 1}
    assert len(world.versions(name)) == 2, "the one that somebody else made"
    assert replacements.find(world.services, job.id).state == "settled"


def test_a_certificate_that_stays_out_of_reach_is_refused_after_a_day(lonely_world: World) -> None:
    world, [name] = lonely_world, seeded(lonely_world, 1)
    broken = vault_that_fails(world, lambda method, path: path.startswith(f"/certificates/{name}"))
    services = with_vaults(world, 100, main=broken)
    job = start(services)
    assert run(world, services, job) == {"matched": 1, "waiting": 1}
    world.clock.advance(86_401)
    for _ in range(2):
        replacement_run.advance_all(services)
    assert replacements.progress(services, job.id) == {"matched": 1, "refused": 1}
    assert replacements.find(services, job.id).state == "settled"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_dies_while_it_notes_a_renewal_starts_no_second_one(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    world, [name] = lonely_world, seeded(lonely_world, 1)
    job = start(world.services)
    table = world.services.storage.replacements
    upsert = table.upsert

    def deadly(row: dict[str, object]) -> None:
        monkeypatch.setattr(table, "upsert", upsert)
        if moment == "after":
            upsert(row)
        raise Killed

    monkeypatch.setattr(table, "upsert", deadly)
    with pytest.raises(Killed):
        replacement_run.advance_all(world.services)
    world.finish(name)
    assert run(world, world.services, job) == {"matched": 1, "completed": 1}
    assert len(world.versions(name)) == 2


def test_a_poll_without_time_leaves_the_rest_to_the_next_one(lonely_world: World) -> None:
    world = lonely_world
    names = seeded(world, 27)

    def slow(method: str, path: str) -> bool:
        world.clock.advance(3 if method == "GET" and path.endswith("/") else 0)
        return False

    services = with_vaults(world, 100, main=vault_that_fails(world, slow))
    job = start(services)
    replacement_run.advance_all(services)
    assert replacements.progress(services, job.id) == {"matched": 25, "inProgress": 25}, "a page, then time was up"
    replacement_run.advance_all(services)
    assert replacements.progress(services, job.id)["matched"] == 27
    assert {entry.name for entry in world.services.storage.worklist()} == set(names)


@pytest.mark.parametrize("refused", [False, True])
def test_a_list_in_any_order_is_gone_through_to_its_end_in_several_polls(lonely_world: World, refused: bool) -> None:
    """Also where Key Vault knows a place in its list no more."""
    world = lonely_world
    made_in_order = seeded(world, 6)
    names = [made_in_order[number] for number in (4, 1, 5, 0, 3, 2)]
    listed, _ = world.vault.page(CERTIFICATES)
    items = {item_of(item).name: item for item in listed}
    unordered, places = Vault(world.vault._client), [2]

    def page(path: str) -> tuple[list[Any], str]:
        world.clock.advance(61)
        at = int(path.rpartition("=")[2]) if path != CERTIFICATES else 0
        if refused and at in places:
            places.remove(at)
            raise Invalid("Invalid $skiptoken.")
        following = f"/certificates?at={at + 2}" if at + 2 < len(names) else ""
        return [items[name] for name in names[at : at + 2]], following

    unordered.page = page  # type: ignore[method-assign]
    services = with_vaults(world, 100, main=unordered)
    job = start(services)
    assert run(world, services, job)["matched"] <= 4
    for _ in range(8):
        if replacements.find(services, job.id).state != "settled":
            run(world, services, job)
    assert replacements.progress(services, job.id) == {"matched": 6, "completed": 6}
    assert [len(world.versions(name)) for name in names] == [2] * 6
    assert replacements.find(services, job.id).state == "settled"


def test_a_certificate_that_nobody_can_read_keeps_no_other_waiting(lonely_world: World) -> None:
    world = lonely_world
    names = seeded(world, 3)
    odd = vault_that_fails(world, lambda method, path: False)
    ask = odd.call

    def call(method: str, path: str, *args: Any, **query: Any) -> dict[str, Any]:
        answer = ask(method, path, *args, **query)
        return answer | {"cer": "MAA="} if path.startswith(f"/certificates/{names[0]}/") else answer

    odd.call = call  # type: ignore[method-assign]
    services = with_vaults(world, 100, main=odd)
    job = replacements.start(services, Criteria(authority="test-ca", key_type="EC"), "test")
    assert run(world, services, job) == {"matched": 3, "refused": 1, "completed": 2}
    assert replacements.find(services, job.id).state == "settled"


def test_a_replacement_that_is_canceled_while_a_vault_fails_starts_nothing_more(lonely_world: World) -> None:
    world, [name] = lonely_world, seeded(lonely_world, 1)
    jobs: list[Replacement] = []

    def canceled_meanwhile(method: str, path: str) -> bool:
        replacements.cancel(world.services, jobs[0].id)
        return True

    services = with_vaults(world, 100, broken=vault_that_fails(world, canceled_meanwhile), main=world.vault)
    jobs.append(start(services))
    for _ in range(2):
        replacement_run.advance_all(services)
    assert replacements.progress(services, jobs[0].id) == {"matched": 0}
    assert replacements.find(services, jobs[0].id).state in ("canceled", "settled")
    assert len(world.versions(name)) == 1


def test_a_poll_asks_for_a_page_of_the_list_once_and_for_those_rows_only_that_are_open(
    lonely_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, table = lonely_world, lonely_world.services.storage.replacements
    names, until = seeded(world, 3), world.services.now() + timedelta(minutes=1)
    job = start(world.services)
    ended = {"PartitionKey": job.id, "name": "x", "operation": "main.x.1", "detail": "", "state": "completed"}
    for number in range(4):
        table.upsert({**ended, "RowKey": f"{ALIAS}|gone-{number}"})
    asked, rows, query = list[str](), list[str](), table.query

    def counting(condition: str = "", select: list[str] | None = None, **parameters: str) -> Iterator[dict[str, Any]]:
        asked.append(condition)
        for row in query(condition, select, **parameters):
            rows.append(str(row["RowKey"]))
            yield row

    monkeypatch.setattr(table, "query", counting)
    started = replacement_run._start_in_vault(world.services, job, ALIAS, until)
    assert len(asked) == 1, "for three certificates"
    rows.clear()
    replacement_run._record_ends(world.services, started, until)
    assert sorted(rows) == [f"{ALIAS}|{name}" for name in names]


def test_thousands_of_serial_numbers_are_taken(world: World) -> None:
    """The list of a mass revocation, as long as the API allows; a column of a table has 64 KiB."""
    wanted = Criteria(serial_numbers=tuple(secrets.token_hex(20) for _ in range(5000)), names=("w" * 2048,) * 100)
    job = replacements.start(world.services, wanted, "test")
    assert replacements.find(world.services, job.id).criteria == wanted
    assert replacements.cancel(world.services, job.id).criteria == wanted


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELED])
def test_a_renewal_that_had_ended_before_the_replacement_counts_for_nothing(lonely_world: World, state: State) -> None:
    """Its row is there until its end is told, or until its pending operation is deleted: an hour, or a day."""
    world, [name] = lonely_world, seeded(lonely_world, 1)
    asked = Origin(requested_by="somebody else", idempotency_key="earlier")
    earlier = renew.renew(world.services, ALIAS, name, asked)
    later = world.services.now() + timedelta(seconds=60)
    row = world.services.storage.open(ALIAS, name)
    assert row is not None
    world.services.storage.save(row.moved(state, world.services.now(), next_attempt_at=later))
    assert renew.renew(world.services, ALIAS, name, asked).id == earlier.id, "the same request, repeated"
    with pytest.raises(NameBusy, match="has just ended; try again"):
        renew.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    job = start(world.services)
    replacement_run.advance_all(world.services)
    assert replacements.progress(world.services, job.id) == {"matched": 1, "waiting": 1}
    world.finish(name)
    assert run(world, world.services, job) == {"matched": 1, "completed": 1}
    assert len(world.versions(name)) == 2
