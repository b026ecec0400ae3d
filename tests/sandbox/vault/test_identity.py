"""The challenge, tokens, permissions, and the managed-identity endpoint."""

from collections.abc import Iterator

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificatePolicy

from sandbox.identity import APP_AUDIENCE, APP_ISSUER, REGISTRATION, SYSTEM_ASSIGNED, Identities, InvalidTokenError
from sandbox.vault import VaultServer
from tests.sandbox.vault.support import Rest, certificate_client, self_signed

READER = "33333333-3333-3333-3333-333333333333"


@pytest.fixture
def anonymous(server: VaultServer) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(server.ca_bundle)
        yield session


@pytest.mark.parametrize("path", ["/certificates/a", "/certificates/a_b/create", "/nonsense", "/certificates//create"])
def test_without_a_token_every_request_gets_the_challenge_first(
    server: VaultServer, anonymous: requests.Session, path: str
) -> None:
    answer = anonymous.post(server.url + path, data=b"{broken", timeout=60)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "Unauthorized"
    assert answer.json()["error"]["message"].startswith("AKV10000: Request is missing a Bearer")
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer authorization="https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111", '
        f'resource="https://0.0.1:{server.port}"'
    )


def test_the_first_request_of_the_sdk_is_a_challenge_and_later_ones_are_not(
    server: VaultServer, credential: ManagedIdentityCredential, name: str
) -> None:
    server.requests.clear()
    with certificate_client(server, credential) as client:
        self_signed(client, name)
        client.get_certificate(name)
    assert server.requests.counts().get("Challenge", 0) <= 1
    assert server.requests.counts()["CreateCertificate"] == 1


def test_a_token_of_another_audience_or_time_or_maker_is_refused(
    server: VaultServer, anonymous: requests.Session
) -> None:
    good = server.identities.token(server.resource)
    other = Identities().token(server.resource)
    refused = {
        server.identities.token("https://storage.azure.com"): "Invalid audience",
        server.identities.token(server.resource, lifetime=-1): "expired",
        other: "signature is invalid",
        good[:-4] + "AAAA": "signature is invalid",
        "nonsense": "signature is invalid",
    }
    url = f"{server.url}/certificates?api-version=7.4"
    for token, message in refused.items():
        answer = anonymous.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        assert answer.status_code == 401
        assert message in answer.json()["error"]["message"]
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    for audience in (server.resource, server.resource + "/", "https://vault.azure.net"):
        headers = {"Authorization": f"Bearer {server.identities.token(audience)}"}
        assert anonymous.get(url, headers=headers, timeout=60).status_code == 200
    for header in ("", "Basic abc", "Bearer", "Bearer "):
        assert anonymous.get(url, headers={"Authorization": header}, timeout=60).status_code == 401


def test_a_role_that_may_not_import_is_forbidden_as_by_key_vault(
    server: VaultServer, credential: ManagedIdentityCredential, client: CertificateClient, name: str
) -> None:
    permissions = {"certificates": ["Get", "List", "Create", "manageissuers"]}
    url = f"{server.admin_url}/identities/{READER}"
    requests.put(url, json={"permissions": permissions}, timeout=60).raise_for_status()
    with ManagedIdentityCredential(client_id=READER) as reader, certificate_client(server, reader) as limited:
        assert self_signed(limited, name).name == name
        limited.create_issuer(name, "Test")
        with pytest.raises(HttpResponseError, match="does not have certificates import permission") as refused:
            limited.import_certificate(name, b"x")
        assert refused.value.status_code == 403
        assert refused.value.error is not None
        assert refused.value.error.code == "Forbidden"
        assert "ForbiddenByPolicy" in str(refused.value.error.innererror)
        with pytest.raises(HttpResponseError, match="delete permission"):
            limited.begin_delete_certificate(name)
    assert client.get_certificate(name).name == name


def test_an_identity_may_be_made_powerless_and_almighty(server: VaultServer, anonymous: requests.Session) -> None:
    client_id = "44444444-4444-4444-4444-444444444444"
    headers = {"Authorization": f"Bearer {server.identities.token(server.resource, client_id)}"}
    url = f"{server.url}/certificates?api-version=7.4"
    assert anonymous.get(url, headers=headers, timeout=60).status_code == 403
    requests.put(f"{server.admin_url}/identities/{client_id}", json={"permissions": None}, timeout=60)
    assert anonymous.get(url, headers=headers, timeout=60).status_code == 200


def test_application_roles_and_permissions_are_set_one_by_one(server: VaultServer) -> None:
    client_id = "66666666-6666-6666-6666-666666666666"
    url = f"{server.admin_url}/identities/{client_id}"
    for body in ({"roles": ["CertRelay.Reader"]}, {"permissions": {"certificates": ["get"]}}):
        found = requests.put(url, json=body, timeout=10).json()
    assert found["identities"][client_id] == {"certificates": ["get"]}
    assert found["roles"][client_id] == ["CertRelay.Reader"]
    asked = {"client_id": client_id, "audience": APP_AUDIENCE}
    token = requests.post(f"{server.admin_url}/token", json=asked, timeout=10).json()["access_token"]
    claims = server.identities.claims(token, {REGISTRATION})
    assert (claims["iss"], claims["azp"], claims["roles"]) == (APP_ISSUER, client_id, ["CertRelay.Reader"])
    wrong: list[dict[str, object]] = [{}, {"role": []}, {"roles": None}]
    for bad in wrong:
        assert requests.put(url, json=bad, timeout=10).status_code == 400


