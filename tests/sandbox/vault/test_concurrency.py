"""Concurrent requests: every rule holds, and nothing is lost or doubled."""

import base64
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from azure.keyvault.certificates import CertificateClient
from cryptography.hazmat.primitives.serialization import Encoding

from sandbox.vault import VaultServer
from tests.sandbox.vault.support import Authority, Rest, pending

POLICY = {"key_props": {"kty": "EC"}, "x509_props": {"subject": "CN=a"}, "issuer": {"name": "Unknown"}}


def at_once(server: VaultServer, count: int, method: str, path: str, body: Any) -> Counter[int]:
    """The statuses of that many equal requests, each on a connection of its own."""

    def send(_: int) -> int:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(server.ca_bundle)
            session.headers["Authorization"] = f"Bearer {server.identities.token(server.resource)}"
            return session.request(method, f"{server.url}{path}?api-version=7.6", json=body, timeout=60).status_code

    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(send, range(count)))


def test_of_many_merges_one_succeeds_and_raises_one_event(
    server: VaultServer, client: CertificateClient, authority: Authority, name: str
) -> None:
    leaf = authority.sign(pending(client, name).csr or b"")
    body = {"x5c": [base64.b64encode(leaf.public_bytes(Encoding.DER)).decode()]}
    statuses = at_once(server, 8, "POST", f"/certificates/{name}/pending/merge", body)
    assert statuses == {201: 1, 403: 7}
    assert [event["subject"] for event in server.feed.raised].count(name) == 1
    assert len(list(client.list_properties_of_certificate_versions(name))) == 1


def test_of_many_deletions_one_succeeds(server: VaultServer, client: CertificateClient, name: str) -> None:
    pending(client, name)
    assert at_once(server, 6, "DELETE", f"/certificates/{name}/pending", {}) == {200: 1, 404: 5}
    assert at_once(server, 6, "DELETE", f"/certificates/{name}", {}) == {200: 1, 404: 5}
    assert at_once(server, 6, "POST", f"/deletedcertificates/{name}/recover", {}) == {200: 1, 404: 5}


def test_creates_of_different_names_do_not_hinder_each_other(server: VaultServer, rest: Rest, name: str) -> None:
    def create(number: int) -> int:
        return rest("POST", f"/certificates/{name}-{number}/create", json={"policy": POLICY}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(create, range(40))) == {202}
    for number in range(40):
        assert rest("GET", f"/certificates/{name}-{number}/pending").json()["status"] == "inProgress"


def test_a_list_that_grows_while_it_is_read_misses_nothing(rest: Rest, client: CertificateClient, name: str) -> None:
    names = [f"{name}-{number:02}" for number in range(0, 60, 2)]
    for item in names:
        pending(client, item, key_type="EC", key_curve_name="P-256")

    def grow() -> None:
        for number in range(1, 60, 2):
            rest("POST", f"/certificates/{name}-{number:02}/create", json={"policy": POLICY})

    with ThreadPoolExecutor(1) as pool:
        growing = pool.submit(grow)
        listed = [item.name for item in client.list_properties_of_certificates(include_pending=True, max_page_size=5)]
        growing.result()
    assert set(names) <= set(listed)
    assert len(listed) == len(set(listed))
