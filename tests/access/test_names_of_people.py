"""Names of people: kept beside their ids where somebody asks for something, shown, and nothing else."""

from dataclasses import replace

import pytest

from certrelay.access import ownership
from certrelay.callers import Caller, Role
from certrelay.certificates import import_file, read
from certrelay.certificates.import_file import ImportCommand
from certrelay.errors import NotPermitted
from certrelay.operations.submit import Origin
from certrelay.renewal import renew, replacement_run, replacements
from certrelay.renewal.replacements import Criteria
from certrelay.setting_models import Grant
from certrelay.storage.operation import from_entity, to_entity
from certrelay.storage.owners import MAX_CHANGES, Owner, OwnerChange, Ownership
from tests.handlers.people import pem
from tests.world import ALIAS, World, made

NAME = "ada@contoso.example"


def as_ada(world: World, name: str = NAME, role: Role = Role.OPERATOR, identifier: str = "ada") -> World:
    grant = Grant(principal=role.title, role=role.title)
    caller = Caller(identifier, role, (identifier,), grants=(grant,), display_name=name)
    return replace(world, services=replace(world.services, caller=caller))


def test_a_creation_and_a_renewal_keep_who_asked_by_name(world: World) -> None:
    name = world.name()
    made(as_ada(world), name)
    renew.renew(as_ada(world, "augusta@contoso.example").services, ALIAS, name, Origin(requested_by="ada"))
    world.finish(name)
    renew.renew(world.services, ALIAS, name, Origin(requested_by="sweep"))
    world.finish(name)
    told = [operation.requested_by_name for operation in read.history(world.services, ALIAS, name)]
    assert told == ["", "augusta@contoso.example", NAME], "as it was then, and the app itself has none"


def test_an_import_keeps_who_asked_by_name(world: World) -> None:
    name, file = world.name(), pem("www.contoso.example", now=world.services.now())
    command = ImportCommand(value=(file["key"] + file["certificate"]), tags={})
    import_file.import_certificate(as_ada(world).services, ALIAS, name, command, requested_by="ada")
    [operation] = read.history(world.services, ALIAS, name)
    assert (operation.requested_by, operation.requested_by_name) == ("ada", NAME)


def test_a_replacement_and_its_renewals_keep_who_asked_by_name(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(world, name)
    administrator = as_ada(world, role=Role.ADMINISTRATOR).services
    job = replacements.start(administrator, Criteria(authority="test-ca"), "ada")
    assert replacements.find(world.services, job.id).requested_by_name == NAME
    replacement_run.advance_all(world.services)
    world.finish(name)
    newest, _ = read.history(world.services, ALIAS, name)
    assert (newest.requested_by, newest.requested_by_name) == ("ada", NAME)


def test_rows_from_before_names_were_kept_are_read(lonely_world: World) -> None:
    world, name = lonely_world, lonely_world.name()
    made(as_ada(world), name)
    [operation] = read.history(world.services, ALIAS, name)
    row = to_entity(operation)
    del row["requested_by_name"]
    assert from_entity(row) == replace(operation, requested_by_name="", etag="")
    owners = world.services.storage.owners
    older = owners._table.get(ALIAS, name)
    assert older is not None
    owners._table.delete(ALIAS, name)
    owners._table.insert({key: older[key] for key in ("PartitionKey", "RowKey", "name", "owner", "changes")})
    assert ownership.owner(world.services, ALIAS, name) == Owner("ada")
    assert owners.of(ALIAS, [name]) == {name: Owner("ada")}
    job = replacements.start(world.services, Criteria(authority="test-ca"), "somebody")
    table = world.services.storage.replacements
    written = table.get(replacements.JOBS, job.id)
    assert written is not None
    assert replacements.from_row({key: one for key, one in written.items() if key != "requested_by_name"}).id == job.id


def test_an_owner_is_shown_by_name_as_far_as_that_is_known(world: World) -> None:
    name, owners = world.name(), world.services.storage.owners
    made(as_ada(world), name)
    assert ownership.owner(world.services, ALIAS, name) == Owner("ada", NAME)
    assert owners.of(ALIAS, [name]) == {name: Owner("ada", NAME)}
    bob = as_ada(world, "bob@contoso.example", identifier="bob").services
    ownership.transfer(bob, ALIAS, name, "carol")
    assert ownership.owner(world.services, ALIAS, name) == Owner("carol")
    ownership.transfer(bob, ALIAS, name, "ada")
    assert ownership.owner(world.services, ALIAS, name) == Owner("ada", NAME), "it was known from before"
    ownership.transfer(bob, ALIAS, name, "bob")
    shown = [(one.owner_name, one.by_name) for one in ownership.owners(world.services, ALIAS, name)]
    by = "bob@contoso.example"
    assert shown == [(NAME, NAME), ("", by), (NAME, by), (by, by)]


def test_a_hundred_owners_with_the_longest_names_fit_into_their_row(world: World) -> None:
    name, owners = world.name(), world.services.storage.owners
    longest = "\N{PILE OF POO}" * 100
    changes = tuple(
        OwnerChange(f"owner-{number:030}", world.services.now(), f"by-{number:033}", "transferred", longest, longest)
        for number in range(MAX_CHANGES)
    )
    assert owners.insert(Ownership(ALIAS, name, changes))
    kept = owners.get(ALIAS, name)
    assert kept is not None
    assert (len(kept.changes), kept.changes[-1]) == (MAX_CHANGES, changes[-1])


def test_somebody_with_the_owners_name_is_not_the_owner(world: World) -> None:
    name = world.name()
    made(as_ada(world), name)
    other = as_ada(world, NAME, Role.REQUESTER, "mallory")
    with pytest.raises(NotPermitted, match="belongs to somebody else"):
        renew.renew(other.services, ALIAS, name, Origin(requested_by="mallory"))
    disguised = as_ada(world, "ada", Role.REQUESTER, "mallory")
    with pytest.raises(NotPermitted, match="belongs to somebody else"):
        renew.renew(disguised.services, ALIAS, name, Origin(requested_by="mallory"))


@pytest.mark.parametrize("names", [b"[]", b"7", b'"x"', b"{"])
def test_names_that_cannot_be_read_make_nobody_the_owner(world: World, names: bytes) -> None:
    name = world.name()
    made(as_ada(world), name)
    owners = world.services.storage.owners
    owners._table.merge({"PartitionKey": ALIAS, "RowKey": name, "names": names})
    with pytest.raises(Exception, match="table owners cannot be read"):
        owners.get(ALIAS, name)
