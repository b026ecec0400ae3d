"""What a list says of its certificates besides what Key Vault says, and what that costs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrelay.certificates import read
from certrelay.certificates.read import Line
from certrelay.keyvault.certificate import CertificateItem
from certrelay.storage import shown_names
from certrelay.storage.owners import Owner, OwnerChange, Ownership
from tests.handlers.people import pem
from tests.world import ALIAS, World, made


def der(*names: str, subject: x509.Name | None = None) -> bytes:
    found = x509.load_pem_x509_certificate(pem(*names, subject=subject)["certificate"].encode())
    return found.public_bytes(Encoding.DER)


AT = datetime(2026, 11, 28, tzinfo=UTC)


def item(world: World, name: str) -> CertificateItem:
    return next(one for page in world.vault.certificates() for one in page if one.name == name)


def line(world: World, name: str) -> Line:
    [found] = read.lines(world.services, ALIAS, [item(world, name)])
    return found


def test_a_certificate_that_certrelay_made_has_its_names_plan_and_owner(world: World) -> None:
    name = world.name()
    made(world, name)
    world.services.storage.owners.insert(Ownership(ALIAS, name, (OwnerChange("ada", AT, "ada", "created"),)))
    found = line(world, name)
    detail = read.detail(world.services, ALIAS, name)
    assert found.names is not None
    assert found.names.first
    assert (found.owner, found.plan, found.failures) == (Owner("ada"), detail.plan, 0)


def test_renewals_that_failed_are_counted_with_the_next_try(world: World) -> None:
    name = world.name()
    made(world, name)
    record = world.services.storage.renewals.record(ALIAS, name)
    until = world.services.now().replace(year=2040)
    world.services.storage.renewals.save(replace(record, failures=3, last_failure="no", backed_off_until=until), record)
    found = line(world, name)
    assert (found.failures, found.last_failure, found.plan.due) == (3, "no", until)
    assert "backed off after 3 failed tries" in found.plan.reason
    assert found.names is not None


def test_a_certificate_of_others_has_no_names_and_no_owner(world: World) -> None:
    name = world.name()
    other = CertificateItem(name, enabled=True, created=None, not_before=None, expires=None, tags={}, thumbprint="aa")
    [found] = read.lines(world.services, ALIAS, [other])
    assert (found.names, found.owner, found.failures, found.plan.due) == (None, None, 0, None)


def test_names_of_another_version_are_not_shown(world: World) -> None:
    name = world.name()
    made(world, name)
    [found] = read.lines(world.services, ALIAS, [replace(item(world, name), thumbprint="ff")])
    assert found.names is None


@pytest.mark.parametrize("count", [1, 25, 100])
def test_a_page_costs_two_requests_to_the_tables_however_long_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    asked = list[Any]()
    for part in (world.services.storage.renewals, world.services.storage.owners):
        query = part._table.query

        def counting(*of: Any, query: Any = query, **more: Any) -> Any:
            asked.append(of)
            return query(*of, **more)

        monkeypatch.setattr(part._table, "query", counting)
        monkeypatch.setattr(part._table, "get", lambda *_: pytest.fail("one by one"))
    one = CertificateItem("a", enabled=True, created=None, not_before=None, expires=None, tags={}, thumbprint="")
    before = sum(world.server.requests.counts().values())
    found = read.lines(
        world.services, ALIAS, [replace(one, name=f"{world.name()}-{number}") for number in range(count)]
    )
    assert (len(found), len(asked)) == (count, 2)
    assert sum(world.server.requests.counts().values()) == before


def test_of_thousands_of_names_ten_are_kept_and_the_rest_is_counted() -> None:
    text = shown_names.text_of(der(*(f"n{number}.example" for number in range(4000))))
    assert shown_names.read(text) == ([f"n{number}.example" for number in range(10)], 3990)
    assert len(text) < 4000


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1, 2]", '[["a"]]', '[["a"], "x"]', "nonsense", "[" * 100_000])
def test_a_column_that_somebody_has_spoilt_is_no_names(text: str) -> None:
    assert shown_names.read(text) is None


def test_what_is_no_certificate_has_no_names() -> None:
    assert shown_names.text_of(b"nothing") == ""


def test_without_alternative_names_the_subject_stands_for_them() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    assert shown_names.read(shown_names.text_of(der(subject=subject))) == (["CN=old"], 0)
