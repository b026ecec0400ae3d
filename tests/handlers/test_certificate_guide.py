"""Every scenario of Key Vault's certificate guide, over CertRelay's HTTP API, with the whole sandbox behind it."""

import base64
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7

from certrelay.connectors.base import SigningRequest
from certrelay.pki.subject import SubjectNames
from tests.app import App, until
from tests.world import TestCa

EC = {"key_props": {"kty": "EC", "crv": "P-256"}}


def partnered(app: App, issuer: str, **behaviour: Any) -> str:
    """A certificate asked of a partnered authority whose answer is `behaviour`."""
    body = {"provider": "DigiCert", "credentials": {"account_id": "a", "pwd": "p"}, "org_details": {"id": "o"}}
    app.call("PUT", f"/api/vaults/main/certificates/issuers/{issuer}", body).raise_for_status()
    app.client.put(f"{app.settings['VAULT_ADMIN_URL']}/issuers/{issuer}", json=behaviour).raise_for_status()
    name = app.name()
    policy = {**EC, "x509_props": {"subject": "CN=shop.contoso.example"}, "issuer": {"name": issuer}}
    assert app.certificate(name, "/create", "POST", {"policy": policy}).status_code == 202
    return name


def self_signed(app: App, common_name: str) -> str:
    name = app.name()
    body = {"policy": {**EC, "x509_props": {"subject": f"CN={common_name}"}}}
    assert app.certificate(name, "/create", "POST", body).status_code == 202
    return name


@dataclass(frozen=True)
class Asked:
    """The names of what Key Vault's issuers are asked for, and what was said when the slow one was to be canceled."""

    first: str
    ours: str
    quick: str
    broken: str
    slow: str
    canceling: dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def asked(app: App) -> Asked:
    """All at once and before all else, for each is looked at after 10 seconds; the last tests see what came of it."""
    error = {"code": "Request rejected", "message": "The organization is unknown."}
    first, ours = (self_signed(app, f"{name}.contoso.example") for name in ("first", "ours"))
    slow = partnered(app, "slow", delay=86_400)
    quick, broken = partnered(app, "quick", delay=0.5), partnered(app, "broken", error=error)
    until(lambda: app.certificate(slow, "/pending").json()["step"] == "pending")
    canceling = app.certificate(slow, "/pending", "PATCH", {"cancellation_requested": True})
    return Asked(first, ours, quick, broken, slow, canceling.json())


def test_issuer_resources_are_set_read_changed_and_deleted_and_never_show_their_password(app: App) -> None:
    path = "/api/vaults/main/certificates/issuers"
    given = {
        "provider": "DigiCert",
        "credentials": {"account_id": "a1", "pwd": "canary-pw"},
        "org_details": {"id": "o1"},
    }
    made = app.call("PUT", f"{path}/digi", given)
    assert made.status_code == 200, made.text
    changed = app.call("PATCH", f"{path}/digi", {"credentials": {"account_id": "a2"}})
    assert changed.json()["credentials"]["account_id"] == "a2"
    assert "digi" in [one["name"] for one in app.call("GET", path).json()["value"]]
    for answer in (made, changed, app.call("GET", f"{path}/digi"), app.call("DELETE", f"{path}/digi")):
        assert "canary" not in answer.text
    assert app.call("GET", f"{path}/digi").status_code == 404


def test_contacts_are_set_read_and_deleted(app: App) -> None:
    path = "/api/vaults/main/certificates/contacts"
    app.call("DELETE", path)  # those of another test
    assert app.call("GET", path).json() == {"contacts": []}
    contact = {"email": "ops@contoso.example", "name": "Ops"}
    assert app.call("PUT", path, {"contacts": [contact]}).json()["contacts"] == [contact]
    assert app.call("GET", path).json()["contacts"] == [contact]
    assert app.call("DELETE", path).status_code == 200
    assert app.call("DELETE", path).status_code == 404


def signed_by_hand(app: App, name: str, csr: bytes) -> list[x509.Certificate]:
    now = datetime.now(UTC)
    ca = TestCa(None, SimpleNamespace(now=lambda: now))  # type: ignore[arg-type]
    names = SubjectNames("hand.contoso.example", ("hand.contoso.example",))
    pem = ca.signed(SigningRequest("o", csr, names, now + timedelta(days=30)))
    return x509.load_pem_x509_certificates(pem)


