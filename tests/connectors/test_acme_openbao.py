"""`acme` against the second implementation: the ACME server in OpenBao's PKI engine."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cryptography import x509

from connectors.acme import Acme, AcmeSettings
from connectors.acme_reference import Reference
from connectors.base import ConnectorError, Issued, Pending, Rejected, RevocationReason, SubjectNames, Unavailable
from sandbox.openbao import OpenBao
from tests.connectors.conformance import accept, context, leaf_of, signing_request, verify_names
from tests.connectors.debian import CannotFetch
from tests.connectors.pebble import TestDns
from tests.connectors.test_acme import TestSolver, der, follow, pem_of

HEADERS = ["Last-Modified", "Location", "Replay-Nonce", "Link"]


@pytest.fixture(scope="module")
def dns() -> Iterator[TestDns]:
    try:
        server = TestDns()
    except CannotFetch as reason:
        pytest.skip(f"pebble-challtestsrv cannot be had: {reason}")
    with server:
        yield server


class AcmeMount:
    """A PKI mount with its ACME server; every account needs a binding, which holds once."""

    def __init__(self, openbao: OpenBao, dns: TestDns) -> None:
        self.url, self._token = openbao.address, openbao.root_token
        self.ask("POST", "sys/mounts/acme-pki", type="pki")
        self.ask("POST", "acme-pki/root/generate/internal", common_name="ACME test root", ttl="87600h", key_type="ec")
        self.ask("POST", "acme-pki/config/cluster", path=f"{self.url}/v1/acme-pki", aia_path=f"{self.url}/v1/acme-pki")
        self.ask("POST", "sys/mounts/acme-pki/tune", allowed_response_headers=HEADERS)
        resolver = f"127.0.0.1:{dns.port}"
        self.ask("POST", "acme-pki/config/acme", enabled=True, dns_resolver=resolver, eab_policy="always-required")

    def ask(self, method: str, path: str, /, **body: Any) -> dict[str, Any]:
        headers = {"X-Vault-Token": self._token}
        answer = requests.request(method, f"{self.url}/v1/{path}", headers=headers, json=body, timeout=10)
        assert answer.ok, (path, answer.text)
        return dict(answer.json()) if answer.content else {}

    def binding(self) -> dict[str, str]:
        data = self.ask("POST", "acme-pki/acme/new-eab")["data"]
        return {"eab_kid": data["id"], "eab_hmac_key": data["key"]}

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        serial = certificate.serial_number.to_bytes(20).hex(":").removeprefix("00:")
        return bool(self.ask("GET", f"acme-pki/cert/{serial}")["data"]["revocation_time"])


@pytest.fixture(scope="module")
def mount(openbao: OpenBao, dns: TestDns) -> AcmeMount:
    return AcmeMount(openbao, dns)


def connect(mount: AcmeMount, dns: TestDns, owner: str, binding: dict[str, str]) -> Acme:
    settings: dict[str, Any] = {"account_key_pem": pem_of(owner), **binding}
    url = f"{mount.url}/v1/acme-pki/acme/directory"
    return Acme(AcmeSettings(url=url, **settings), context("openbao"), TestSolver(dns))


def test_a_wildcard_and_its_apex_are_issued_and_revoked(mount: AcmeMount, dns: TestDns) -> None:
    connector = connect(mount, dns, "issued", mount.binding())
    names = SubjectNames("bao.example.com", ("bao.example.com", "*.bao.example.com"))
    request = signing_request(names)
    outcome = follow(connector, request)
    assert isinstance(outcome, Issued), outcome
    leaf = leaf_of(outcome.answer, request)
    verify_names(leaf, names)
    with pytest.raises(ConnectorError, match="does not take this reason"):
        connector.revoke(der(leaf), RevocationReason.SUPERSEDED)
    assert not mount.is_revoked(leaf)
    connector.revoke(der(leaf), RevocationReason.UNSPECIFIED)
    connector.revoke(der(leaf), RevocationReason.UNSPECIFIED)
    assert mount.is_revoked(leaf)
    assert connector.renewal_window(der(leaf)) is None


def test_a_binding_that_holds_once_survives_a_restart(mount: AcmeMount, dns: TestDns) -> None:
    binding = mount.binding()
    for number in range(2):
        request = signing_request(SubjectNames(None, (f"once{number}.example.com",)))
        assert isinstance(follow(connect(mount, dns, "once", binding), request), Issued)


def test_a_used_binding_gives_no_second_account(mount: AcmeMount, dns: TestDns) -> None:
    binding = mount.binding()
    connect(mount, dns, "first", binding).check()
    outcome = connect(mount, dns, "second", binding).submit(signing_request(SubjectNames(None, ("x.example.com",))))
    assert isinstance(outcome, Rejected)
    assert "eab_kid" in outcome.reason


def test_a_common_name_that_is_no_alternative_name_is_ordered_too(mount: AcmeMount, dns: TestDns) -> None:
    connector = connect(mount, dns, "common", mount.binding())
    names = SubjectNames("cn.example.com", ("san.example.com",))
    request = signing_request(names)
    outcome = follow(connector, request)
    assert isinstance(outcome, Issued), outcome
    accept(outcome.answer, request)
    verify_names(leaf_of(outcome.answer, request), names)


def test_an_order_that_failed_without_saying_why_starts_anew(mount: AcmeMount, dns: TestDns) -> None:
    """OpenBao leaves the authorizations out of an order that is invalid."""
    connector = connect(mount, dns, "failed", mount.binding())
    request = signing_request(SubjectNames(None, ("failed.example.com",)))
    waiting = connector.submit(request)
    assert isinstance(waiting, Pending)
    client, account = connector._session()._client, connector._session()._account.url()
    [authorization] = client.post(Reference.of(waiting.reference).url, None, account).json()["authorizations"]
    client.post(authorization, {"status": "deactivated"}, account)
    lost = connector.collect(request, waiting.reference)
    assert isinstance(lost, Unavailable), lost
    assert lost.restart
    assert isinstance(follow(connector, request), Issued)
