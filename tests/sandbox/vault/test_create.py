"""Create: operations, policies, requests and self-signed certificates."""

import base64
import threading
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.keyvault.certificates import (
    CertificateClient,
    CertificateOperation,
    CertificatePolicy,
    LifetimeAction,
)
from azure.keyvault.secrets import SecretClient
from cryptography import x509

from sandbox.vault import VaultServer
from tests.sandbox.vault.support import Rest, properties, self_signed
from tests.sandbox.vault.webhook import eventually

UNKNOWN = {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=a.example"}}


def test_create_answers_202_in_progress_with_location_and_retry_after(
    rest: Rest, server: VaultServer, name: str
) -> None:
    body = {"policy": {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a.example"}}}
    answer = rest("POST", f"/certificates/{name}/create", json=body)
    operation = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Retry-After"] == "10"
    assert answer.headers["Location"] == (
        f"{server.url}/certificates/{name}/pending?api-version=2026-04-01&request_id={operation['request_id']}"
    )
    assert list(operation) == [
        "id",
        "issuer",
        "csr",
        "cancellation_requested",
        "status",
        "status_details",
        "request_id",
    ]
    assert operation["status"] == "inProgress"
    assert operation["issuer"] == {"name": "Self"}


def test_self_completes_by_itself_and_the_operation_then_names_its_target(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    self_signed(client, name)
    operation = rest("GET", f"/certificates/{name}/pending").json()
    assert operation["status"] == "completed"
    assert operation["target"] == f"{server.url}/certificates/{name}"
    assert "status_details" not in operation


def test_a_bundle_has_the_members_of_the_service_in_their_places(
    client: CertificateClient, rest: Rest, server: VaultServer, name: str
) -> None:
    created = self_signed(client, name)
    bundle = rest("GET", f"/certificates/{name}").json()
    version = properties(created).version
    assert bundle["id"] == f"{server.url}/certificates/{name}/{version}"
    assert bundle["kid"] == f"{server.url}/keys/{name}/{version}"
    assert bundle["sid"] == f"{server.url}/secrets/{name}/{version}"
    assert bundle["attributes"]["recoveryLevel"] == "Recoverable+Purgeable"
    assert bundle["pending"] == {"id": f"{server.url}/certificates/{name}/pending"}
    assert "tags" not in bundle
    of_version = rest("GET", f"/certificates/{name}/{version}").json()
    assert of_version == {key: value for key, value in bundle.items() if key not in ("policy", "pending")}


def test_the_default_policy_is_filled_in_as_by_the_service(rest: Rest, name: str) -> None:
    policy = {"x509_props": {"subject": "CN=DefaultPolicy", "sans": {}}, "issuer": {"name": "Self"}}
    rest("POST", f"/certificates/{name}/create", json={"policy": policy})
    filled = rest("GET", f"/certificates/{name}/policy").json()
    assert filled["key_props"] == {"exportable": True, "kty": "RSA", "key_size": 2048, "reuse_key": False}
    assert filled["secret_props"] == {"contentType": "application/x-pkcs12"}
    assert filled["x509_props"] == {
        "subject": "CN=DefaultPolicy",
        "sans": {},
        "ekus": ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
        "key_usage": ["digitalSignature", "keyEncipherment"],
        "validity_months": 12,
        "basic_constraints": {"ca": False},
    }
    assert filled["lifetime_actions"] == [
        {"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "AutoRenew"}}
    ]


def test_without_an_issuer_it_is_unknown_and_the_contacts_are_mailed(rest: Rest, name: str) -> None:
    rest("POST", f"/certificates/{name}/create", json={"policy": {"x509_props": {"subject": "CN=a"}}})
    filled = rest("GET", f"/certificates/{name}/policy").json()
    assert filled["issuer"] == {"name": "Unknown"}
    assert filled["lifetime_actions"][0]["action"] == {"action_type": "EmailContacts"}


def test_a_pending_first_version_is_disabled_and_unlisted(
    client: CertificateClient, rest: Rest, secrets: SecretClient, name: str
) -> None:
    rest("POST", f"/certificates/{name}/create", json={"policy": UNKNOWN})
    bundle = rest("GET", f"/certificates/{name}").json()
    assert bundle["attributes"]["enabled"] is False
    assert not {"kid", "sid", "x5t", "cer"} & bundle.keys()
    assert {"policy", "pending"} <= bundle.keys()
    version = bundle["id"].rpartition("/")[2]
    assert set(rest("GET", f"/certificates/{name}/{version}").json()) == {"id", "attributes"}
    assert name not in [item.name for item in client.list_properties_of_certificates()]
    assert name in [item.name for item in client.list_properties_of_certificates(include_pending=True)]
    assert list(client.list_properties_of_certificate_versions(name)) == []
    with pytest.raises(HttpResponseError, match="Operation get is not allowed on a disabled secret"):
        secrets.get_secret(name)


def test_while_a_next_version_is_pending_the_current_one_stays(client: CertificateClient, name: str) -> None:
    current = self_signed(client, name)
    pending = client.begin_create_certificate(
        name, CertificatePolicy(issuer_name="Unknown", subject="CN=next.example"), _polling_interval=0.02
    ).result()
    assert isinstance(pending, CertificateOperation)
    assert client.get_certificate(name).id == current.id


def test_a_second_create_while_one_is_in_progress_is_refused(client: CertificateClient, name: str) -> None:
    policy = CertificatePolicy(issuer_name="Unknown", subject="CN=a.example")
    client.begin_create_certificate(name, policy)
    with pytest.raises(ResourceExistsError, match="pending key vault certificate's status is inProgress") as refused:
        client.begin_create_certificate(name, policy)
    assert refused.value.error is not None
    assert refused.value.error.code == "Forbidden"


def test_of_concurrent_creates_exactly_one_begins(rest: Rest, name: str) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(
                rest("POST", f"/certificates/{name}/create", json={"policy": UNKNOWN}).status_code
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [202, 409, 409, 409, 409, 409]


def test_create_without_a_policy_uses_the_stored_one(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name, subject="CN=stored.example")
    answer = rest("POST", f"/certificates/{name}/create", json={})
    request = x509.load_der_x509_csr(base64.b64decode(answer.json()["csr"]))
    assert request.subject.rfc4514_string() == "CN=stored.example"


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ({"crv": "P-256"}, {"crv": "P-256"}, True),
        ({"crv": "P-256"}, {"crv": "P-256K"}, False),
        ({"crv": "P-256"}, {"crv": "P-384"}, False),
        ({"crv": "P-256"}, {"kty": "EC-HSM", "crv": "P-256"}, False),
        ({"kty": "EC-HSM"}, {"kty": "EC-HSM", "crv": "P-256"}, True),
        ({"kty": "EC-HSM"}, {"kty": "EC"}, False),
        ({"crv": "P-256"}, {"kty": "RSA"}, False),
        ({"kty": "RSA"}, {"kty": "RSA-HSM"}, False),
        ({"kty": "RSA"}, {"kty": "RSA", "key_size": 2048}, True),
    ],
    ids=str,
)
def test_a_key_is_kept_only_if_it_is_what_the_policy_says(
    rest: Rest, name: str, before: dict[str, Any], after: dict[str, Any], kept: bool
) -> None:
    """Two curves have 256 bits, and a key in an HSM is not one outside."""
    keys = []
    for props in (before, after):
        policy = {"x509_props": {"subject": "CN=a.example"}, "key_props": {**props, "reuse_key": True}}
        body = {"policy": {**policy, "issuer": {"name": "Self"}}}
        assert rest("POST", f"/certificates/{name}/create", json=body).status_code == 202
        eventually(lambda: rest("GET", f"/certificates/{name}/pending").json()["status"] == "completed")
        keys.append(rest("GET", f"/keys/{name}").json()["key"])
    assert keys[1]["kty"] == after.get("kty", "EC")
    assert keys[1].get("crv") == (after.get("crv", "P-256") if "EC" in keys[1]["kty"] else None)
    assert (keys[0].get("x", keys[0].get("n")) == keys[1].get("x", keys[1].get("n"))) == kept


def test_a_renewal_with_reuse_key_keeps_the_key_and_one_without_does_not(client: CertificateClient, name: str) -> None:
    first = self_signed(client, name, reuse_key=True)
    second = self_signed(client, name, reuse_key=True)
    third = self_signed(client, name, reuse_key=False)
    keys = [
        x509.load_der_x509_certificate(bytes(item.cer or b"")).public_key().public_numbers()  # type: ignore[union-attr]
        for item in (first, second, third)
    ]
    assert keys[0] == keys[1]
    assert keys[1] != keys[2]
    assert len(list(client.list_properties_of_certificate_versions(name))) == 3


def test_a_platform_managed_policy_comes_back(rest: Rest, name: str) -> None:
    managed = {"certificateUsage": "PublicTLSServerAuth", "metadata": {"sans": {"dns_names": ["a.example"]}}}
    answer = rest("POST", f"/certificates/{name}/create", json={"policy": {"platformManaged": managed}})
    assert answer.status_code == 202
    policy = rest("GET", f"/certificates/{name}/policy").json()
    assert policy["platformManaged"] == managed
    assert policy["issuer"] == {"name": "PlatformManaged"}
    assert policy["x509_props"]["sans"] == {"dns_names": ["a.example"]}
    assert policy["x509_props"]["ekus"] == ["1.3.6.1.5.5.7.3.1"]
    assert "subject" not in policy["x509_props"]
    request = x509.load_der_x509_csr(base64.b64decode(answer.json()["csr"]))
    assert request.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert policy["x509_props"]["validity_months"] == 3
    assert policy["lifetime_actions"][0]["trigger"] == {"lifetime_percentage": 50}


def _props(**x509_props: Any) -> dict[str, Any]:
    return {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=a", **x509_props}}


def _action(**trigger: int) -> dict[str, Any]:
    return {"trigger": trigger, "action": {"action_type": "AutoRenew"}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    (_props(subject="no name"), "Property policy.x509_props has invalid value. Invalid X.500 distinguished name\r\n"),
    (_props(subject="no name", key_usage=["nonsense"]), "Invalid X.500 distinguished name"),
    (_props(subject='CN="a'), "Invalid X.500 distinguished name"),
    (_props(subject="CN="), "Invalid X.500 distinguished name"),
    (_props(subject="CN=" + "a" * 201), "Invalid X.500 distinguished name"),
    (_props(subject=""), "Either subjectName or san must be present"),
    (_props(key_usage=["nonsense"]), "Property policy has invalid value"),
    (_props(ekus=["1.2.x"]), "Property policy has invalid value"),
    (_props(ekus=["3.1"]), "Property policy has invalid value"),
    (_props(validity_months=0), "Property policy has invalid value"),
    (_props(validity_months=-1), "Property policy has invalid value"),
    (_props(validity_months="12"), "Property policy has invalid value"),
    (_props(validity_months=True), "Property policy has invalid value"),
    (_props(sans={"ipAddresses": ["300.1.1.1"]}), "Property policy has invalid value"),
    (_props(sans={"dns_names": ["ä.example"]}), "Property policy has invalid value"),
    (_props(sans={"dns_names": "a.example"}), "Property policy has invalid value"),
    ({**_props(), "key_props": {"kty": "RSA", "key_size": 1024}}, "Unsupported key size (1024)"),
    ({**_props(), "key_props": {"kty": "EC", "key_size": 2048}}, "Supported sizes are [256, 384, 521]"),
    ({**_props(), "key_props": {"kty": "EC", "crv": "P-192"}}, "Property policy has invalid value"),
    ({**_props(), "key_props": {"kty": "oct"}}, "Property policy has invalid value"),
    ({**_props(), "key_props": {"kty": "RSA-HSM", "exportable": True}}, "Property policy has invalid value"),
    ({**_props(), "secret_props": {"contentType": "text/plain"}}, "Property policy has invalid value"),
    ({**_props(), "issuer": {"name": "Nobody"}}, "Issuer Nobody not found"),
    (
        {**_props(), "lifetime_actions": [_action(lifetime_percentage=80), _action(days_before_expiry=3)]},
        "At most one action is allowed",
    ),
    ({**_props(), "lifetime_actions": [_action(lifetime_percentage=100)]}, "Property policy has invalid value"),
    ({**_props(), "lifetime_actions": [_action(days_before_expiry=12 * 27 + 1)]}, "Property policy has invalid value"),
    ({**_props(), "lifetime_actions": [_action()]}, "Property policy has invalid value"),
    ({**_props(), "lifetime_actions": [{"trigger": {"lifetime_percentage": 80}}]}, "Property policy has invalid value"),
]


@pytest.mark.parametrize(("policy", "message"), REFUSED, ids=lambda value: str(value)[-60:])
def test_a_policy_that_key_vault_refuses_is_refused(
    rest: Rest, name: str, policy: dict[str, Any], message: str
) -> None:
    answer = rest("POST", f"/certificates/{name}/create", json={"policy": policy})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "BadParameter"
    assert message in answer.json()["error"]["message"]
    assert rest("GET", f"/certificates/{name}").status_code == 404


def test_the_size_of_a_key_has_an_inner_error(rest: Rest, name: str) -> None:
    answer = rest("POST", f"/certificates/{name}/create", json={"policy": {**UNKNOWN, "key_props": {"key_size": 5}}})
    assert answer.json()["error"]["innererror"] == {"code": "KeySizeNotSupported"}


def test_more_than_fifteen_tags_or_a_tag_that_is_too_long_are_refused(rest: Rest, name: str) -> None:
    for tags in ({str(number): "x" for number in range(16)}, {"a": "x" * 257}, {"a" * 257: "x"}, {"a": 1}, ["a"]):
        answer = rest("POST", f"/certificates/{name}/create", json={"policy": UNKNOWN, "tags": tags})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "Property  has invalid value\r\n"


def test_a_policy_update_merges_leaf_by_leaf(client: CertificateClient, rest: Rest, name: str) -> None:
    self_signed(client, name, key_usage=["digitalSignature"], validity_in_months=6)
    before = rest("GET", f"/certificates/{name}/policy").json()
    change = {"key_props": {"exportable": False}, "x509_props": {"subject": "CN=new.example", "ekus": []}}
    after = rest("PATCH", f"/certificates/{name}/policy", json=change).json()
    assert after["key_props"] == {**before["key_props"], "exportable": False}
    assert after["x509_props"] == {**before["x509_props"], "subject": "CN=new.example", "ekus": []}
    assert after["lifetime_actions"] == before["lifetime_actions"]
    assert after == rest("GET", f"/certificates/{name}/policy").json()


def test_a_policy_update_can_change_the_kind_of_key(client: CertificateClient, name: str) -> None:
    self_signed(client, name)
    policy = client.get_certificate_policy(name)
    policy._key_type, policy._key_curve_name, policy._key_size = "EC", "P-384", None
    changed = client.update_certificate_policy(name, policy)
    assert (changed.key_type, changed.key_size, changed.key_curve_name) == ("EC", 384, "P-384")


def test_the_policy_of_an_unknown_certificate_is_not_found(client: CertificateClient, name: str) -> None:
    with pytest.raises(ResourceNotFoundError):
        client.get_certificate_policy(name)


def test_a_lifetime_action_is_kept_as_sent(client: CertificateClient, name: str) -> None:
    self_signed(client, name, lifetime_actions=[LifetimeAction("EmailContacts", days_before_expiry=10)])
    (action,) = client.get_certificate_policy(name).lifetime_actions or []
    assert (action.action, action.days_before_expiry, action.lifetime_percentage) == ("EmailContacts", 10, None)


def test_an_older_api_version_knows_fewer_kinds_of_names(rest: Rest, name: str) -> None:
    sans = {"dns_names": ["a.example"], "uris": ["https://a.example"], "ipAddresses": ["192.0.2.1"]}
    body = {"policy": {"issuer": {"name": "Unknown"}, "x509_props": {"sans": sans}}}
    rest("POST", f"/certificates/{name}/create", json=body)
    assert rest("GET", f"/certificates/{name}/policy").json()["x509_props"]["sans"] == sans
    older = rest("GET", f"/certificates/{name}/policy", version="7.4").json()
    assert older["x509_props"]["sans"] == {"dns_names": ["a.example"]}
    del sans["dns_names"]
    refused = rest("POST", f"/certificates/{name}-old/create", version="7.6", json=body)
    assert refused.json()["error"]["message"] == "Either subjectName or san must be present"
