"""Faults on demand, throttling, counts, and the rest of the admin API."""

import time
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient

from sandbox.vault import VaultServer
from tests.sandbox.vault.support import Rest, certificate_client, properties, self_signed

EC = {"key_props": {"kty": "EC"}, "x509_props": {"subject": "CN=a"}}


def admin(server: VaultServer, method: str, path: str, **body: Any) -> requests.Response:
    return requests.request(method, f"{server.admin_url}/{path}", json=body, timeout=60)


@pytest.mark.parametrize("status", [500, 503])
def test_an_error_before_the_effect_leaves_nothing(rest: Rest, server: VaultServer, name: str, status: int) -> None:
    server.faults.add(status=status, operation="CreateCertificate")
    answer = rest("POST", f"/certificates/{name}/create", json={"policy": EC})
    assert answer.status_code == status
    assert answer.json()["error"]["code"]
    assert rest("GET", f"/certificates/{name}").status_code == 404
    assert rest("POST", f"/certificates/{name}/create", json={"policy": EC}).status_code == 202


def test_an_error_after_the_effect_loses_only_the_answer(rest: Rest, server: VaultServer, name: str) -> None:
    admin(server, "POST", "faults", status=500, when="after", operation="CreateCertificate", times=1)
    assert rest("POST", f"/certificates/{name}/create", json={"policy": EC}).status_code == 500
    assert rest("GET", f"/certificates/{name}/pending").json()["status"] == "inProgress"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_drops_the_connection(
    server: VaultServer, credential: ManagedIdentityCredential, rest: Rest, name: str, when: str
) -> None:
    self_signed_client = certificate_client(server, credential)
    with self_signed_client as client:
        self_signed(client, name)
        server.faults.add(kind="reset", when=when, operation="UpdateCertificate")
        with pytest.raises((ServiceRequestError, ServiceResponseError)):
            client.update_certificate_properties(name, tags={"a": "b"})
    assert ("tags" in rest("GET", f"/certificates/{name}").json()) == (when == "after")


def test_latency_delays_the_answer_and_nothing_else(rest: Rest, server: VaultServer) -> None:
    server.faults.add(kind="latency", seconds=1, operation="GetCertificates")
    began = time.monotonic()
    assert rest("GET", "/certificates").status_code == 200
    assert time.monotonic() - began >= 1
    assert server.faults.listed()["faults"] == [], "the next answer comes at once"


def test_a_fault_hits_as_often_as_told(rest: Rest, server: VaultServer) -> None:
    admin(server, "POST", "faults", status=429, operation="*", times=2, retry_after=7)
    answers = [rest("GET", "/certificates") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].json()["error"]["code"] == "Throttled"
    assert admin(server, "GET", "faults").json()["faults"] == []


def test_a_fault_for_ever_ends_when_it_is_cleared(rest: Rest, server: VaultServer) -> None:
    server.faults.add(times=None)
    assert {rest("GET", "/certificates").status_code for _ in range(3)} == {503}
    assert admin(server, "DELETE", "faults").status_code == 204
    assert rest("GET", "/certificates").status_code == 200


def test_throttling_has_the_published_limits_and_no_retry_after(rest: Rest, server: VaultServer, name: str) -> None:
    server.faults.throttle()
    answers = [rest("POST", f"/certificates/{name}-{number}/create", json={"policy": EC}) for number in range(21)]
    assert [answer.status_code for answer in answers] == [202] * 20 + [429]
    assert answers[-1].json()["error"] == {
        "code": "Throttled",
        "message": "Request was not processed because too many requests were received. Reason: "
        "VaultRequestTypeLimitReached",
    }
    assert "Retry-After" not in answers[-1].headers
    assert rest("GET", "/certificates").status_code == 200


