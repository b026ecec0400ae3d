"""Issuer resources, partnered issuers, contacts, lifetime actions and emails."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import (
    AdministratorContact,
    CertificateClient,
    CertificateContact,
    CertificateOperation,
    CertificatePolicy,
    KeyVaultCertificate,
    LifetimeAction,
)
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from sandbox.clock import Clock
from sandbox.vault import Settings, VaultServer
from tests.sandbox.vault.support import Rest, certificate_client, properties, self_signed, use_identity
from tests.sandbox.vault.webhook import eventually

DAY = 86400
DIGICERT = {
    "provider": "DigiCert",
    "credentials": {"account_id": "a", "pwd": "p"},
    "org_details": {"id": "o", "admin_details": [{"first_name": "J", "email": "j@a.example"}]},
}


def test_an_issuer_comes_back_without_its_password_and_with_a_zip(rest: Rest, server: VaultServer, name: str) -> None:
    answer = rest("PUT", f"/certificates/issuers/{name}", json=DIGICERT)
    issuer = answer.json()
    assert answer.status_code == 200
    attributes = issuer.pop("attributes")
    assert attributes["enabled"] is True
    assert issuer == {
        "id": f"{server.url}/certificates/issuers/{name}",
        "provider": "DigiCert",
        "credentials": {"account_id": "a"},
        "org_details": {"id": "o", "zip": 0, "admin_details": [{"first_name": "J", "email": "j@a.example"}]},
    }
    assert '"pwd"' not in rest("GET", f"/certificates/issuers/{name}").text


def test_an_issuer_lives_through_the_sdk(client: CertificateClient, name: str) -> None:
    contact = AdministratorContact(first_name="J", last_name="D", email="j@a.example", phone="1")
    client.create_issuer(name, "Test", account_id="a", password="p", admin_contacts=[contact], organization_id="o")
    assert name in [item.name for item in client.list_properties_of_issuers()]
    updated = client.update_issuer(name, account_id="b")
    assert (updated.account_id, updated.organization_id, updated.provider) == ("b", "o", "Test")
    assert updated.admin_contacts is not None
    assert updated.admin_contacts[0].email == "j@a.example"
    assert client.delete_issuer(name).account_id == "b"
    with pytest.raises(ResourceNotFoundError, match="Issuer not found"):
        client.get_issuer(name)


def test_an_issuer_has_only_what_was_sent(rest: Rest, name: str) -> None:
    path = f"/certificates/issuers/{name}"
    assert set(rest("PUT", path, json={"provider": "Test"}).json()) == {"id", "provider", "attributes"}
    assert set(rest("PATCH", path, json={"provider": "Other"}).json()) == {"id", "provider", "attributes"}
    changed = rest("PATCH", path, json={"org_details": {"id": "o"}, "credentials": {"account_id": "a"}}).json()
    assert (changed["org_details"], changed["credentials"]) == ({"id": "o", "zip": 0}, {"account_id": "a"})
    assert set(rest("PUT", path, json={"provider": "Test"}).json()) == {"id", "provider", "attributes"}


def test_empty_members_of_an_issuer_come_back(rest: Rest, name: str) -> None:
    path = f"/certificates/issuers/{name}"
    sent = {"provider": "Test", "credentials": {}, "org_details": {"admin_details": []}}
    for issuer in (rest("PUT", path, json=sent).json(), rest("GET", path).json()):
        assert issuer["credentials"] == {}
        assert issuer["org_details"] == {"zip": 0, "admin_details": []}
    changed = rest("PATCH", path, json={"credentials": {"pwd": "p"}}).json()
    assert changed["credentials"] == {}


def test_issuers_that_key_vault_refuses_are_refused(rest: Rest, name: str) -> None:
    without_id: dict[str, Any] = {**DIGICERT, "org_details": {}}
    for issuer, message in [
        (without_id, "Id in organization details is not set"),
        ({}, "Property provider has invalid value"),
        ({"provider": 5}, "Property provider has invalid value"),
        ({**DIGICERT, "credentials": []}, "Property credentials has invalid value"),
        ({**DIGICERT, "org_details": {"id": "o", "admin_details": [5]}}, "org_details.admin_details"),
        ({**DIGICERT, "attributes": {"enabled": "yes"}}, "Property attributes has invalid value"),
    ]:
        answer = rest("PUT", f"/certificates/issuers/{name}", json=issuer)
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]
    assert rest("PUT", "/certificates/issuers/Self", json=DIGICERT).status_code == 400


def test_contacts_are_set_read_and_deleted(client: CertificateClient, rest: Rest, server: VaultServer) -> None:
    assert rest("GET", "/certificates/contacts").json()["error"]["code"] == "ContactsNotFound"
    client.set_contacts([CertificateContact(email="a@a.example", name="A", phone="1")])
    assert rest("GET", "/certificates/contacts").json() == {
        "id": f"{server.url}/certificates/contacts",
        "contacts": [{"email": "a@a.example", "name": "A", "phone": "1"}],
    }
    assert [item.email for item in client.delete_contacts()] == ["a@a.example"]
    with pytest.raises(ResourceNotFoundError, match="Contacts not found"):
        client.get_contacts()
    refused: list[Any] = [None, [], [{}], "a", [{"email": 1}]]
    for contacts in refused:
        assert rest("PUT", "/certificates/contacts", json={"contacts": contacts}).status_code == 400


# -- orders at partnered issuers ------------------------------------------------------------------------------------


def ordered(client: CertificateClient, name: str, issuer: str, **policy: Any) -> Any:
    chosen = CertificatePolicy(issuer_name=issuer, subject="CN=a.example", **policy)
    return client.begin_create_certificate(name, chosen, _polling_interval=0.02).result()


@pytest.mark.parametrize("provider", ["DigiCert", "GlobalSign", "Test"])
def test_a_partnered_issuer_issues_a_chain(
    client: CertificateClient, rest: Rest, secrets: SecretClient, name: str, provider: str
) -> None:
    rest("PUT", f"/certificates/issuers/{name}-ca", json={**DIGICERT, "provider": provider})
    created = ordered(client, name, f"{name}-ca", san_dns_names=["a.example"])
    assert isinstance(created, KeyVaultCertificate)
    assert client.get_certificate_policy(name).lifetime_actions[0].action == "AutoRenew"  # type: ignore[index]
    parsed = pkcs12.load_pkcs12(base64.b64decode(secrets.get_secret(name).value or ""), None)
    leaf = parsed.cert.certificate if parsed.cert else None
    root, intermediate = (item.certificate for item in parsed.additional_certs)
    assert leaf == x509.load_der_x509_certificate(bytes(created.cer or b""))
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)


def test_an_order_may_fail_with_the_issuers_error(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    rest("PUT", f"/certificates/issuers/{name}-ca", json=DIGICERT)
    error = {"code": "Request rejected", "message": "The call to DigiCert failed"}
    requests.put(f"{server.admin_url}/issuers/{name}-ca", json={"error": error}, timeout=60).raise_for_status()
    failed = ordered(client, name, f"{name}-ca")
    assert isinstance(failed, CertificateOperation)
    operation = rest("GET", f"/certificates/{name}/pending").json()
    assert operation["status"] == "failed"
    assert operation["error"] == error
    assert operation["status_details"].startswith("Pending certificate created.")
    requests.delete(f"{server.admin_url}/issuers/{name}-ca", timeout=60).raise_for_status()
    assert isinstance(ordered(client, name, f"{name}-ca"), KeyVaultCertificate)


def test_an_order_waits_for_the_clock_and_can_be_canceled_before(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    rest("PUT", f"/certificates/issuers/{name}-ca", json=DIGICERT)
    requests.put(f"{server.admin_url}/issuers/{name}-ca", json={"delay": 3600}, timeout=60).raise_for_status()
    body = {"policy": {"issuer": {"name": f"{name}-CA"}, "x509_props": {"subject": "CN=a"}}}
    for number in (1, 2):
        assert rest("POST", f"/certificates/{name}-{number}/create", json=body).status_code == 202
    client.cancel_certificate_operation(f"{name}-2")
    requests.post(f"{server.admin_url}/clock", json={"advance": 3601}, timeout=60).raise_for_status()
    assert client.get_certificate_operation(f"{name}-1").status == "completed"
    assert client.get_certificate_operation(f"{name}-2").status == "cancelled"


def test_digicert_takes_no_emails(rest: Rest, name: str) -> None:
    rest("PUT", f"/certificates/issuers/{name}-ca", json=DIGICERT)
    props = {"subject": "CN=a", "sans": {"emails": ["a@a.example"]}}
    body: dict[str, Any] = {"policy": {"issuer": {"name": f"{name}-ca"}, "x509_props": props}}
    answer = rest("POST", f"/certificates/{name}/create", json=body)
    assert answer.status_code == 400
    assert "DigiCert doesn't support emails" in answer.json()["error"]["message"]


# -- lifetime actions -----------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[VaultServer]:
    with VaultServer(tmp_path, Clock(), settings=Settings(self_delay=0.02, partnered_delay=0.02)) as running:
        yield running


@pytest.fixture
def own_client(own: VaultServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[CertificateClient]:
    use_identity(monkeypatch, own)
    with ManagedIdentityCredential() as credential, certificate_client(own, credential) as client:
        client.set_contacts([CertificateContact(email="admin@a.example")])
        yield client


def move(server: VaultServer, days: float) -> None:
    requests.post(f"{server.admin_url}/clock", json={"advance": days * DAY}, timeout=60).raise_for_status()


def mails(server: VaultServer) -> list[tuple[str, str]]:
    found = requests.get(f"{server.admin_url}/mails", timeout=60).json()["mails"]
    return [(mail["certificate"], mail["reason"]) for mail in found]


def versions(client: CertificateClient, name: str) -> int:
    return len(list(client.list_properties_of_certificate_versions(name)))


def test_self_renews_at_its_share_of_the_lifetime_with_the_same_tags(
    own: VaultServer, own_client: CertificateClient
) -> None:
    policy = CertificatePolicy(issuer_name="Self", subject="CN=a.example", validity_in_months=12)
    own_client.begin_create_certificate("auto", policy, tags={"a": "b"}, _polling_interval=0.02).result()
    move(own, 280)
    assert versions(own_client, "auto") == 1
    move(own, 15)
    eventually(lambda: versions(own_client, "auto") == 2)
    assert properties(own_client.get_certificate("auto")).tags == {"a": "b"}
    eventually(lambda: mails(own) == [("auto", "renewal started"), ("auto", "renewed")])
    requests.delete(f"{own.admin_url}/mails", timeout=60).raise_for_status()
    move(own, 300)
    eventually(lambda: versions(own_client, "auto") == 3)


def test_a_renewal_that_the_issuer_refuses_leaves_the_old_version_and_mails(
    own: VaultServer, own_client: CertificateClient
) -> None:
    own_client.create_issuer("ca", "GlobalSign", account_id="a", organization_id="o")
    first = ordered(own_client, "refused", "ca", lifetime_actions=[LifetimeAction("AutoRenew", days_before_expiry=40)])
    error = {"code": "Request rejected", "message": "no"}
    requests.put(f"{own.admin_url}/issuers/GlobalSign", json={"error": error}, timeout=60).raise_for_status()
    move(own, 330)
    eventually(lambda: ("refused", "renewal failed") in mails(own))
    assert own_client.get_certificate("refused").id == first.id
    assert own_client.get_certificate_operation("refused").status == "failed"


def test_email_contacts_mails_once_and_renews_nothing(own: VaultServer, own_client: CertificateClient) -> None:
    self_signed(own_client, "mail", lifetime_actions=[LifetimeAction("EmailContacts", lifetime_percentage=50)])
    move(own, 200)
    move(own, 50)
    assert mails(own) == [("mail", "near expiry")]
    assert versions(own_client, "mail") == 1


def test_a_changed_lifetime_action_takes_effect_at_once(own: VaultServer, own_client: CertificateClient) -> None:
    self_signed(own_client, "changed", lifetime_actions=[LifetimeAction("EmailContacts", lifetime_percentage=99)])
    move(own, 100)
    policy = CertificatePolicy(lifetime_actions=[LifetimeAction("AutoRenew", lifetime_percentage=10)])
    own_client.update_certificate_policy("changed", policy)
    eventually(lambda: versions(own_client, "changed") == 2)


def test_nothing_renews_a_certificate_of_an_unknown_issuer(own: VaultServer, own_client: CertificateClient) -> None:
    self_signed(own_client, "unknown")
    own_client.update_certificate_policy("unknown", CertificatePolicy(issuer_name="Unknown"))
    move(own, 400)
    assert versions(own_client, "unknown") == 1