# -- the identity endpoint ------------------------------------------------------------------------------------------


def test_the_endpoint_answers_as_app_service(server: VaultServer) -> None:
    answer = requests.get(
        server.identity_endpoint,
        params={"resource": server.resource, "api-version": "2019-08-01"},
        headers={"X-IDENTITY-HEADER": server.identity_header},
        timeout=60,
    )
    body = answer.json()
    assert set(body) == {"access_token", "client_id", "expires_on", "not_before", "resource", "token_type"}
    assert (body["token_type"], body["resource"], body["client_id"]) == ("Bearer", server.resource, SYSTEM_ASSIGNED)
    claims = server.identities.claims(body["access_token"], {server.resource})
    assert str(claims["exp"]) == body["expires_on"]


def test_the_endpoint_refuses_what_app_service_refuses(server: VaultServer) -> None:
    good = {"resource": server.resource, "api-version": "2019-08-01"}
    cases: list[tuple[dict[str, str], str, int]] = [
        (good, "wrong", 401),
        (good, "", 401),
        ({"resource": server.resource}, server.identity_header, 400),
        ({"api-version": "2019-08-01"}, server.identity_header, 400),
        ({**good, "client_id": "nobody"}, server.identity_header, 400),
    ]
    for query, header, status in cases:
        headers = {"X-IDENTITY-HEADER": header}
        assert requests.get(server.identity_endpoint, params=query, headers=headers, timeout=60).status_code == status


def test_a_wrong_identity_header_fails_in_the_sdk(
    server: VaultServer, credential: ManagedIdentityCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with (
        ManagedIdentityCredential() as stranger,
        certificate_client(server, stranger) as client,
        pytest.raises(ClientAuthenticationError),
    ):
        client.begin_create_certificate("a", CertificatePolicy.get_default())


def test_an_expired_token_is_told_from_a_foreign_one() -> None:
    identities = Identities(lifetime=-5)
    with pytest.raises(InvalidTokenError, match="expired"):
        identities.claims(identities.token("a"), {"a"})
    with pytest.raises(InvalidTokenError, match="signature"):
        identities.claims(Identities().token("a"), {"a"})


# -- the protocol around it -----------------------------------------------------------------------------------------


def test_every_answer_has_the_headers_of_the_service(rest: Rest) -> None:
    headers = {"x-ms-client-request-id": "abc", "x-ms-return-client-request-id": "true"}
    answer = rest("GET", "/certificates", headers=headers)
    assert answer.headers["x-ms-client-request-id"] == "abc"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000;includeSubDomains"
    assert {"x-ms-request-id", "x-ms-keyvault-region", "x-ms-keyvault-service-version"} <= answer.headers.keys()
    assert "x-ms-client-request-id" not in rest("GET", "/certificates").headers


@pytest.mark.parametrize("version", ["", "1.0", "7.99", "2026-04-01-preview"])
def test_an_unsupported_api_version_is_refused(rest: Rest, version: str) -> None:
    answer = rest("GET", "/certificates", version=version)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadParameter")


def test_a_missing_api_version_is_refused(server: VaultServer, anonymous: requests.Session) -> None:
    headers = {"Authorization": f"Bearer {server.identities.token(server.resource)}"}
    assert anonymous.get(f"{server.url}/certificates", headers=headers, timeout=60).status_code == 400


@pytest.mark.parametrize("version", ["7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"])
def test_every_version_of_the_sdk_is_served(rest: Rest, version: str) -> None:
    assert rest("GET", "/certificates", version=version).status_code == 200


@pytest.mark.parametrize("bad", ["a_b", "a.b", "%C3%A4", "a%20b", "a" * 128, "a%2Fb"])
def test_a_bad_name_is_refused_in_the_words_of_the_service(rest: Rest, bad: str) -> None:
    answer = rest("POST", f"/certificates/{bad}/create", json={})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("The request URI contains an invalid name: ")


def test_an_empty_name_is_no_method(rest: Rest, server: VaultServer, anonymous: requests.Session) -> None:
    for method, path in [
        ("POST", "/certificates//create"),
        ("PUT", "/certificates/issuers/"),
        ("GET", "/certificates/a/create"),
    ]:
        assert rest(method, path, json={}).status_code == 405, path


def test_a_method_may_be_given_in_a_header(rest: Rest, client: CertificateClient, name: str) -> None:
    self_signed(client, name)
    answer = rest("POST", f"/certificates/{name}", headers={"X-HTTP-METHOD": "PATCH"}, json={"tags": {"a": "b"}})
    assert answer.json()["tags"] == {"a": "b"}
