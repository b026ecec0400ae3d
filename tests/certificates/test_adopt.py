"""Adoption: CertRelay takes over a certificate that is in the vault, or lets go of one."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from certrelay.certificates import adopt
from certrelay.certificates.adopt import Adoption
from certrelay.errors import Conflict, Invalid, NotFound, NotReady
from certrelay.keyvault.certificate import item_of
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.renewal.due import due_of
from certrelay.storage.operation import State
from certrelay.storage.renewal_record import RenewalRecord
from tests.world import ALIAS, KEY, World, made, vault_that_fails


def test_a_self_signed_certificate_is_adopted_and_then_renewed_by_the_authority(world: World) -> None:
    name = world.name()
    made(world, name, authority=None, policy={**KEY, "x509_props": {"subject": f"CN={name}.contoso.example"}})
    adopted = adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", validity_days=30))
    assert adopted["tags"]["certrelay-authority"] == "test-ca"
    assert adopted["tags"]["team"] == "web"
    assert adopted["policy"]["issuer"]["name"] == "Unknown", "Key Vault renews it no longer"
    assert len(world.versions(name)) == 1
    again = adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", validity_days=30))
    assert again["tags"] == adopted["tags"]
    renew.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    assert world.finish(name).state is State.COMPLETED
    bundle = world.vault.get(name)
    assert bundle is not None
    leaf = x509.load_der_x509_certificate(base64.b64decode(bundle["cer"]))
    assert leaf.issuer == world.ca.certificate.subject


def test_an_adoption_that_is_cut_off_leaves_no_certificate_that_nobody_renews(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ask, calls = world.name(), world.vault.call, list[str]()
    made(world, name, authority=None, policy={**KEY, "x509_props": {"subject": f"CN={name}.contoso.example"}})

    def cut_off(method: str, path: str, *args: Any, **query: Any) -> Any:
        calls.extend([method] if method == "PATCH" else [])
        if len(calls) > 1:
            raise NotReady("the worker is gone")
        return ask(method, path, *args, **query)

    with monkeypatch.context() as patched, pytest.raises(NotReady):
        patched.setattr(world.vault, "call", cut_off)
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    bundle = world.vault.get(name)
    assert bundle is not None
    by_key_vault = bundle["policy"]["issuer"]["name"] == "Self"
    assert by_key_vault or due_of(item_of(bundle)) is not None


def test_what_another_authority_looks_after_is_taken_only_by_force(world: World) -> None:
    name = world.name()
    made(world, name)
    bundle = world.vault.get(name)
    assert bundle is not None
    foreign = {**bundle["tags"], "certrelay-authority": "other"}
    world.vault.call("PATCH", f"/certificates/{name}", {"tags": foreign})
    with pytest.raises(Conflict):
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    taken = adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", force=True))
    assert taken["tags"]["certrelay-authority"] == "test-ca"
    assert taken["tags"]["certrelay-validity-days"] == "90"


def test_a_released_certificate_is_renewed_no_longer(world: World) -> None:
    name = world.name()
    made(world, name)
    assert adopt.release(world.services, ALIAS, name)["tags"] == {"team": "web"}
    with pytest.raises(Conflict):
        renew.renew(world.services, ALIAS, name, Origin(requested_by="t"))


def test_a_release_that_key_vault_refuses_leaves_what_is_known_of_the_certificate(world: World) -> None:
    """Without its record the same alert would be sent twice, and a back-off would be over."""
    name, renewals = world.name(), world.services.storage.renewals
    made(world, name)
    empty = renewals.record(ALIAS, name)
    renewals.save(replace(empty, alerted="expiring:1", failures=2, last_failure="closed"), empty)
    before = renewals.record(ALIAS, name)
    forbidden = vault_that_fails(world, lambda method, path: method == "PATCH")
    with pytest.raises(NotReady):
        adopt.release(replace(world.services, vault=lambda alias: forbidden), ALIAS, name)
    assert renewals.record(ALIAS, name) == before
    adopt.release(world.services, ALIAS, name)
    assert renewals.record(ALIAS, name) == RenewalRecord(ALIAS, name)


def test_a_certificate_is_neither_adopted_nor_released_while_an_operation_is_open(world: World) -> None:
    """The version that it brings would have the tags of before."""
    name = world.name()
    made(world, name)
    world.ca.wait = 1
    renew.renew(world.services, ALIAS, name, Origin(requested_by="t"))
    with pytest.raises(Conflict) as busy:
        adopt.release(world.services, ALIAS, name)
    assert busy.value.code == "NameBusy"
    with pytest.raises(Conflict) as busy:
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", validity_days=30))
    assert busy.value.code == "NameBusy"
    assert world.finish(name).state is State.COMPLETED
    assert adopt.release(world.services, ALIAS, name)["tags"] == {"team": "web"}


@pytest.mark.parametrize(
    ("trigger", "pointer"),
    [
        ({}, "/trigger"),
        ({"days_before_expiry": 10, "lifetime_percentage": 80}, "/trigger"),
        ({"days_before_expiry": 0}, "/trigger/days_before_expiry"),
        ({"days_before_expiry": 366}, "/trigger/days_before_expiry"),
        ({"lifetime_percentage": 100}, "/trigger/lifetime_percentage"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(world: World, trigger: dict[str, int], pointer: str) -> None:
    name = world.name()
    made(world, name)
    with pytest.raises(Invalid) as refused:
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", trigger=trigger))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_what_is_not_there_cannot_be_adopted(world: World) -> None:
    with pytest.raises(NotFound):
        adopt.adopt(world.services, ALIAS, world.name(), Adoption("test-ca"))
