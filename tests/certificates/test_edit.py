"""Changes of a policy: checked as a whole, then written as a whole."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.certificates import adopt, edit, import_file
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.import_file import ImportCommand
from certrelay.errors import Invalid
from certrelay.keyvault.certificate import item_of
from certrelay.keyvault.client import Vault
from certrelay.operations.submit import Origin
from certrelay.renewal import renew, sweep, two_writes
from certrelay.services import Services
from tests.pki.builders import dns, ec_key, pem, sign, subject
from tests.world import ALIAS, KEY, Killed, World, made, seeded

LATE = {"lifetime_actions": [{"trigger": {"days_before_expiry": 9}, "action": {"action_type": "EmailContacts"}}]}
MORE = LATE | {"x509_props": {"sans": {"dns_names": ["new.contoso.example"]}, "validity_months": 2}}


def self_signed(world: World, days: float = 90, suffix: str = "") -> str:
    """The name of an imported certificate that Key Vault renews."""
    name, key, own = world.name(suffix), ec_key(), subject("www.contoso.example")
    sans = [dns("www.contoso.example")]
    made = sign(key, own, key.public_key(), own, extensions=sans, begins=world.services.now(), days=days)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    command = ImportCommand((private + pem(made)).decode(), policy={"issuer": {"name": "Self"}})
    import_file.import_certificate(world.services, ALIAS, name, command, requested_by="test")
    return name


def state(world: World, name: str) -> tuple[Any, Any]:
    bundle = world.vault.get(name)
    assert bundle is not None
    bundle["policy"]["attributes"].pop("updated", None)
    return bundle.get("tags"), bundle["policy"]


def test_a_policy_with_no_room_for_another_tag_is_refused_whole(world: World) -> None:
    name = world.name()
    made(world, name)
    bundle = world.vault.get(name)
    assert bundle is not None
    full = {**{str(number): "x" for number in range(13)}, **bundle["tags"]}
    full.pop("team")
    world.vault.call("PATCH", f"/certificates/{name}", {"tags": full})
    before = state(world, name)
    assert len(before[0]) == 15
    with pytest.raises(Invalid, match="needs a tag more than the 15 that Key Vault allows"):
        edit.update_policy(world.services, ALIAS, name, LATE)
    assert state(world, name) == before
    edit.update_policy(world.services, ALIAS, name, {"x509_props": {"validity_months": 2}})
    assert state(world, name)[0]["certrelay-validity-days"] == "61", "this one has its tag already"


@pytest.mark.parametrize(
    ("key_props", "kind"),
    [
        ({"kty": "RSA", "key_size": 2048}, ("RSA", 2048, None)),
        ({"kty": "RSA"}, ("RSA", 2048, None)),
        ({"crv": "P-384"}, ("EC", 384, "P-384")),
        ({"key_size": 521}, ("EC", 521, "P-521")),
        ({"kty": "EC"}, ("EC", 256, "P-256")),
        ({"kty": "EC-HSM", "exportable": False}, ("EC-HSM", 256, "P-256")),
        ({"reuse_key": True}, ("EC", 256, "P-256")),
    ],
)
def test_what_belongs_to_the_other_kind_of_key_is_dropped(
    world: World, key_props: dict[str, Any], kind: tuple[Any, ...]
) -> None:
    name = self_signed(world)
    key = edit.update_policy(world.services, ALIAS, name, {"key_props": key_props})["key_props"]
    assert (key["kty"], key["key_size"], key.get("crv")) == kind
    back = edit.update_policy(world.services, ALIAS, name, {"key_props": KEY["key_props"]})["key_props"]
    assert (back["key_size"], back["crv"]) == (256, "P-256")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"key_props": {"kty": "RSA", "key_size": 256}}, "/key_props/key_size"),
        ({"key_props": {"kty": "RSA", "crv": "P-256"}}, "/key_props/crv"),
        ({"x509_props": {"validity_months": 121}}, "/x509_props/validity_months"),
        ({"x509_props": {"validity_months": 0}}, "/x509_props/validity_months"),
        ({"x509_props": {"subject": "CN=a, C=Germany"}}, "/subject"),
        ({"issuer": {"name": "Self"}}, "/issuer/name"),
    ],
)
def test_a_fault_of_a_policy_is_named_where_it_was_written_and_nothing_is(
    world: World, changes: dict[str, Any], pointer: str
) -> None:
    name = world.name()
    made(world, name)
    before = state(world, name)
    with pytest.raises(Invalid) as refused:
        edit.update_policy(world.services, ALIAS, name, changes)
    assert pointer in [fault.pointer for fault in refused.value.faults]
    assert state(world, name) == before


def test_a_subject_with_escapes_is_written_with_quotes(world: World) -> None:
    name = self_signed(world)
    changes = {"x509_props": {"subject": r"CN=www.contoso.example, O=company\, Inc."}}
    written = edit.update_policy(world.services, ALIAS, name, changes)
    assert written["x509_props"]["subject"] == 'CN=www.contoso.example, O="company, Inc."'


def test_a_certificate_without_end_is_adopted_whole(world: World) -> None:
    """RFC 5280, section 4.1.2.5: valid until 99991231235959Z."""
    name = self_signed(world, days=(9999 - world.services.now().year) * 365)
    adopted = adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert adopted["tags"]["certrelay-validity-days"] == "3650"
    assert (adopted["policy"]["issuer"]["name"], adopted["policy"]["x509_props"]["validity_months"]) == ("Unknown", 118)
    assert adopted["policy"]["lifetime_actions"][0]["action"]["action_type"] == "EmailContacts"


class Dying:
    """A vault and a ledger that die before or after one of their writes."""

    def __init__(self, world: World, at: int) -> None:
        self.left, vault, records = at, Vault(world.vault._client), type(world.services.storage.renewals)
        call = vault.call
        table = world.services.storage.renewals._table
        storage = type(world.services.storage).__new__(type(world.services.storage))
        storage.__dict__.update(world.services.storage.__dict__)
        storage.renewals = records(table)
        save = storage.renewals.save
        vault.call = lambda method, *rest, **query: (  # type: ignore[method-assign]
            self.live(call, method, *rest, **query) if method == "PATCH" else call(method, *rest, **query)
        )
        storage.renewals.save = lambda *rest: self.live(save, *rest)  # type: ignore[method-assign]
        self.services = Services(
            world.services.settings, storage, lambda _: vault, world.services.connector, world.services.now,
            world.services.jitter,
        )  # fmt: skip

    def live(self, effect: Any, *rest: Any, **query: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise Killed
        found = effect(*rest, **query)
        self.left -= 1
        if self.left == 0:
            raise Killed
        return found


CUTS = (1, 3, 5, 7, 8, 9)  # before each of four writes, after the last, and never: after one is before the next


@pytest.mark.parametrize("by", ["sweep", "renewal", "the same again"])
def test_a_policy_that_is_cut_off_at_any_write_is_finished_by_the_next_look(world: World, by: str) -> None:
    for at in CUTS:
        [name] = seeded(world, 1, f"-{at}")
        before = state(world, name)
        try:
            edit.update_policy(Dying(world, at).services, ALIAS, name, MORE)
        except Killed:
            recorded = at > 1
        else:
            assert at == 9, "four writes: the record, tags, policy, the record again"
            return
        if by == "sweep":
            look(world, name)
        elif by == "renewal" and recorded:
            renew.renew(world.services, ALIAS, name, Origin(requested_by="test"))
            assert world.finish(name).request.expected.names.dns_names == ("new.contoso.example",)
        else:
            edit.update_policy(world.services, ALIAS, name, MORE)
        after = state(world, name)
        if by == "sweep" and not recorded:
            assert after == before, "nothing was written"
            continue
        assert after[0]["certrelay-renewal"] == "days_before_expiry=9"
        assert after[0]["certrelay-validity-days"] == "61"
        assert after[1]["x509_props"]["sans"] == {"dns_names": ["new.contoso.example"]}
        assert not world.services.storage.renewals.record(ALIAS, name).unfinished


def look(world: World, name: str) -> None:
    """What a sweep does with this one certificate of a vault that other tests fill as well."""
    for page in world.vault.certificates():
        for item in page:
            if item.name == name:
                found = world.services.storage.renewals.record(ALIAS, name).about(item.thumbprint)
                two_writes.finish(world.services, found, item.tags)


@pytest.mark.slow
def test_an_adoption_that_is_cut_off_at_any_write_is_done_or_was_never_begun(lonely_world: World) -> None:
    world = lonely_world
    for at in CUTS:
        certificate = self_signed(world, suffix=f"-{at}")
        before = state(world, certificate)
        try:
            adopt.adopt(Dying(world, at).services, ALIAS, certificate, Adoption("test-ca"))
        except Killed:
            sweep.sweep(world.services)
        else:
            assert at == 9
            return
        tags, policy = state(world, certificate)
        if at <= 3:
            assert (tags, policy) == before
        else:
            assert (tags["certrelay-authority"], policy["issuer"]["name"]) == ("test-ca", "Unknown")
            assert not world.services.storage.renewals.record(ALIAS, certificate).unfinished


def test_what_key_vault_refuses_to_finish_is_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name, ask = self_signed(world), world.vault.call
    before = state(world, name)

    def refusing(method: str, path: str, *rest: Any, **query: Any) -> Any:
        if method == "PATCH" and path.endswith("/policy"):
            raise Invalid("Key Vault refuses it: for a reason of its own")
        return ask(method, path, *rest, **query)

    with monkeypatch.context() as patched, pytest.raises(Invalid, match="for a reason of its own"):
        patched.setattr(world.vault, "call", refusing)
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    tags, policy = state(world, name)
    assert (tags or {}, policy) == (before[0] or {}, before[1])
    assert not world.services.storage.renewals.record(ALIAS, name).unfinished


@pytest.mark.parametrize("text", ["{", "[]", '{"tags": 3}', '{"tags": {"certrelay-authority": "other"}, "policy": {}}'])
def test_a_record_of_a_change_that_makes_no_sense_is_forgotten(world: World, text: str) -> None:
    name = world.name()
    made(world, name)
    before, renewals = state(world, name), world.services.storage.renewals
    bundle = world.vault.get(name)
    assert bundle is not None
    record = renewals.record(ALIAS, name).about(item_of(bundle).thumbprint)
    renewals.save(replace(record, unfinished=text), record)
    look(world, name)
    assert not renewals.record(ALIAS, name).unfinished
    assert state(world, name) == before
