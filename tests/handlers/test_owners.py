"""Owners: a Requester is at home with new names and its own certificates; all else needs an Operator."""

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.handlers.people import (
    ADMINISTRATOR,
    ALICE,
    BOB,
    DOMAIN,
    EC,
    OPERATOR,
    READER,
    SERVICE,
    Shared,
    guid,
    pem,
    refused,
)


@pytest.fixture(scope="module")
def owned(shared: Shared) -> str:
    """A certificate of Alice's, which openbao renews."""
    return shared.made(ALICE)


@pytest.fixture(scope="module", autouse=True)
def by_itself(shared: Shared) -> str:
    """What Key Vault renews by itself. It is asked for before all else, for it is looked at after 10 seconds."""
    name = shared.name()
    policy = {**EC, "x509_props": {"subject": f"CN={name}.{DOMAIN}"}}
    assert shared.of(OPERATOR, name, "/create", "POST", {"policy": policy}).status_code == 202
    return name


def test_who_creates_a_new_name_owns_it_and_everybody_who_may_read_it_sees_whose_it_is(
    shared: Shared, owned: str
) -> None:
    assert shared.of(READER, owned).json()["owner"] == ALICE.id
    operation = shared.of(READER, owned, "/pending").json()
    assert (operation["owner"], operation["requested_by"]) == (ALICE.id, ALICE.id)
    assert shared.call(READER, "GET", f"/api/operations/{operation['id']}").json()["owner"] == ALICE.id
    [first] = shared.of(READER, owned, "/history").json()["owners"]
    assert (first["owner"], first["by"], first["why"]) == (ALICE.id, ALICE.id, "created")
    assert "owner" not in shared.of(READER, owned).json()["tags"], "Key Vault has 15 tags only"


ON_A_CERTIFICATE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a new version": ("POST", "/create", {"authority": "openbao", "policy": EC, "dns_names": ["{name}." + DOMAIN]}),
    "a renewal": ("POST", "/renew", {}),
    "a cancellation": ("PATCH", "/pending", {"cancellation_requested": True}),
}


@pytest.mark.parametrize("what", ON_A_CERTIFICATE)
def test_another_requester_is_refused_and_nothing_is_written(shared: Shared, owned: str, what: str) -> None:
    before = shared.of(READER, owned, "/history").json()
    method, path, body = ON_A_CERTIFICATE[what]
    if "dns_names" in body:
        body = {**body, "dns_names": [f"{owned}.{DOMAIN}"]}
    detail = refused(shared.of(BOB, owned, path, method, body), "NotOwner")
    assert detail == f"{owned} belongs to somebody else; its owner or the role Operator is needed"
    assert shared.of(READER, owned, "/history").json() == before
    assert not shared.app.is_open(owned)


def test_the_owner_makes_a_new_version_with_the_same_names_in_any_order(shared: Shared) -> None:
    hosts = [f"one.{DOMAIN}", f"two.{DOMAIN}"]
    name = shared.made(ALICE, *hosts)
    again = shared.create(ALICE, name, *reversed(hosts), tags={"team": "shop"})
    assert again.status_code == 202, again.text
    shared.settled(name)
    assert len(shared.of(READER, name, "/versions").json()["value"]) == 2
    assert len(shared.of(READER, name, "/history").json()["owners"]) == 1


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"dns_names": ["other." + DOMAIN]}, "other names"),
    ({"dns_names": ["{name}." + DOMAIN, "more." + DOMAIN]}, "other names"),
    ({"email_addresses": ["mail@" + DOMAIN]}, "other names"),
    ({"subject": "CN={name}." + DOMAIN + ", E=root@" + DOMAIN}, "other names"),
    ({"subject": "CN=admin." + DOMAIN}, "other names"),
    ({"authority": "by-hand"}, "another authority or issuer (by-hand instead of openbao)"),
    ({"authority": None}, "another authority or issuer (Self instead of openbao)"),
    ({"authority": None, "policy": {**EC, "issuer": {"name": "openbao"}}}, "another authority or issuer (openbao"),
]


