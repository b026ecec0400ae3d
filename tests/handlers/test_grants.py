"""Grants: teams share one deployment, each with its vaults, authorities, certificates and names; nobody sees more."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.handlers.people import (
    A_ADMINISTRATOR,
    A_OPERATOR,
    ADMINISTRATOR,
    CROWDED,
    DOMAIN,
    EC,
    GROUP_A,
    ITS_USER,
    MAIN_ADMINISTRATOR,
    NOBODY,
    OPERATOR,
    OTHER_ADMINISTRATOR,
    READER,
    SERVICE,
    TEAM_A,
    TEAM_B,
    Person,
    Shared,
    guid,
    pem,
    refused,
)

A, B = f"www.a.{DOMAIN}", f"www.b.{DOMAIN}"


@pytest.fixture(scope="module")
def of_a(shared: Shared) -> str:
    return shared.made(TEAM_A, A, prefix="a")


@pytest.fixture(scope="module")
def of_b(shared: Shared) -> str:
    return shared.made(ADMINISTRATOR, B, prefix="b")


def test_a_team_makes_what_its_grant_is_for(shared: Shared, of_a: str) -> None:
    assert shared.owner(of_a) == TEAM_A.id
    assert shared.of(TEAM_A, of_a, "/renew", "POST", {}).status_code == 202
    shared.settled(of_a)


OUTSIDE = [
    ({"dns_names": [B]}, f"the name {B}"),
    ({"dns_names": [A, B]}, f"the name {B}"),
    ({"dns_names": [A], "subject": f"CN={B}"}, f"the name {B}"),
    ({"dns_names": [A], "subject": f"CN={A}, E=root@b.{DOMAIN}"}, f"the name root@b.{DOMAIN}"),
    ({"dns_names": [A], "ip_addresses": ["10.0.0.1"]}, "the name 10.0.0.1"),
    ({"dns_names": [A], "email_addresses": [f"x@b.{DOMAIN}"]}, f"the name x@b.{DOMAIN}"),
    ({"dns_names": [A], "uris": [f"spiffe://b.{DOMAIN}/x"]}, f"the name spiffe://b.{DOMAIN}/x"),
    ({"dns_names": [A], "user_principal_names": [f"root@b.{DOMAIN}"]}, f"the name root@b.{DOMAIN}"),
    ({"dns_names": [f"a.{DOMAIN}"]}, f"the name a.{DOMAIN}"),
    ({"dns_names": [], "subject": "O=Contoso"}, "a certificate without any name"),
    ({"dns_names": [A], "authority": None}, "authority Self"),
    ({"dns_names": [A], "authority": None, "policy": {**EC, "issuer": {"name": "digicert"}}}, "authority digicert"),
    ({"dns_names": [A], "authority": None, "policy": {**EC, "issuer": {"name": "openbao"}}}, "authority openbao"),
    ({"dns_names": [A], "authority": None, "policy": {**EC, "issuer": {"name": "By-Hand"}}}, "authority By-Hand"),
]


@pytest.mark.parametrize(("change", "what"), OUTSIDE)
@pytest.mark.parametrize("who", [TEAM_A, A_OPERATOR], ids=["requester", "operator"])
def test_nobody_asks_for_names_or_authorities_of_others(
    shared: Shared, who: Person, change: dict[str, Any], what: str
) -> None:
    name = shared.name("a")
    body = {"authority": "openbao", "policy": EC, **change}
    detail = refused(shared.of(who, name, "/create", "POST", body), "NotGranted")
    assert what in detail
    assert detail.startswith(f"your grants for certificate {name} in vault main do not allow ")
    assert shared.owner(name) is None
    assert not shared.app.is_open(name)


def test_a_grant_for_an_issuer_of_key_vault_is_for_that_issuer(shared: Shared) -> None:
    name = shared.name("b")
    detail = refused(shared.create(TEAM_B, name, B), "BadRequest", 400)
    assert detail == "there is no authority 'openbao'; the settings have: none", "nor may the team know of it"
    assert shared.create(TEAM_B, name, B, authority=None).status_code == 202


def test_an_import_has_only_names_of_the_grant(shared: Shared) -> None:
    name = shared.name("a")
    directory = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, A)]))
    two = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, B), x509.NameAttribute(NameOID.COMMON_NAME, A)])
    mail = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, f"root@b.{DOMAIN}")])
    for body in (pem(B), pem(A, B), pem(A, directory), pem(A, subject=two), pem(A, subject=mail)):
        assert "the name " in refused(shared.of(A_OPERATOR, name, "/import", "POST", body), "NotGranted")
    for x509_props in (
        {"sans": {"dns_names": [A, B]}},
        {"subject": f"E=root@b.{DOMAIN}"},
        {"sans": {"upns": [f"x@b.{DOMAIN}"]}},
    ):
        later = {**pem(A), "policy": {"x509_props": x509_props}}
        assert "the name " in refused(shared.of(A_OPERATOR, name, "/import", "POST", later), "NotGranted")
    issued = {**pem(A), "policy": {"issuer": {"name": "Self"}}}
    assert "authority Self" in refused(shared.of(A_OPERATOR, name, "/import", "POST", issued), "NotGranted")
    assert shared.owner(name) is None
    assert shared.of(A_OPERATOR, name, "/import", "POST", pem(A)).status_code == 200


def test_an_operator_of_a_team_stays_in_its_names_in_every_way(shared: Shared) -> None:
    """Renewal, adoption, policy: each would ask an authority for the names of others."""
    name = shared.made(ADMINISTRATOR, B, prefix="a")
    assert f"the name {B}" in refused(shared.of(A_OPERATOR, name, "/renew", "POST", {}), "NotGranted")
    version = shared.of(A_OPERATOR, name).json()["version"]
    replacing = {"version": version, "replace": True}
    assert f"the name {B}" in refused(shared.of(A_OPERATOR, name, "/revoke", "POST", replacing), "NotGranted")
    adopting = shared.of(A_OPERATOR, name, "/adopt", "POST", {"authority": "openbao"})
    assert f"the name {B}" in refused(adopting, "NotGranted")
    own = shared.made(A_OPERATOR, A, prefix="a")
    to_b = {"x509_props": {"subject": f"CN={B}", "sans": {"dns_names": [B]}}}
    assert f"the name {B}" in refused(shared.of(A_OPERATOR, own, "/policy", "PATCH", to_b), "NotGranted")
    assert shared.of(READER, own, "/policy").json()["x509_props"]["sans"]["dns_names"] == [A]
    assert shared.of(A_OPERATOR, own, "/policy", "PATCH", {"key_props": {"reuse_key": True}}).status_code == 200
    self_issued = shared.of(A_OPERATOR, own, "/create", "POST", {"dns_names": [A], "force": True})
    assert "authority Self" in refused(self_issued, "NotGranted")


def test_a_certificate_is_merged_by_hand_only_with_names_of_the_grant(shared: Shared) -> None:
    name = shared.name("a")
    shared.create(ADMINISTRATOR, name, B, authority="by-hand").raise_for_status()
    signed = shared.signed_by_hand(name)
    detail = refused(shared.of(A_OPERATOR, name, "/pending/merge", "POST", {"certificate": signed}), "NotGranted")
    assert f"the name {B}" in detail
    assert shared.of(OPERATOR, name, "/pending/merge", "POST", {"certificate": signed}).json()["status"] == "completed"


def names(shared: Shared, who: Person, rest: str = "certificates?max=100") -> set[str]:
    found: set[str] = set()
    path = f"/api/vaults/main/{rest}"
    while path:
        answer = shared.call(who, "GET", path).json()
        found |= {one["name"] for one in answer["value"]}
        following = answer.get("continuation")
        path = f"/api/vaults/main/{rest}&continuation={following}" if following else ""
    return found


def test_lists_have_only_what_the_caller_may_read(shared: Shared, of_a: str, of_b: str) -> None:
    assert {of_a, of_b} <= names(shared, READER)
    assert of_a in names(shared, TEAM_A)
    assert all(name.startswith("a-") for name in names(shared, TEAM_A))
    assert all(name.startswith("b-") for name in names(shared, TEAM_B))
    forecast = shared.call(TEAM_A, "GET", "/api/forecast?days=400").json()
    assert {one["name"] for one in forecast["renewals"]} >= {of_a}
    assert all(one["name"].startswith("a-") for one in forecast["renewals"])
    assert forecast["unreadable_vaults"] == [], "of a vault that is not its own, it hears nothing"
    gone = [shared.made(ADMINISTRATOR, host, prefix=prefix) for prefix, host in (("a", A), ("b", B))]
    for name in gone:
        shared.of(ADMINISTRATOR, name, method="DELETE").raise_for_status()
    deleted = names(shared, TEAM_A, "deletedcertificates")
    assert gone[0] in deleted
    assert gone[1] not in deleted


def test_vaults_authorities_issuers_and_readiness_are_those_of_the_grants(shared: Shared) -> None:
    def listed(who: Person, path: str) -> list[str]:
        return [one["name"] for one in shared.call(who, "GET", f"/api/{path}").json()["value"]]

    assert listed(READER, "vaults") == ["main", "other"]
    assert listed(TEAM_B, "vaults") == ["main"]
    assert listed(OTHER_ADMINISTRATOR, "vaults") == ["other"]
    assert listed(TEAM_A, "authorities") == ["openbao", "by-hand"]
    assert listed(TEAM_B, "authorities") == []
    assert shared.call(TEAM_B, "GET", "/api/vaults").json()["value"][0]["authorities"] == []
    issuer = {"provider": "DigiCert", "credentials": {"account_id": "1", "pwd": "p"}, "org_details": {"id": "2"}}
    put = shared.call(MAIN_ADMINISTRATOR, "PUT", "/api/vaults/main/certificates/issuers/digicert", issuer)
    assert put.status_code == 200, put.text
    assert listed(MAIN_ADMINISTRATOR, "vaults/main/certificates/issuers") == ["digicert"]
    assert listed(TEAM_A, "vaults/main/certificates/issuers") == []
    ready = shared.call(TEAM_A, "GET", "/api/health/ready").json()
    assert ready["status"] == "ok", "what it may not use does not concern it"
    assert {one["what"] for one in ready["parts"]} == {
        "storage",
        "vault main",
        "authority openbao",
        "authority by-hand",
    }


def test_an_operation_is_read_by_its_id_only_where_its_certificate_is(shared: Shared, of_b: str) -> None:
    operation = shared.of(READER, of_b, "/pending").json()["id"]
    assert shared.call(TEAM_B, "GET", f"/api/operations/{operation}").status_code == 200
    refused(shared.call(TEAM_A, "GET", f"/api/operations/{operation}"), "Forbidden")


def test_a_replacement_needs_a_grant_for_all_that_it_may_reach(shared: Shared) -> None:
    everywhere = {"names": ["nothing-like-this"]}
    in_main = {**everywhere, "vaults": ["main"]}
    elsewhere = Person(OTHER_ADMINISTRATOR.id, "Operator")  # Administrator in the other vault only
    wrong = ((MAIN_ADMINISTRATOR, everywhere), (A_ADMINISTRATOR, in_main), (OTHER_ADMINISTRATOR, in_main))
    for who, criteria in (*wrong, (elsewhere, in_main)):
        refused(shared.call(who, "POST", "/api/replacements", criteria), "Forbidden")
    started = shared.call(MAIN_ADMINISTRATOR, "POST", "/api/replacements", in_main)
    assert started.status_code == 202
    path = f"/api/replacements/{started.json()['id']}"
    for who in (TEAM_A, OTHER_ADMINISTRATOR, A_ADMINISTRATOR):
        refused(shared.call(who, "GET", path), "Forbidden")
    assert [shared.call(who, "GET", path).status_code for who in (READER, elsewhere)] == [200, 200]
    for who in (OTHER_ADMINISTRATOR, elsewhere):
        refused(shared.call(who, "DELETE", path), "Forbidden")
    assert shared.call(MAIN_ADMINISTRATOR, "DELETE", path).status_code == 200


def test_a_service_is_granted_by_its_application_id_and_a_person_who_uses_it_is_not(shared: Shared) -> None:
    name = shared.name("s")
    assert shared.create(SERVICE, name, authority="by-hand").status_code == 202
    refused(shared.create(ITS_USER, shared.name("s")), "Forbidden")
    transfer = shared.of(OPERATOR, name, "/owner", "PUT", {"owner": guid(13)})
    assert transfer.status_code == 200
    canceling = "/pending", "PATCH", {"cancellation_requested": True}
    assert shared.of(SERVICE, name, *canceling).status_code == 200, "it owns by either of its ids"


def test_who_is_in_too_many_groups_hears_why_no_grant_applies(shared: Shared) -> None:
    detail = refused(shared.create(CROWDED, shared.name("a"), A), "Forbidden")
    assert "your token names no groups, since you are in too many" in detail
    assert "let Entra ID emit only groups assigned to the application" in detail
    assert "groups" not in refused(shared.create(NOBODY, shared.name("a"), A), "Forbidden")


def test_me_says_who_the_caller_is_and_what_it_may_do_where(shared: Shared) -> None:
    def me(who: Person) -> dict[str, Any]:
        answer = shared.call(who, "GET", "/api/me")
        assert answer.status_code == 200
        return dict(answer.json())

    assert (me(NOBODY)["role"], me(NOBODY)["grants"], me(NOBODY)["vaults"]) == (None, [], [])
    assert me(CROWDED)["groups_left_out"] is True
    team = me(TEAM_A)
    assert (team["name"], team["decided_by"], team["groups"]) == (TEAM_A.id, "grants", [])
    assert team["grants"] == [
        {"role": "Requester", "vaults": ["main"], "authorities": ["openbao", "by-hand"], "certificates": ["a-*"],
         "subjects": [f"*.a.{DOMAIN}", f"*@a.{DOMAIN}"]}
    ]  # fmt: skip
    [main] = team["vaults"]
    assert (main["name"], main["role"]) == ("main", "Requester")
    assert {"create_certificate", "renew_certificate", "get_certificate"} <= set(main["routes"])
    assert not {"delete_certificate", "admin_set_contacts", "transfer_certificate"} & set(main["routes"])
    assert me(A_OPERATOR)["groups"] == [GROUP_A]
    assert "admin_set_contacts" not in me(A_ADMINISTRATOR)["vaults"][0]["routes"]
    assert "admin_set_contacts" in me(MAIN_ADMINISTRATOR)["vaults"][0]["routes"]
    assert me(SERVICE)["ids"] == [guid(12), guid(13)]
    assert me(ITS_USER)["ids"] == [guid(14)]
    assert [one["role"] for one in me(ADMINISTRATOR)["vaults"]] == ["Administrator", "Administrator"]
    assert shared.call(None, "GET", "/api/me").status_code == 401
