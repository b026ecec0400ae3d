"""Owners under crashes, races and damage; and what two grants of one caller do not add up to."""

import base64
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509

from certrelay.access import grants, ownership
from certrelay.callers import Caller, Role
from certrelay.certificates import adopt
from certrelay.certificates.adopt import Adoption
from certrelay.errors import NotPermitted, NotReady
from certrelay.operations import intervene
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.services import Services
from certrelay.setting_models import Grant
from certrelay.storage.owners import MAX_CHANGES, Owner, OwnerChange, Ownership
from tests.world import ALIAS, Killed, Life, World, create, made

NOW = datetime(2026, 11, 28, tzinfo=UTC)
ALICE = Caller("alice", Role.REQUESTER, ("alice",), grants=(Grant(principal="Requester", role="Requester"),))
BOB = replace(ALICE, name="bob", ids=("bob",))
OPERATOR = Caller("op", Role.OPERATOR, ("op",), grants=(Grant(principal="Operator", role="Operator"),))


def acting(world: World, caller: Caller) -> World:
    return replace(world, services=replace(world.services, caller=caller))


def dying(world: World, number: int, when: str, caller: Caller = ALICE) -> World:
    mortal = world.mortal(Life({(number, when)}))
    return replace(world, services=replace(mortal, caller=caller))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_crash_leaves_an_operation_without_an_owner_and_a_repeat_goes_on(
    world: World, number: int, when: str
) -> None:
    name = world.name()
    with suppress(Killed):
        create(dying(world, number, when), name)
    owners = world.services.storage.owners
    assert world.services.storage.open(ALIAS, name) is None or owners.get(ALIAS, name) is not None
    assert create(acting(world, ALICE), name).requested_by == "test"
    assert ownership.owner(world.services, ALIAS, name) == Owner("alice")
    with pytest.raises(NotPermitted, match="belongs to somebody else"):
        create(acting(world, BOB), name)


def test_an_adoption_that_is_cut_off_has_an_owner_before_key_vault_is_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.name()
    made(world, name)
    adopt.release(world.services, ALIAS, name)
    call = world.vault.call

    def dies(method: str, path: str, *args: Any, **query: Any) -> Any:
        if method == "PATCH":
            raise Killed
        return call(method, path, *args, **query)

    monkeypatch.setattr(world.vault, "call", dies)
    with pytest.raises(Killed):
        adopt.adopt(acting(world, OPERATOR).services, ALIAS, name, Adoption("test-ca"))
    assert ownership.owner(world.services, ALIAS, name) == Owner("op")


def test_the_app_itself_owns_nothing_and_is_bound_by_nothing(world: World) -> None:
    name = world.name()
    made(world, name)
    assert ownership.owner(world.services, ALIAS, name) is None
    made(acting(world, ALICE), name := world.name("-2"))
    assert renew.renew(world.services, ALIAS, name, Origin(requested_by="sweep")).requested_by == "sweep"


@pytest.mark.parametrize(
    ("requested_by", "allowed"), [("sweep", True), ("event", True), ("alice", True), ("op", False)]
)
def test_the_owner_cancels_what_the_app_has_started_by_itself(world: World, requested_by: str, allowed: bool) -> None:
    name = world.name()
    made(acting(world, ALICE), name)
    renew.renew(world.services, ALIAS, name, Origin(requested_by=requested_by))
    services = acting(world, ALICE).services
    if allowed:
        assert intervene.cancel(services, ALIAS, name).cancel_requested
    else:
        with pytest.raises(NotPermitted, match="Operator is needed"):
            intervene.cancel(services, ALIAS, name)
        assert not intervene.cancel(acting(world, OPERATOR).services, ALIAS, name).state.ended


def test_an_open_renewal_is_shown_to_nobody_who_does_not_own_it(world: World) -> None:
    name = world.name()
    made(acting(world, ALICE), name)
    origin = Origin(requested_by="alice")
    renew.renew(acting(world, ALICE).services, ALIAS, name, origin)
    with pytest.raises(NotPermitted, match="belongs to somebody else"):
        renew.renew(acting(world, BOB).services, ALIAS, name, origin)