@pytest.mark.parametrize(("change", "which"), CHANGES)
def test_the_owner_needs_an_operator_for_other_names_and_other_authorities(
    shared: Shared, owned: str, change: dict[str, Any], which: str
) -> None:
    body = {key: value for key, value in change.items() if key != "dns_names"}
    if "subject" in body:
        body["subject"] = body["subject"].replace("{name}", owned)
    hosts = [host.replace("{name}", owned) for host in change.get("dns_names", ["{name}." + DOMAIN])]
    detail = refused(shared.create(ALICE, owned, *hosts, **body), "OperatorNeeded")
    assert which in detail
    assert detail.endswith("needs the role Operator")
    assert not shared.app.is_open(owned)


def test_force_is_an_operators(shared: Shared, owned: str) -> None:
    detail = refused(shared.create(ALICE, owned, f"{owned}.{DOMAIN}", force=True), "OperatorNeeded")
    assert detail == f"force needs the role Operator for {owned}; you are Requester there"
    new = shared.name()
    refused(shared.create(ALICE, new, force=True), "OperatorNeeded")
    assert shared.owner(new) is None


def test_the_owner_renews_but_not_with_another_authority(shared: Shared) -> None:
    name = shared.made(ALICE)
    other = shared.of(ALICE, name, "/renew", "POST", {"authority": "by-hand"})
    assert "another authority" in refused(other, "OperatorNeeded")
    assert shared.of(ALICE, name, "/renew", "POST", {"authority": "openbao"}).status_code == 202
    shared.settled(name)
    assert shared.of(OPERATOR, name, "/renew", "POST", {"authority": "by-hand"}).status_code == 202


def test_the_owner_cancels_what_it_asked_for_and_not_what_an_operator_did(shared: Shared) -> None:
    canceling = "/pending", "PATCH", {"cancellation_requested": True}
    name = shared.name()
    assert shared.create(ALICE, name, authority="by-hand").status_code == 202
    refused(shared.of(BOB, name, *canceling), "NotOwner")
    assert shared.of(ALICE, name, *canceling).status_code == 200
    shared.settled(name)
    assert shared.create(OPERATOR, name, authority="by-hand").status_code == 202
    detail = refused(shared.of(ALICE, name, *canceling), "OperatorNeeded")
    assert detail == f"somebody else has requested the operation of {name}; to cancel it, Operator is needed"
    assert shared.of(OPERATOR, name, *canceling).status_code == 200
    shared.settled(name)


def test_a_certificate_without_an_owner_is_an_operators_alone(shared: Shared) -> None:
    """Made before there were owners, or the tables were lost."""
    name = shared.made(ALICE)
    shared.forget_owner(name)
    for path, method, body in (("/renew", "POST", {}), ("/pending", "PATCH", {"cancellation_requested": True})):
        assert "has no owner here" in refused(shared.of(ALICE, name, path, method, body), "NotOwner")
    assert "has no owner here" in refused(shared.create(ALICE, name), "NotOwner")
    assert shared.owner(name) is None
    assert shared.of(READER, name).json()["owner"] is None
    assert shared.of(OPERATOR, name, "/renew", "POST", {}).status_code == 202
    shared.settled(name)
    assert shared.owner(name) is None, "a renewal gives it none"
    assert shared.create(OPERATOR, name).status_code == 202
    assert shared.owner(name) == OPERATOR.id
    shared.settled(name)


def test_the_owner_stays_through_release_deletion_and_recovery(shared: Shared) -> None:
    name = shared.made(ALICE)
    assert shared.of(OPERATOR, name, "/release", "POST").status_code == 200
    released = shared.create(ALICE, name)
    assert "another authority" in refused(released, "OperatorNeeded"), "it would undo what the Operator did"
    assert shared.of(OPERATOR, name, "/adopt", "POST", {"authority": "openbao"}).status_code == 200
    assert shared.owner(name) == ALICE.id, "adoption by an Operator takes it from nobody"
    assert shared.of(OPERATOR, name, method="DELETE").status_code == 200
    refused(shared.create(BOB, name), "NotOwner")
    recovered = shared.call(OPERATOR, "POST", f"/api/vaults/main/deletedcertificates/{name}/recover")
    assert recovered.status_code == 200
    assert shared.of(ALICE, name, "/renew", "POST", {}).status_code == 202
    shared.settled(name)


def test_a_deleted_name_without_an_owner_is_not_a_new_name(shared: Shared) -> None:
    """Whoever claimed it would own what an Operator recovers."""
    name = shared.made(ALICE)
    shared.of(OPERATOR, name, method="DELETE").raise_for_status()
    shared.forget_owner(name)
    answer = shared.create(BOB, name)
    assert "the role Operator is needed" in refused(answer, "ObjectIsDeletedButRecoverable", 409)
    assert shared.owner(name) is None


