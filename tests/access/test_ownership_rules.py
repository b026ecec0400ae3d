"""Who may ask for what of whose certificate: owners in memory, callers of every kind."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from certrelay.access import ownership
from certrelay.access.grants import Wanted
from certrelay.callers import Caller, Role
from certrelay.errors import NotFound, NotPermitted, NotReady, SoftDeleted
from certrelay.keyvault import policy
from certrelay.pki.subject import SubjectNames
from certrelay.services import Services
from certrelay.setting_models import Grant, Settings, VaultSettings
from certrelay.storage.operation import CertificateRequest, Kind, Operation, State
from certrelay.storage.owners import OwnerChange, Ownership
from certrelay.storage.rows import Stale
from tests.pki.builders import Authority, der, dns, ec_key, subject

NOW, HOST = datetime(2026, 11, 23, 12, tzinfo=UTC), "www.contoso.example"


def person(name: str, role: Role, *ids: str) -> Caller:
    return Caller(name, role, ids or (name,), grants=(Grant(principal="Reader", role=role.title),))


ALICE, BOB = person("alice", Role.REQUESTER, "alice", "alices-app"), person("bob", Role.REQUESTER)
NOBODY, OPERATOR = replace(ALICE, name="unknown", ids=()), person("op", Role.OPERATOR)
ADMIN = person("admin", Role.ADMINISTRATOR)


class Owners:
    """`races`: who takes the name just before the next write."""

    def __init__(self, owner: str | None = None, races: tuple[str, ...] = ()) -> None:
        self.row = self._by(owner) if owner else None
        self.races, self.written = list(races), 0

    def _by(self, owner: str) -> Ownership:
        return Ownership("main", "www", (OwnerChange(owner, NOW, owner, "created"),), etag="1")

    def get(self, _vault: str, _name: str) -> Ownership | None:
        return self.row

    def _lost(self) -> bool:
        if self.races:
            self.row = self._by(self.races.pop(0))
            return True
        return False

    def insert(self, first: Ownership) -> bool:
        if self._lost() or self.row is not None:
            return False
        self.row, self.written = replace(first, etag="1"), self.written + 1
        return True

    def replace(self, changed: Ownership) -> None:
        if self._lost() or self.row is None or changed.etag != self.row.etag:
            raise Stale("changed meanwhile")
        self.row, self.written = changed, self.written + 1


def acting(who: Caller | None, owners: Owners, current: Any = None, deleted: Any = None) -> Services:
    def call(method: str, path: str) -> Any:
        assert (method, path) == ("GET", "/deletedcertificates/www")
        if deleted is None:
            raise NotFound("none", "CertificateNotFound")
        return deleted

    settings = Settings({"main": VaultSettings(url="https://contoso.vault.azure.net")}, {}, {}, {}, 10, True, "Reader")
    vault: Any = SimpleNamespace(get=lambda _: current, call=call)
    storage: Any = SimpleNamespace(owners=owners)
    unused: Any = None
    return Services(settings, storage, lambda _: vault, unused, lambda: NOW, caller=who)


def written(issuer: str = "Unknown", **names: Any) -> dict[str, Any]:
    sans = {"dns_names": [HOST], **names}
    return {
        "key_props": {"kty": "EC"}, "issuer": {"name": issuer},
        "x509_props": {"subject": f"CN={HOST}", "sans": sans, "validity_months": 12},
    }  # fmt: skip


ROOT, KEY = Authority.root(), ec_key().public_key()


def certificate(*names: Any, **changes: Any) -> dict[str, Any]:
    """A CertificateBundle that `corp` renews; `names`: further alternative names of its newest version."""
    sans = x509.SubjectAlternativeName([*dns(HOST), *names])
    leaf = ROOT.sign(KEY, subject(HOST), extensions=[sans])
    made = {"cer": base64.b64encode(der(leaf)).decode(), "tags": {"certrelay-authority": "corp"}, "policy": written()}
    return made | changes


def asked(authority: str | None = "corp", issuer: str = "Unknown", **names: Any) -> CertificateRequest:
    complete, _ = policy.complete(written(issuer, **names), authority=authority, validity_days=None)
    return CertificateRequest(complete, authority)


def version(who: Caller | None, owner: str | None, current: Any, request: CertificateRequest, **others: Any) -> bool:
    deleted = others.pop("deleted", None)
    return ownership.permit_version(acting(who, Owners(owner), current, deleted), "main", "www", request, **others)


ANOTHER: dict[str, Any] = {"dns_names": [HOST, "b.contoso.example"]}


@pytest.mark.parametrize(
    ("who", "owner", "current", "request_", "refused"),
    [
        (ALICE, None, None, asked(), ""),
        (ALICE, "alice", None, asked(), ""),
        (ALICE, "alices-app", certificate(), asked(), ""),
        (ALICE, "alice", certificate(), asked("CORP"), ""),
        (ALICE, "alice", certificate(cer=""), asked(**ANOTHER), ""),
        (ALICE, "bob", None, asked(), "belongs to somebody else"),
        (ALICE, "bob", certificate(), asked(), "belongs to somebody else"),
        (ALICE, None, certificate(), asked(), "has no owner here"),
        (NOBODY, None, None, asked(), "your token has no object id"),
        (NOBODY, "alice", certificate(), asked(), "belongs to somebody else"),
        (ALICE, "alice", certificate(), asked(**ANOTHER), "with other names needs"),
        (ALICE, "alice", certificate(policy=written(**ANOTHER)), asked(), "with other names needs"),
        (ALICE, "alice", certificate(), asked(upns=["a@contoso.example"]), "with other names needs"),
        (ALICE, "alice", certificate(), asked(uris=["urn:a"]), "with other names needs"),
        (ALICE, "alice", certificate(), asked(emails=["a@contoso.example"]), "with other names needs"),
        (ALICE, "alice", certificate(), asked(ipAddresses=["192.0.2.7"]), "with other names needs"),
        (ALICE, "alice", certificate(), asked("other"), r"another authority or issuer \(other instead of corp\)"),
        (ALICE, "alice", certificate(), asked(None, "Self"), r"\(Self instead of corp\)"),
        (ALICE, "alice", certificate(tags={}), asked(), r"\(corp instead of Unknown\)"),
        (ALICE, "alice", certificate(tags=None, policy=written("Self")), asked(None, "self"), ""),
        (ALICE, "alice", certificate(tags=None, policy=written("corp")), asked(), r"\(corp instead of corp\)"),
        (
            ALICE,
            "alice",
            certificate(policy=written(uris=["no"])),
            asked("x"),
            "other names and another .* of an unreadable one",
        ),
    ],
)
def test_a_requester_makes_new_names_and_more_of_the_same_for_its_own_ones(
    who: Caller, owner: str | None, current: Any, request_: CertificateRequest, refused: str
) -> None:
    if refused:
        with pytest.raises(NotPermitted, match=refused):
            version(who, owner, current, request_)
    else:
        assert version(who, owner, current, request_)
    assert not version(OPERATOR, owner, current, request_, force=True), "an Operator need not own it"
    assert not version(None, owner, current, request_), "nor the app itself"


def test_force_is_no_requesters_and_a_deleted_name_is_not_new() -> None:
    with pytest.raises(NotPermitted, match="force needs the role Operator"):
        version(ALICE, "alice", certificate(), asked(), force=True)
    with pytest.raises(SoftDeleted, match="can be recovered until 2026-11-23T12:00:00"):
        version(ALICE, None, None, asked(), deleted={"scheduledPurgeDate": NOW.timestamp()})
    with pytest.raises(SoftDeleted, match="can be recovered;"):
        version(ALICE, None, None, asked(), deleted={"scheduledPurgeDate": None})
    assert version(ALICE, "alice", None, asked(), deleted={}), "its own"


SAME = Wanted("corp", True, SubjectNames(HOST, (HOST,)))
OF_ANOTHER_KIND = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))


@pytest.mark.parametrize(
    ("current", "wanted", "refused"),
    [
        (None, SAME, ""),
        (certificate(), SAME, ""),
        (certificate(), replace(SAME, names=SubjectNames(None, (HOST,))), ""),
        (certificate(policy=written(**ANOTHER)), SAME, ""),
        (certificate(x509.DNSName("b.contoso.example")), SAME, "with other names"),
        (certificate(), replace(SAME, more_names=("b.contoso.example",)), "with other names"),
        (certificate(), replace(SAME, names=SubjectNames("b.contoso.example", (HOST,))), "with other names"),
        (certificate(), replace(SAME, unknown_names=("registeredID 1.2.3",)), "with other names"),
        (certificate(OF_ANOTHER_KIND), SAME, "with other names"),
        (certificate(OF_ANOTHER_KIND), replace(SAME, unknown_names=("registeredID 1.2.3",)), ""),
        (certificate(), replace(SAME, managed=False), "another authority or issuer"),
        (certificate(cer="AAAA"), SAME, "with other names and another authority or issuer .* of an unreadable one"),
        (certificate(cer=""), SAME, ""),
        (certificate(policy=None), SAME, ""),
        (certificate(policy={}, tags={}), SAME, r"\(corp instead of Unknown\)"),
        (certificate(policy=written("Self"), tags=None), SAME, r"\(corp instead of Self\)"),
    ],
)
def test_an_import_over_ones_own_certificate_is_compared_with_its_newest_version(
    current: Any, wanted: Wanted, refused: str
) -> None:
    def permit(who: Caller) -> bool:
        services = acting(who, Owners("alice"), current)
        return ownership.permit_import(services, "main", "www", wanted, current, force=False)

    if refused:
        with pytest.raises(NotPermitted, match=refused):
            permit(ALICE)
    else:
        assert permit(ALICE)
    assert not permit(OPERATOR)
    with pytest.raises(NotPermitted, match="belongs to somebody else"):
        permit(BOB)


def test_an_import_wants_the_names_of_the_certificate_and_of_the_policy_it_is_renewed_by() -> None:
    mail = {"subject": "CN=b.contoso.example, E=a@contoso.example", "sans": {"dns_names": [HOST, "c.contoso.example"]}}
    leaf = ROOT.sign(KEY, subject(HOST), extensions=[dns(HOST)])
    wanted = ownership.wanted_by_import(leaf, {"x509_props": mail, "issuer": {"name": "Self"}})
    assert (wanted.authority, wanted.managed, wanted.more_names) == ("Self", False, ("b.contoso.example",))
    assert wanted.names == SubjectNames(HOST, (HOST, "c.contoso.example"), ("a@contoso.example",))
    alone = ownership.wanted_by_import(leaf, {})
    assert alone == Wanted("Unknown", False, SubjectNames(HOST, (HOST,)))


@pytest.mark.parametrize(
    ("who", "owner", "requested_by", "refused"),
    [
        (ALICE, "alice", "alice", ""),
        (ALICE, "alice", "alices-app", ""),
        (ALICE, "alice", "sweep", ""),
        (ALICE, "alice", "event", ""),
        (ALICE, "alice", "op", "somebody else has requested the operation"),
        (ALICE, "bob", "alice", "belongs to somebody else"),
        (ALICE, None, "alice", "has no owner here"),
        (person("unknown", Role.REQUESTER, "carol"), "carol", "unknown", "somebody else has requested"),
        (OPERATOR, "bob", "alice", ""),
        (OPERATOR, None, "alice", ""),
        (None, None, "alice", ""),
    ],
)
def test_an_owner_cancels_its_own_requests_and_those_of_the_app(
    who: Caller | None, owner: str | None, requested_by: str, refused: str
) -> None:
    operation = Operation(
        id="main.www.1", vault="main", name="www", kind=Kind.RENEW, state=State.PENDING, requested_by=requested_by,
        request=asked(), requested_at=NOW, deadline=NOW, next_attempt_at=NOW,
    )  # fmt: skip
    services = acting(who, Owners(owner))
    if refused:
        with pytest.raises(NotPermitted, match=refused):
            ownership.permit_cancel(services, operation)
    else:
        ownership.permit_cancel(services, operation)


@pytest.mark.parametrize(
    ("who", "before", "races", "must_own", "owner", "refused"),
    [
        (ALICE, None, (), True, "alice", ""),
        (ALICE, "alices-app", (), True, "alices-app", ""),
        (ALICE, "bob", (), False, "bob", ""),
        (ALICE, "bob", (), True, "bob", "belongs to somebody else"),
        (ALICE, None, ("bob",), True, "bob", "belongs to somebody else"),
        (ALICE, None, ("alice",), True, "alice", ""),
        (NOBODY, None, (), False, None, ""),
        (NOBODY, None, (), True, None, "has no owner here"),
        (None, None, (), True, None, ""),
    ],
)
def test_the_first_caller_with_an_id_becomes_the_owner_and_the_loser_of_a_race_is_refused(
    who: Caller | None, before: str | None, races: tuple[str, ...], must_own: bool, owner: str | None, refused: str
) -> None:
    services = acting(who, Owners(before, races))
    if refused:
        with pytest.raises(NotPermitted, match=refused):
            ownership.claim(services, "main", "www", "created", must_own=must_own)
    else:
        ownership.claim(services, "main", "www", "created", must_own=must_own)
    found = ownership.owner(services, "main", "www")
    assert (found and found.id) == owner
    assert [change.owner for change in ownership.owners(services, "main", "www")] == ([owner] if owner else [])


def test_a_transfer_is_repeated_if_somebody_was_faster_but_not_for_ever() -> None:
    for owners in (Owners("alice"), Owners("alice", ("carol",)), Owners("alice", ("bob",)), Owners(None, ("carol",))):
        moved = ownership.transfer(acting(ADMIN, owners, certificate()), "main", "www", "bob")
        assert moved.owner == "bob"
        assert owners.row is not None
        assert owners.row.owner == "bob"
    again = Owners("bob")
    ownership.transfer(acting(ADMIN, again), "main", "www", "bob")
    assert again.written == 0
    with pytest.raises(NotReady, match="is being changed"):
        ownership.transfer(acting(ADMIN, Owners("alice", ("carol",) * 5), certificate()), "main", "www", "bob")
    with pytest.raises(NotFound, match="there is no certificate 'www'"):
        ownership.transfer(acting(ADMIN, Owners()), "main", "www", "bob")
    with pytest.raises(NotFound, match="there is no vault 'gone'"):
        ownership.transfer(acting(ADMIN, Owners("alice")), "gone", "www", "bob")
    app = ownership.transfer(acting(None, Owners("alice")), "main", "www", "bob")
    assert app.changes == (OwnerChange("alice", NOW, "alice", "created"), OwnerChange("bob", NOW, "app", "transferred"))
