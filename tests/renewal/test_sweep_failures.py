"""A sweep among vaults, authorities and certificates of which some are out of order."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential

from certrelay.certificates import read as reading
from certrelay.connectors.base import RenewalWindow
from certrelay.errors import Invalid, VaultForbidden
from certrelay.keyvault import client as key_vault
from certrelay.keyvault.certificate import CERTIFICATES
from certrelay.keyvault.client import Vault
from certrelay.operations.submit import Origin
from certrelay.renewal import digest, renew, sweep
from certrelay.services import Services
from certrelay.storage.operation import State
from certrelay.storage.renewal_record import RenewalRecord
from tests.authorities import with_connector
from tests.renewal.suggesting import SuggestingCa
from tests.world import ALIAS, DAY, World, made, seeded, vault_that_fails, with_vaults

pytestmark = pytest.mark.slow

MAIL_ONLY = [{"trigger": {"days_before_expiry": 30}, "action": {"action_type": "EmailContacts"}}]


SELF = {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=x"}, "lifetime_actions": MAIL_ONLY}


def suggesting(world: World) -> tuple[Services, SuggestingCa]:
    ca = SuggestingCa(None, type("Context", (), {"now": staticmethod(world.services.now)}))
    known = with_connector(world.services.settings.authorities["test-ca"], SuggestingCa)
    settings = replace(world.services.settings, authorities={"test-ca": known})
    return replace(world.services, connector=lambda name: ca, settings=settings), ca


def test_a_certificate_whose_alarm_cannot_be_explained_stops_no_other(lonely_world: World) -> None:
    world = lonely_world
    bad, good = world.name("-a"), world.name("-b")
    world.vault.call("POST", f"/certificates/{bad}/create", {"policy": SELF})
    world.clock.advance(60)
    assert world.vault.get(bad) is not None
    made(world, good, validity_days=365)
    world.clock.advance(364 * DAY)
    broken = vault_that_fails(world, lambda method, path: path.startswith(f"/certificates/{bad}"))
    swept = sweep.sweep(replace(world.services, vault=lambda alias: broken))
    assert swept.started == [f"{ALIAS}/{good}"]
    assert swept.refused == []


def test_a_vault_that_lists_but_cannot_be_used_leaves_the_others_their_batch(lonely_world: World) -> None:
    world, names = lonely_world, seeded(lonely_world, 8, months=1)
    world.clock.advance(25 * DAY)
    asked: list[str] = []

    def fails(method: str, path: str) -> bool:
        asked.append(path)
        return not path.startswith("/certificates?")

    services = with_vaults(world, batch=8, broken=vault_that_fails(world, fails), main=world.vault)
    swept = sweep.sweep(services)
    assert len(swept.refused) == sweep.PATIENCE
    assert len([path for path in asked if not path.startswith("/certificates?")]) == sweep.PATIENCE, "then left alone"
    assert len(swept.started) == 8 - sweep.PATIENCE
    assert sorted(swept.started + sweep.sweep(services).started) == [f"{ALIAS}/{name}" for name in names]


def test_names_for_which_a_vault_is_never_ready_do_not_starve_the_rest_of_it(lonely_world: World) -> None:
    world = lonely_world
    bad = tuple(world.name(f"-bad-{number}") for number in range(sweep.PATIENCE + 1))
    for name in bad:
        made(world, name, validity_days=29)
    good = world.name("-good")
    made(world, good, validity_days=30)
    world.clock.advance(25 * DAY)
    broken = vault_that_fails(
        world, lambda method, path: path.split("/")[2].split("?")[0] in bad if "/" in path[1:] else False
    )
    services = with_vaults(world, batch=100, main=broken)
    started = [sweep.sweep(services).started for _ in range(2)]
    assert started == [[], [f"{ALIAS}/{good}"]]


def test_what_is_due_is_started_before_any_authority_is_asked_and_the_longest_not_asked_comes_first(
    lonely_world: World,
) -> None:
    world = lonely_world
    services, ca = suggesting(world)
    due, early, late = world.name("-z-due"), world.name("-b-early"), world.name("-a-late")
    made(world, due, validity_days=20)
    made(world, early)
    sweep.sweep(services)  # asks for the two
    world.clock.advance(15 * DAY)
    made(world, late)
    for name in (early, late):
        note = services.storage.renewals.records(ALIAS, [name]).get(name.lower()) or RenewalRecord(ALIAS, name)
        ago = timedelta(hours=5 if name == early else 1)
        item = next(one for page in world.vault.certificates() for one in page if one.name == name)
        services.storage.renewals.save(replace(note, thumbprint=item.thumbprint, ask_at=services.now() - ago), note)
    open_then: list[bool] = []
    asked: list[int] = []

    def renewal_window(certificate: bytes) -> RenewalWindow | None:
        open_then.append(services.storage.open(ALIAS, due) is not None)
        asked.append(len(certificate))
        return None

    ca.renewal_window = renewal_window  # type: ignore[method-assign]
    one_a_run = replace(services, settings=replace(services.settings, renewal_batch=1))
    assert sweep.sweep(one_a_run).started == [f"{ALIAS}/{due}"]
    assert open_then == [True]
    first, second = (services.storage.renewals.records(ALIAS, [name])[name.lower()].ask_at for name in (early, late))
    assert first is not None
    assert second is not None
    assert first > services.now() > second, "the one that has waited longer was asked"


def test_an_authority_that_answers_nothing_is_left_alone_for_the_rest_of_a_sweep(lonely_world: World) -> None:
    world = lonely_world
    services, ca = suggesting(world)
    seeded(world, 6)
    asked: list[bytes] = []

    def silent(certificate: bytes) -> None:
        asked.append(certificate)
        raise OSError("no answer")

    ca.renewal_window = silent  # type: ignore[method-assign]
    sweep.sweep(services)
    assert len(asked) == 3
    sweep.sweep(services)
    assert len(asked) == 6, "the others come next, whoever failed waits an hour"


def test_a_vault_whose_certificates_cannot_be_read_keeps_no_authority_from_being_asked_for_another_vault(
    lonely_world: World,
) -> None:
    world = lonely_world
    services, ca = suggesting(world)
    names = seeded(world, sweep.PATIENCE + 1)
    closed = vault_that_fails(world, lambda method, path: not path.startswith("/certificates?"))
    two = with_vaults(world, 100, closed=closed, main=world.vault)
    settings = replace(services.settings, vaults=two.settings.vaults)
    for _ in range(8):  # in whichever order the vaults come
        for alias, name in itertools.product(two.settings.vaults, names):
            world.services.storage.renewals.delete(alias, name)
        asked = ca.asked
        swept = sweep.sweep(replace(services, settings=settings, vault=two.vault))
        assert (ca.asked - asked, swept.asked) == (len(names), len(names) + sweep.PATIENCE)


def test_a_window_without_a_time_zone_stops_no_sweep(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    services, ca = suggesting(world)
    made(world, name)
    ca.window = RenewalWindow(datetime(2020, 1, 1), datetime(2020, 1, 2))
    assert sweep.sweep(services).started == []
    world.clock.advance(70 * DAY)
    assert sweep.sweep(services).started == [f"{ALIAS}/{name}"]


@pytest.mark.parametrize(("minutes", "started"), [(1.0, 3), (2.0, 2), (5.0, 0)])
def test_a_sweep_ends_in_time_and_the_next_one_goes_on(lonely_world: World, minutes: float, started: int) -> None:
    world, names = lonely_world, seeded(lonely_world, 3, months=1)
    world.clock.advance(25 * DAY)

    def slow(method: str, path: str) -> bool:
        if (method == "GET" and path.endswith("/")) or (path.startswith("/certificates?") and minutes == 5.0):
            world.clock.advance(minutes * 60)
        return False

    services = with_vaults(world, batch=100, main=vault_that_fails(world, slow))
    assert len(sweep.sweep(services).started) == started
    later = with_vaults(world, batch=100, main=world.vault)
    assert len(sweep.sweep(later).started) == 3 - started
    for name in names:
        assert world.finish(name).state is State.COMPLETED


@pytest.mark.parametrize("body", [b"<html>a proxy</html>", b"[" * 100_000, b"\xff\xfe\x00", b"7"])
def test_a_vault_that_answers_something_else_than_json_objects_stops_no_other(
    lonely_world: World, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name, validity_days=30)
    world.clock.advance(25 * DAY)
    odd = key_vault.connect(world.server.url, ManagedIdentityCredential())
    answer = SimpleNamespace(status_code=200, headers={}, content=body, read=lambda: body)
    monkeypatch.setattr(odd._client, "send_request", lambda *_, **__: answer)
    swept = sweep.sweep(with_vaults(world, 10, odd=odd, main=world.vault))
    assert swept.started == [f"{ALIAS}/{name}"]
    assert swept.refused == ["odd: Key Vault's response is not a JSON object"]


def test_vaults_take_turns_at_being_first_whatever_the_schedule(lonely_world: World) -> None:
    services, first = with_vaults(lonely_world, 10, a=lonely_world.vault, b=lonely_world.vault), set()
    for _ in range(40):
        lonely_world.clock.advance(2 * 3600)
        first.add(sweep._Sweep(services)._vaults()[0])
    assert first == {"a", "b"}


@pytest.mark.parametrize("refused", [False, True])
def test_a_list_that_takes_too_long_is_swept_to_its_end_by_the_next_sweeps(lonely_world: World, refused: bool) -> None:
    """Also where Key Vault knows a place in its list no more: then from the beginning."""
    world, names = lonely_world, seeded(lonely_world, 4, months=1)
    world.clock.advance(25 * DAY)
    listed, _ = world.vault.page(CERTIFICATES)
    long, fresh, asked, lost = (
        Vault(world.vault._client),
        world.services.now() + timedelta(days=30),
        list[str](),
        [2] * refused,
    )

    def page(path: str) -> tuple[list[Any], str]:
        world.clock.advance(100)
        asked.append(path)
        at = int(path.rpartition("=")[2]) if path != CERTIFICATES else 0
        if at in lost:
            lost.remove(at)
            raise Invalid("Invalid $skiptoken.")
        item = listed[at]
        if at < 3:
            item = {**item, "attributes": {**item["attributes"], "exp": int(fresh.timestamp())}}
        return [item], f"/certificates?at={at + 1}" if at < 3 else ""

    long.page = page  # type: ignore[method-assign]
    services = with_vaults(world, 10, main=long)
    started = [sweep.sweep(services).started for _ in range(5 if refused else 2)]
    assert [f"{ALIAS}/{names[3]}"] in started
    assert asked[:2] == [CERTIFICATES, "/certificates?at=1"]
    assert asked[2] == "/certificates?at=2"
    sweep.sweep(services)
    assert asked.count(CERTIFICATES) >= 2, "then from the beginning again"


def test_what_others_write_into_a_note_meanwhile_stays(world: World) -> None:
    storage, now, name = world.services.storage, world.services.now(), world.name()
    empty = RenewalRecord(ALIAS, name)
    storage.renewals.save(replace(empty, thumbprint="aa", ask_at=now), empty)
    read = storage.renewals.records(ALIAS, [name])[name]
    storage.renewals.save(read.backed_off(3, "why", now, now + timedelta(days=30)), read)  # an operation failed
    storage.renewals.save(replace(read, alerted="expiring:aa", ask_at=None), read)  # the sweep that had read before
    found = storage.renewals.records(ALIAS, [name])[name]
    assert (found.failures, found.backed_off_until) == (3, now + timedelta(hours=4))
    assert (found.alerted, found.ask_at, found.thumbprint) == ("expiring:aa", None, "aa")


def test_the_rest_of_a_version_whose_renewal_failed_does_not_hold_up_a_newer_one(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name, validity_days=6)
    world.clock.advance(4.5 * DAY)
    item = next(one for page in world.vault.certificates() for one in page)
    known = RenewalRecord(ALIAS, name).about(item.thumbprint)
    rest = replace(known, failures=9, backed_off_until=world.services.now() + timedelta(days=30), renew_at=item.expires)
    world.services.storage.renewals.save(rest, known)
    assert sweep.sweep(world.services).started == []
    renew.renew(world.services, ALIAS, name, Origin(requested_by="somebody else"))
    merged = world.finish(name)
    world.services.storage.renewals.save(
        rest, RenewalRecord(ALIAS, name)
    )  # made outside CertRelay: nobody forgot the note
    assert merged.state is State.COMPLETED
    due = reading.detail(world.services, ALIAS, name).plan.due
    assert due is not None
    assert due < world.services.now() + timedelta(days=5)
    world.clock.advance(4.5 * DAY)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]


def test_a_certificate_that_another_run_renewed_meanwhile_is_not_renewed_again(lonely_world: World) -> None:
    """Its authority suggested it, so that its dates do not tell that it is fresh."""
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    item = next(one for page in world.vault.certificates() for one in page)
    known = RenewalRecord(ALIAS, name).about(item.thumbprint)
    now = world.services.now()
    world.services.storage.renewals.save(replace(known, renew_at=now, ask_at=now + timedelta(days=1)), known)
    other: list[list[str]] = []

    def while_the_other_runs(method: str, path: str) -> bool:
        if path == f"/certificates/{name}/" and not other:
            other.append([])
            other[0] += sweep.sweep(world.services).started
            world.finish(name)
        return False

    late = with_vaults(world, batch=100, main=vault_that_fails(world, while_the_other_runs))
    assert sweep.sweep(late).started == []
    assert other == [[f"{ALIAS}/{name}"]]
    assert world.services.storage.open(ALIAS, name) is None
    assert len(world.versions(name)) == 2


def test_a_vault_that_is_closed_to_us_stops_neither_the_sweep_nor_the_digest(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    world.clock.advance(61 * DAY)
    closed = key_vault.connect(world.server.url, ManagedIdentityCredential())

    def refuse(*_: object, **__: object) -> dict[str, object]:
        raise VaultForbidden("no")

    closed.call = refuse  # type: ignore[method-assign]
    vaults = {"closed": world.services.settings.vaults[ALIAS], **world.services.settings.vaults}
    settings = replace(world.services.settings, vaults=vaults)
    known = {"closed": closed, ALIAS: world.vault}
    services = replace(world.services, settings=settings, vault=known.__getitem__)
    counted = digest.send_digest(services)
    assert (counted["managed"], counted["unreadable_vault_closed"]) == (1, 1)
    swept = sweep.sweep(services)
    assert swept.started == [f"{ALIAS}/{name}"]
    assert swept.refused == ["closed: no"]