def test_an_operator_transfers_a_certificate_and_the_history_says_so(shared: Shared) -> None:
    name = shared.made(ALICE)
    for who in (ALICE, BOB):
        assert shared.of(who, name, "/owner", "PUT", {"owner": BOB.id}).status_code == 403
    done = shared.of(OPERATOR, name, "/owner", "PUT", {"owner": BOB.id.upper()})
    assert done.status_code == 200, done.text
    assert {key: done.json()[key] for key in ("name", "owner", "by", "why")} == {
        "name": name, "owner": BOB.id, "by": OPERATOR.id, "why": "transferred"}  # fmt: skip
    assert shared.of(OPERATOR, name, "/owner", "PUT", {"owner": BOB.id}).json() == done.json(), "it may be repeated"
    owners = [(one["owner"], one["why"]) for one in shared.of(READER, name, "/history").json()["owners"]]
    assert owners == [(ALICE.id, "created"), (BOB.id, "transferred")]
    refused(shared.of(ALICE, name, "/renew", "POST", {}), "NotOwner")
    assert shared.of(BOB, name, "/renew", "POST", {}).status_code == 202
    shared.settled(name)


def test_a_certificate_is_transferred_to_an_id_and_must_exist(shared: Shared, owned: str) -> None:
    for wrong in ({"owner": "alice@contoso.example"}, {"owner": ""}, {"owner": guid(2)[:-1]}, {}, {"owner": None}):
        assert shared.of(OPERATOR, owned, "/owner", "PUT", wrong).status_code == 400, wrong
    assert shared.of(OPERATOR, shared.name(), "/owner", "PUT", {"owner": BOB.id}).status_code == 404
    lost = shared.made(ALICE)
    shared.forget_owner(lost)
    assert shared.of(OPERATOR, lost, "/owner", "PUT", {"owner": BOB.id}).status_code == 200
    assert shared.owner(lost) == BOB.id


def test_of_requesters_who_want_the_same_new_name_at_once_exactly_one_gets_it(shared: Shared) -> None:
    for _ in range(3):
        name = shared.name()
        with ThreadPoolExecutor(8) as pool:
            asking = [(who, pool.submit(shared.create, who, name, authority="by-hand")) for who in [ALICE, BOB] * 4]
        answers = [(who, future.result()) for who, future in asking]
        winners = {who.id for who, answer in answers if answer.status_code == 202}
        assert len(winners) == 1
        assert {shared.owner(name)} == winners
        others = [answer.status_code for who, answer in answers if who.id not in winners]
        assert set(others) <= {403, 409}, others
        assert shared.of(READER, name, "/pending").json()["requested_by"] in winners


def test_an_import_is_bound_like_a_creation(shared: Shared, owned: str) -> None:
    name, host = shared.name(), f"imported.{DOMAIN}"
    first = pem(host)
    assert shared.of(ALICE, name, "/import", "POST", first).status_code == 200
    assert shared.owner(name) == ALICE.id
    assert shared.of(READER, name, "/history").json()["owners"][0]["why"] == "imported"
    refused(shared.of(BOB, name, "/import", "POST", first), "NotOwner")
    assert shared.of(ALICE, name, "/import", "POST", first).json()["imported"] is False
    assert shared.of(ALICE, name, "/import", "POST", pem(host)).json()["imported"] is True
    assert "other names" in refused(shared.of(ALICE, name, "/import", "POST", pem(f"x.{DOMAIN}")), "OperatorNeeded")
    later = {**pem(host), "policy": {"x509_props": {"sans": {"dns_names": [host, f"x.{DOMAIN}"]}}}}
    assert "other names" in refused(shared.of(ALICE, name, "/import", "POST", later), "OperatorNeeded")
    same = {**pem(host), "policy": {"x509_props": {"sans": {"dns_names": [host]}}}}
    assert shared.of(ALICE, name, "/import", "POST", same).status_code == 200
    by_self = {**pem(host), "policy": {"issuer": {"name": "Self"}}}
    assert "another authority or issuer" in refused(
        shared.of(ALICE, name, "/import", "POST", by_self), "OperatorNeeded"
    )
    refused(shared.of(ALICE, name, "/import", "POST", {**pem(host), "force": True}), "OperatorNeeded")
    over = shared.of(ALICE, owned, "/import", "POST", pem(f"{owned}.{DOMAIN}"))
    assert "another authority or issuer (Unknown instead of openbao)" in refused(over, "OperatorNeeded")
    assert shared.of(OPERATOR, name, "/import", "POST", pem(f"x.{DOMAIN}")).status_code == 200
    assert shared.owner(name) == ALICE.id