@pytest.mark.parametrize("encoding", ["pem", "der", "p7b", "p7b-base64", "p7b-in-certificate-label", "x5c"])
def test_any_other_authority_signs_the_csr_and_its_answer_is_merged(app: App, encoding: str) -> None:
    name = app.name()
    body = {"authority": "by-hand", "dns_names": ["hand.contoso.example"], "policy": EC}
    app.certificate(name, "/create", "POST", body).raise_for_status()
    until(lambda: app.certificate(name, "/pending").json()["step"] == "submitted")
    der = app.certificate(name, "/pending/csr").content
    pem = app.certificate(name, "/pending/csr?format=pem").content
    read = subprocess.run(["openssl", "req", "-verify", "-noout", "-text"], input=pem, capture_output=True, check=True)
    assert b"hand.contoso.example" in read.stdout
    chain = signed_by_hand(app, name, der)
    p7b = pkcs7.serialize_certificates(chain, Encoding.DER)
    label = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(p7b) + b"-----END CERTIFICATE-----\n"
    answers: dict[str, bytes] = {
        "pem": b"".join(one.public_bytes(Encoding.PEM) for one in reversed(chain)),
        "der": chain[0].public_bytes(Encoding.DER),
        "p7b": p7b,
        "p7b-base64": base64.b64encode(p7b),
        "p7b-in-certificate-label": label,
    }
    where = f"{app.settings['APP_URL']}/api/vaults/main/certificates/{name}/pending/merge"
    headers = {"x-functions-key": app.settings["FUNCTION_KEY"], "content-type": "application/octet-stream"}
    if encoding == "x5c":
        x5c = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]
        merged = app.certificate(name, "/pending/merge", "POST", {"x5c": x5c})
    else:
        merged = app.client.post(where, content=answers[encoding], headers=headers)
    assert merged.status_code == 200, merged.text
    assert app.ended(name)["status"] == "completed"
    assert app.certificate(name).json()["dns_names"] == ["hand.contoso.example"]


def test_an_answer_for_another_key_is_refused_and_the_right_one_still_taken(app: App) -> None:
    first, second = app.name(), app.name()
    for name in (first, second):
        body = {"authority": "by-hand", "dns_names": ["hand.contoso.example"], "policy": EC}
        app.certificate(name, "/create", "POST", body).raise_for_status()
        until(lambda name=name: app.certificate(name, "/pending").json()["step"] == "submitted")  # type: ignore[misc]
    chain = signed_by_hand(app, second, app.certificate(second, "/pending/csr").content)
    text = {"certificate": "".join(one.public_bytes(Encoding.PEM).decode() for one in chain)}
    refused = app.certificate(first, "/pending/merge", "POST", text)
    assert (refused.status_code, refused.json()["code"]) == (400, "Unverified")
    assert app.certificate(second, "/pending/merge", "POST", text).status_code == 200


def test_a_pem_with_its_key_apart_is_imported(app: App) -> None:
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "apart.contoso.example")])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    certificate = builder.not_valid_before(now).not_valid_after(now + timedelta(days=9)).sign(key, hashes.SHA256())
    given = {
        "certificate": certificate.public_bytes(Encoding.PEM).decode(),
        "key": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
    }
    name = app.name()
    assert app.certificate(name, "/import", "POST", {**given, "strict": True}).status_code == 400
    done = app.certificate(name, "/import", "POST", given)
    assert done.status_code == 200, done.text
    assert done.json()["changes"]


def test_a_policy_is_read_and_edited_and_the_next_version_follows_it(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["policy.contoso.example"], policy=EC)
    app.ended(name)
    before = app.certificate(name, "/policy").json()
    assert before["key_props"]["crv"] == "P-256"
    actions = [{"trigger": {"days_before_expiry": 20}, "action": {"action_type": "EmailContacts"}}]
    changed = app.certificate(
        name, "/policy", "PATCH", {"key_props": {"crv": "P-384", "key_size": 384}, "lifetime_actions": actions}
    )
    assert changed.status_code == 200, changed.text
    assert app.certificate(name).json()["tags"]["certrelay-renewal"] == "days_before_expiry=20"
    assert app.certificate(name, "/policy", "PATCH", {"key_props": {"key_size": 7}}).status_code == 400
    assert app.certificate(name, "/renew", "POST", {}).status_code == 202
    assert app.ended(name)["status"] == "completed"
    bundle = app.certificate(name).json()
    leaf = x509.load_der_x509_certificate(base64.b64decode(bundle["cer"]))
    assert leaf.public_key().key_size == 384  # type: ignore[union-attr]


