"""`acme` against the second implementation: the ACME server in OpenBao's PKI engine."""

from typing import Any

import pytest
import requests
from cryptography import x509

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.reference import Reference
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import (
    Cancels,
    ChecksHealth,
    ConnectorError,
    Feature,
    Issued,
    Pending,
    Rejected,
    RevocationReason,
    Revokes,
    RollsOverAccountKey,
    SuggestsRenewal,
    Unavailable,
)
from certrelay.pki.subject import SubjectNames
from sandbox.openbao import OpenBao
from tests.connectors.acme.ordering import TestSolver, der, follow, pem_of
from tests.connectors.acme.pebble import TestDns
from tests.connectors.answers import leaf_of, verify_names
from tests.connectors.conformance import Authority, Conformance, accept, context
from tests.connectors.hostile import closed_port_url
from tests.connectors.signing_requests import signing_request

pytestmark = pytest.mark.slow

HEADERS = ["Last-Modified", "Location", "Replay-Nonce", "Link"]


class AcmeMount:
    """A PKI mount with its ACME server; every account needs a binding, which holds once."""

    def __init__(self, openbao: OpenBao, dns: TestDns) -> None:
        self.url, self._token = openbao.address, openbao.root_token
        self.ask("POST", "sys/mounts/acme-pki", type="pki")
        root = {"common_name": "ACME test root", "ttl": "87600h", "key_type": "ec"}
        made = self.ask("POST", "acme-pki/root/generate/internal", **root)
        self.root = x509.load_pem_x509_certificate(made["data"]["certificate"].encode())
        self.ask("POST", "acme-pki/config/cluster", path=f"{self.url}/v1/acme-pki", aia_path=f"{self.url}/v1/acme-pki")
        self.ask("POST", "sys/mounts/acme-pki/tune", allowed_response_headers=HEADERS)
        resolver = f"127.0.0.1:{dns.port}"
        self.ask("POST", "acme-pki/config/acme", enabled=True, dns_resolver=resolver, eab_policy="always-required")

    def ask(self, method: str, path: str, /, **body: Any) -> dict[str, Any]:
        headers = {"X-Vault-Token": self._token}
        answer = requests.request(method, f"{self.url}/v1/{path}", headers=headers, json=body, timeout=60)
        assert answer.ok, (path, answer.text)
        return dict(answer.json()) if answer.content else {}

    def binding(self, path: str = "acme-pki/") -> dict[str, str]:
        data = self.ask("POST", f"{path}acme/new-eab")["data"]
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


@pytest.fixture(scope="module")
def role(mount: AcmeMount) -> dict[str, Any]:
    """The directory of a role that has a policy on names, and a binding for it."""
    path = "acme-pki/roles/web"
    mount.ask("POST", path, allowed_domains=["example.com"], allow_subdomains=True, key_type="any", ttl="720h")
    return {"url": f"{mount.url}/v1/{path}/acme/directory", **mount.binding(f"{path}/")}


@pytest.mark.filterwarnings("ignore:Attribute's length must be")  # the first name is its common name, however long
class TestAcmeOnOpenBao(Conformance):
    undeclared = frozenset(Feature) - {Feature.WILDCARD, Feature.RSA, Feature.EC}
    abilities = frozenset({Revokes, Cancels, SuggestsRenewal, RollsOverAccountKey, ChecksHealth})

    @pytest.fixture
    def authority(self, mount: AcmeMount, role: dict[str, Any], dns: TestDns) -> Authority:
        def connect(**changes: str) -> Acme:
            settings = {"account_key_pem": pem_of("conformance"), **role, **changes}
            return Acme(AcmeSettings(**settings), context("openbao"), TestSolver(dns))

        return Authority(
            connect=connect,
            unreachable=lambda: connect(url=closed_port_url()),
            roots=[mount.root],
            refused=SubjectNames("evil.example.net", ("evil.example.net",)),
            is_revoked=mount.is_revoked,
            pending=connect,
            secrets=[pem_of("conformance").get_secret_value(), role["eab_hmac_key"]],
        )


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