def test_throttling_may_have_limits_of_its_own_and_a_retry_after(rest: Rest, server: VaultServer) -> None:
    admin(server, "POST", "throttle", limits={"other": 2}, retry_after=1)
    answers = [rest("GET", "/certificates") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "1"


def test_the_sdk_waits_out_a_throttling(server: VaultServer, credential: ManagedIdentityCredential, name: str) -> None:
    server.faults.add(status=429, operation="GetCertificate", retry_after=0)
    with (
        CertificateClient(server.url, credential, connection_verify=str(server.ca_bundle)) as patient,
        pytest.raises(HttpResponseError) as found,
    ):
        patient.get_certificate(name)
    assert found.value.status_code == 404


def test_requests_are_counted_by_operation(
    rest: Rest, server: VaultServer, client: CertificateClient, name: str
) -> None:
    admin(server, "DELETE", "requests")
    self_signed(client, name)
    rest("GET", f"/certificates/{name}/nonsense")
    rest("GET", "/certificates/a_b")
    counted = admin(server, "GET", "requests").json()
    assert counted["counts"]["CreateCertificate"] == 1
    assert counted["counts"]["GetCertificateOperation"] >= 1
    assert counted["counts"]["GetCertificate"] == 2
    assert counted["counts"]["Invalid"] == 1
    assert {"operation": "GetCertificate", "name": name, "status": 404} in counted["recent"]
    assert counted["total"] == sum(counted["counts"].values()) - counted["counts"].get("Challenge", 0)


def test_the_clock_is_read_and_moved(server: VaultServer) -> None:
    before = admin(server, "GET", "clock").json()
    moved = admin(server, "POST", "clock", advance=86_400).json()
    assert 86_400 <= moved["now"] - before["now"] < 90_000  # the clock runs on, on a slow machine for long
    assert admin(server, "POST", "clock", now="2030-01-01T00:00:00Z").json()["iso"].startswith("2030-01-01T00:")
    assert admin(server, "POST", "clock", now=1_900_000_000).json()["now"] == pytest.approx(1_900_000_000, abs=3600)
    server.clock.set(time.time())


def test_settings_are_read_and_changed(server: VaultServer) -> None:
    assert admin(server, "PATCH", "settings", self_delay=0.06).json()["self_delay"] == 0.06
    server.settings.self_delay = 0.05
    for changes in (
        {"self_delay": -1},
        {"self_delay": "x"},
        {"self_delay": True},
        {"purge_protection": 1},
        {"url": "x"},
    ):
        assert admin(server, "PATCH", "settings", **changes).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "clock", {}),
        ("POST", "clock", {"now": "yesterday"}),
        ("POST", "clock", {"now": [1]}),
        ("POST", "faults", {"kind": "nonsense"}),
        ("POST", "faults", {"status": 200}),
        ("POST", "faults", {"nonsense": 1}),
        ("POST", "clock", {"advance": 1e30}),
        ("POST", "clock", {"now": -1}),
        ("POST", "clock", {"advance": "nan"}),
        ("POST", "faults", {"times": "x"}),
        ("POST", "faults", {"kind": "latency", "seconds": "x"}),
        ("POST", "throttle", {"limits": {"nonsense": 1}}),
        ("POST", "throttle", {"limits": {"other": "x"}}),
        ("POST", "seed", {"count": 1, "issuer": "x", "validity_months": -1}),
        ("PUT", "events", {"webhook": "http://127.0.0.1:1/", "batch": "x"}),
        ("PUT", "events", {"webhook": "http://127.0.0.1:1/", "retry_delays": []}),
        ("PUT", "events", {"webhook": "http://127.0.0.1:1/", "schema": "x"}),
        ("PUT", "events", {"webhook": 5}),
        ("POST", "seed", {"count": 0}),
        ("POST", "seed", {"count": 1, "prefix": "a/b"}),
        ("PUT", "events", {}),
        ("PUT", "identities/a", {"permissions": 5}),
        ("PUT", "issuers/a", {"error": {"code": "x"}}),
    ],
)
def test_the_admin_api_refuses_nonsense_with_a_reason(
    server: VaultServer, method: str, path: str, body: dict[str, Any]
) -> None:
    answer = admin(server, method, path, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_token_for_tests_is_given_by_the_admin_api(server: VaultServer) -> None:
    token = admin(server, "POST", "token", lifetime=-1, audience="https://vault.azure.net").json()["access_token"]
    assert token.count(".") == 2


def test_health_names_the_vault(server: VaultServer) -> None:
    answer = requests.get(server.admin_url.replace("/admin", "/health"), timeout=60).json()
    assert answer == {"status": "ok", "vault_url": server.url}


def test_seeded_certificates_are_real(server: VaultServer, client: CertificateClient) -> None:
    seeded = admin(server, "POST", "seed", count=30, prefix="real", tags={"a": "b"}).json()
    assert seeded["count"] == 30
    certificate = client.get_certificate("real-00029")
    assert properties(certificate).tags == {"a": "b"}
    assert certificate.policy is not None
    assert certificate.policy.key_type == "EC"
    assert certificate.cer