def test_what_takes_a_certificate_out_of_renewal_says_so_and_wants_force(shared: Shared) -> None:
    name = shared.made(ALICE)
    own = f"{name}.{DOMAIN}"
    by_self = {"authority": None}
    ends = f"openbao renews {name}, and would no longer do so"
    for answer in (
        shared.create(OPERATOR, name, own, **by_self),
        shared.create(OPERATOR, name, own, enabled=False),
        shared.of(OPERATOR, name, "/import", "POST", pem(own)),
        shared.of(OPERATOR, name, "", "PATCH", {"enabled": False}),
    ):
        assert ends in refused(answer, "Managed", 409)
        assert answer.json()["detail"].endswith("send it with force if that is meant")
    assert shared.create(ADMINISTRATOR, name, own, force=True, **by_self).status_code == 202
    until_by_self = shared.of(READER, name, "/pending").json()
    assert until_by_self["issuer"] == {"name": "Self"}


def test_what_key_vault_renews_by_itself_is_not_taken_out_of_its_renewal_unnoticed(
    shared: Shared, by_itself: str
) -> None:
    name = by_itself
    policy = {**EC, "x509_props": {"subject": f"CN={name}.{DOMAIN}"}}
    shared.settled(name)
    mail = [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}]
    ends = f"Key Vault renews {name} (issuer Self), and would no longer do so"
    for answer in (
        shared.of(OPERATOR, name, "/create", "POST", {"policy": {**policy, "lifetime_actions": mail}}),
        shared.of(OPERATOR, name, "/import", "POST", pem(f"{name}.{DOMAIN}")),
        shared.of(OPERATOR, name, "/policy", "PATCH", {"lifetime_actions": mail}),
    ):
        assert ends in refused(answer, "Managed", 409)
    assert shared.of(OPERATOR, name, "/policy", "PATCH", {"key_props": {"reuse_key": True}}).status_code == 200
    assert shared.of(OPERATOR, name, "/policy?force=true", "PATCH", {"lifetime_actions": mail}).status_code == 200


def test_a_merge_by_hand_stays_an_operators_even_for_the_owner(shared: Shared) -> None:
    name = shared.name()
    shared.create(ALICE, name, authority="by-hand").raise_for_status()
    answer = shared.of(ALICE, name, "/pending/merge", "POST", {"x5c": [base64.b64encode(b"x").decode()]})
    assert (answer.status_code, answer.json()["code"]) == (403, "Forbidden")


def test_people_and_programs_are_shown_by_name_beside_their_ids(shared: Shared) -> None:
    alice = replace(ALICE, claims=(("preferred_username", "<b>alice</b>\u202e@contoso.example"),))
    shown = "<b>alice</b>@contoso.example"
    name = shared.made(alice)
    operation = shared.of(READER, name, "/pending").json()
    assert (operation["requested_by"], operation["requested_by_name"]) == (ALICE.id, shown)
    assert (operation["owner"], operation["owner_name"]) == (ALICE.id, shown)
    detail, history = shared.of(READER, name).json(), shared.of(READER, name, "/history").json()
    assert (detail["owner"], detail["owner_name"]) == (ALICE.id, shown)
    [change], [ended] = history["owners"], history["value"]
    assert (change["owner_name"], change["by_name"], ended["requested_by_name"]) == (shown, shown, shown)
    listed = shared.call(READER, "GET", "/api/vaults/main/certificates?max=100").json()["value"]
    [line] = [one for one in listed if one["name"] == name]
    assert (line["owner"], line["owner_name"]) == (ALICE.id, shown)
    text = shared.call(READER, "GET", f"/api/operations?name={name}&format=csv").text
    assert f'"{ALICE.id}","{shown}"' in text
    assert shared.call(alice, "GET", "/api/me").json()["display_name"] == shown
    assert shared.call(SERVICE, "GET", "/api/me").json()["display_name"] == guid(13)
    assert "owner_name" not in shared.of(OPERATOR, name, "/owner", "PUT", {"owner": BOB.id}).json()