def test_a_certificate_is_read_with_chain_plan_versions_and_history(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["read.contoso.example"], policy=EC, tags={"team": "web"})
    app.ended(name)
    found = app.certificate(name).json()
    assert found["dns_names"] == ["read.contoso.example"]
    assert len(found["chain"]) == 3
    assert found["renewal"]["due"] > datetime.now(UTC).isoformat()
    (version,) = app.certificate(name, "/versions").json()["value"]
    assert app.certificate(name, f"/{version['version']}").json()["thumbprint_sha256"] == found["thumbprint_sha256"]
    assert app.certificate(name, f"/{'0' * 32}").status_code == 404
    (entry,) = app.certificate(name, "/history").json()["value"]
    assert (entry["status"], entry["authority"], entry["requested_by"]) == ("completed", "openbao", "function key")


def test_certificates_are_listed_in_parts_and_filtered(app: App) -> None:
    names = [app.name() for _ in range(3)]
    for name in names:
        app.create(name, dns_names=["list.contoso.example"], policy=EC)
    for name in names:
        app.ended(name)
    listed: list[str] = []
    path = "/api/vaults/main/certificates?authority=openbao&max=2"
    answer = app.call("GET", path).json()
    while True:
        assert len(answer["value"]) <= 2
        listed += [one["name"] for one in answer["value"]]
        if not answer["continuation"]:
            break
        answer = app.call("GET", f"{path}&continuation={answer['continuation']}").json()
    assert set(names) <= set(listed)
    assert len(listed) == len(set(listed))
    assert app.call("GET", "/api/vaults/main/certificates?expiring_within_days=0").json()["value"] == []
    for states in ("nonsense", "due,nonsense", "due,", "due;expired", ",".join(["due"] * 8)):
        refused = app.call("GET", f"/api/vaults/main/certificates?state={states}")
        assert refused.status_code == 400, states
        assert "one or more of managed, " in refused.json()["errors"][0]["detail"]
    assert app.call("GET", "/api/vaults/main/certificates?continuation=eA==").status_code == 400
    assert app.call("GET", "/api/vaults/gone/certificates").status_code == 404


def test_tags_and_enabled_are_changed_and_certrelays_own_tags_stay(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["tags.contoso.example"], policy=EC, tags={"team": "web"})
    app.ended(name)
    disabling = {"tags": {"owner": "ops"}, "enabled": False}
    refused = app.certificate(name, "", "PATCH", disabling)
    assert (refused.status_code, refused.json()["code"]) == (409, "Managed")
    assert "a disabled version is not renewed" in refused.json()["detail"]
    changed = app.certificate(name, "", "PATCH", {**disabling, "force": True}).json()
    assert changed["tags"]["owner"] == "ops"
    assert "team" not in changed["tags"]
    assert changed["tags"]["certrelay-authority"] == "openbao"
    assert changed["attributes"]["enabled"] is False
    assert app.certificate(name, "", "PATCH", {"tags": {"certrelay-authority": "x"}}).status_code == 400