def test_the_loser_of_a_race_does_not_get_the_winners_operation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bob finds the name new; then Alice takes it, and has asked for the same."""
    name = world.name()
    get, raced = world.vault.get, False

    def get_and_race(*args: str) -> Any:
        nonlocal raced
        found = get(*args)
        if not raced:
            raced = True
            create(acting(world, ALICE), name)
        return found

    monkeypatch.setattr(world.vault, "get", get_and_race)
    monkeypatch.setattr(ownership, "_require_own_or_new", lambda *_: None)
    with pytest.raises(NotPermitted, match="belongs to somebody else"):
        create(acting(world, BOB), name)


def test_a_caller_without_an_id_owns_nothing(world: World) -> None:
    name, nameless = world.name(), replace(ALICE, name="unknown", ids=())
    with pytest.raises(NotPermitted, match="your token has no object id"):
        create(acting(world, nameless), name)
    assert world.services.storage.open(ALIAS, name) is None
    create(acting(world, replace(OPERATOR, ids=())), name)
    assert ownership.owner(world.services, ALIAS, name) is None


def test_a_row_that_cannot_be_read_is_not_nobodys(world: World) -> None:
    name = world.name()
    made(acting(world, ALICE), name)
    table = world.services.storage.owners._table
    for changes in (b"", b"[]", b"{}", b"7", b'[["alice", "no time", "", ""]]'):
        table.merge({"PartitionKey": ALIAS, "RowKey": name, "changes": changes})
        with pytest.raises(NotReady, match=f"table owners cannot be read: PartitionKey {ALIAS}, RowKey {name}"):
            create(acting(world, BOB), name)


def test_a_transfer_that_meets_another_one_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()
    made(acting(world, ALICE), name)
    owners: Any = world.services.storage.owners
    replacing, raced = owners.replace, False

    def replace_and_race(changed: Ownership) -> None:
        nonlocal raced
        if not raced:
            raced = True
            ownership.transfer(acting(world, OPERATOR).services, ALIAS, name, "carol")
        replacing(changed)

    monkeypatch.setattr(owners, "replace", replace_and_race)
    assert ownership.transfer(acting(world, OPERATOR).services, ALIAS, name, "bob").owner == "bob"
    assert [change.owner for change in ownership.owners(world.services, ALIAS, name)] == ["alice", "carol", "bob"]


def test_a_row_keeps_the_first_owner_and_the_latest_ones(world: World) -> None:
    name, owners = world.name(), world.services.storage.owners
    changes = tuple(OwnerChange(f"owner-{number}", NOW, "x" * 36, "transferred") for number in range(3 * MAX_CHANGES))
    assert owners.insert(Ownership(ALIAS, name.upper(), changes))
    kept = owners.get(ALIAS, name)
    assert kept is not None
    assert len(kept.changes) == MAX_CHANGES
    assert (kept.changes[0].owner, kept.owner) == ("owner-0", f"owner-{3 * MAX_CHANGES - 1}")


def two_grants(world: World) -> Services:
    wide = Grant(principal="Reader", role="Operator", subjects=("*.ops.contoso.example",))
    narrow = Grant(principal="Reader", role="Requester", subjects=("*.contoso.example",), authorities=("Self",))
    caller = Caller("carol", None, ("carol",), by_grants=True, grants=(wide, narrow))
    return replace(world.services, caller=caller)


def test_two_grants_do_not_add_up(world: World) -> None:
    """Operator for some names, Requester for others by another authority: neither is Operator for the others."""
    name, services = world.name(), two_grants(world)
    carol = replace(world, services=services)
    create(carol, name, dns_names=("a.ops.contoso.example",))
    with pytest.raises(NotPermitted, match="do not allow"):
        create(carol, world.name("-2"), dns_names=("www.contoso.example",))
    made(acting(world, ALICE), other := world.name("-3"), dns_names=("www.contoso.example",))
    with pytest.raises(NotPermitted, match="do not allow"):
        renew.renew(services, ALIAS, other, Origin(requested_by="carol"))
    by_self = {"authority": None, "dns_names": ("www.contoso.example",)}
    with pytest.raises(NotPermitted, match="belongs to somebody else"):
        create(carol, other, **by_self)


@pytest.mark.parametrize(
    ("vaults", "certificates", "vault", "name", "reached"),
    [
        ((), (), "main", "www", True),
        (("main",), (), "main", "www", True),
        (("main",), (), "other", "www", False),
        ((), ("shop-*",), "main", "shop-1", True),
        ((), ("shop-*",), "main", "SHOP-1", True),
        ((), ("Shop-*",), "main", "shop-1", True),
        ((), ("shop-*",), "main", "myshop-1", False),
        ((), ("shop-*",), "main", "shop", False),
        ((), ("*-shop", "www"), "main", "my-shop", True),
        ((), ("*-shop", "www"), "main", "www", True),
        ((), ("*-shop", "www"), "main", "www2", False),
        (("other",), ("shop-*",), "main", "shop-1", False),
    ],
)
def test_a_grant_reaches_its_vaults_and_names(
    vaults: tuple[str, ...], certificates: tuple[str, ...], vault: str, name: str, reached: bool
) -> None:
    grant = Grant.model_validate(
        {"principal": "Reader", "role": "Reader"}
        | ({"vaults": vaults} if vaults else {})
        | ({"certificates": certificates} if certificates else {})
    )
    caller = Caller("x", None, grants=(grant,), by_grants=True)
    if reached:
        grants.require(caller, Role.READER, vault, name)
    else:
        with pytest.raises(
            NotPermitted, match=f"no grant of yours has the role Reader for certificate {name} in vault"
        ):
            grants.require(caller, Role.READER, vault, name)


def test_a_certificate_whose_names_cannot_be_read_has_none_that_a_pattern_allows(world: World) -> None:
    name = world.name()
    made(world, name)
    bundle = world.vault.get(name)
    assert bundle is not None
    before, found, after = base64.b64decode(bundle["cer"]).rpartition(name.encode())  # among the alternative names
    damaged = before + b"\xff" * len(found) + after
    wanted = grants.wanted_in(x509.load_der_x509_certificate(damaged))
    assert wanted.unknown_names