def test_a_certificate_is_revoked_and_replaced(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["revoke.contoso.example"], policy=EC)
    app.ended(name)
    assert app.certificate(name, "/revoke", "POST", {"reason": "bad mood"}).status_code == 400
    body = {"reason": "keyCompromise", "replace": True}
    assert app.certificate(name, "/revoke", "POST", body).status_code == 400, "which version?"
    body["version"] = app.certificate(name).json()["version"]
    answer = app.certificate(name, "/revoke", "POST", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["operation"]["kind"] == "renew"
    assert app.ended(name)["status"] == "completed"
    assert app.certificate(name, "/revoke", "POST", body).json()["operation"] is None, "it is replaced already"
    assert len(app.certificate(name, "/versions").json()["value"]) == 2
    last = app.certificate(name, "/revoke", "POST", {"reason": "superseded"})
    assert last.json()["certificate"]["attributes"]["enabled"] is False


def test_a_certificate_is_deleted_and_recovered(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["delete.contoso.example"], policy=EC)
    app.ended(name)
    assert "scheduledPurgeDate" in app.certificate(name, "", "DELETE").json()
    assert app.certificate(name).status_code == 404
    refused = app.create(name, dns_names=["delete.contoso.example"], policy=EC)
    assert refused.status_code == 202
    assert app.ended(name)["error"]["code"] == "ObjectIsDeletedButRecoverable"
    deleted = app.call("GET", "/api/vaults/main/deletedcertificates").json()["value"]
    assert name in [one["name"] for one in deleted]
    assert app.call("POST", f"/api/vaults/main/deletedcertificates/{name}/recover").status_code == 200
    until(lambda: app.certificate(name).status_code == 200)


def test_a_stuck_operation_is_deleted_and_the_name_is_free(app: App) -> None:
    name = app.name()
    body = {"authority": "by-hand", "dns_names": ["stuck.contoso.example"], "policy": EC}
    app.certificate(name, "/create", "POST", body)
    until(lambda: app.certificate(name, "/pending").json()["step"] == "submitted")
    assert app.certificate(name, "/pending", "DELETE").json()["status"] == "canceled"
    assert app.certificate(name, "/pending", "DELETE").status_code == 404
    app.create(name, dns_names=["stuck.contoso.example"], policy=EC)
    assert app.ended(name)["status"] == "completed"


def test_the_forecast_and_a_replacement_of_everything(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=["fleet.contoso.example"], policy=EC, validity_days=40)
    app.ended(name)
    renewals = app.call("GET", "/api/forecast?days=30").json()["renewals"]
    assert name in [one["name"] for one in renewals]
    assert app.call("POST", "/api/replacements", {}).status_code == 400
    started = app.call("POST", "/api/replacements", {"names": [name]})
    assert started.status_code == 202, started.text
    where = started.headers["location"]
    done = {"matched": 1, "completed": 1}
    until(lambda: app.run("poll_operations") == 202 and app.call("GET", where).json()["progress"] == done)
    assert len(app.certificate(name, "/versions").json()["value"]) == 2


def test_a_repeated_revocation_with_replacement_leaves_the_replacement_alone(app: App) -> None:
    name = app.name()
    app.create(name, dns_names=[f"{name}.contoso.example"])
    app.ended(name)
    url = f"{app.settings['APP_URL']}/api/vaults/main/certificates/{name}/revoke"
    headers = {"x-functions-key": app.settings["FUNCTION_KEY"], "Idempotency-Key": f"revoke-{name}"}
    body = {"reason": "superseded", "replace": True}
    assert app.client.post(url, json=body, headers=headers).status_code == 400, "which version?"
    body["version"] = app.certificate(name).json()["version"]
    first = app.client.post(url, json=body, headers=headers).json()
    app.ended(name)
    again = app.client.post(url, json=body, headers=headers).json()
    assert first["operation"]["id"] == again["operation"]["id"]
    assert len(app.certificate(name, "/versions").json()["value"]) == 2


def test_a_first_certificate_is_self_signed(app: App, asked: Asked) -> None:
    name = asked.first
    assert app.ended(name)["status"] == "completed"
    found = app.certificate(name).json()
    assert found["subject"] == found["issuer"] == "CN=first.contoso.example"
    assert found["renewal"]["due"] is None, "Key Vault renews it itself"


def test_a_partnered_authority_answers_later_and_is_polled(app: App, asked: Asked) -> None:
    name = asked.quick
    ended = app.ended(name)
    assert (ended["status"], ended["issuer"]["name"]) == ("completed", "quick")


def test_a_partnered_authoritys_order_is_canceled(app: App, asked: Asked) -> None:
    assert asked.canceling["cancellation_requested"]
    assert "unless the certificate is merged first" in asked.canceling["status_details"]
    assert app.ended(asked.slow)["status"] == "canceled"


def test_a_partnered_authoritys_failure_is_told_with_its_error(app: App, asked: Asked) -> None:
    name = asked.broken
    ended = app.ended(name)
    assert ended["status"] == "failed"
    assert ended["error"] == {"code": "Request rejected", "message": "The organization is unknown."}


def test_a_certificate_made_elsewhere_is_adopted_and_released(app: App, asked: Asked) -> None:
    name = asked.ours
    app.ended(name)
    assert app.certificate(name, "/renew", "POST", {}).json()["code"] == "NotManaged"
    assert app.certificate(name, "/adopt", "POST", {"authority": "nobody"}).status_code == 400
    adopted = app.certificate(name, "/adopt", "POST", {"authority": "openbao", "validity_days": 30})
    assert adopted.status_code == 200, adopted.text
    app.certificate(name, "/renew", "POST", {}).raise_for_status()
    assert app.ended(name)["status"] == "completed"
    assert app.certificate(name).json()["issuer"] == "CN=Contoso Issuing CA,O=Contoso"
    assert "certrelay-authority" not in app.certificate(name, "/release", "POST").json().get("tags", {})
