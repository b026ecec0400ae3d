"""The ACME account key in Key Vault: the sandbox's vault, and pebble, which checks every signature."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificatePolicy

from connectors.acme import Acme, AcmeSettings
from connectors.base import Issued, Unavailable
from sandbox.vault import Settings, VaultServer
from tests.connectors.conformance import context
from tests.connectors.pebble import Pebble, TestDns
from tests.connectors.test_acme import TestSolver, dns, follow, request_for

__all__ = ["dns"]


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VaultServer]:
    with VaultServer(tmp_path / "vault", settings=Settings(self_delay=0.05)) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", server.identity_header)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_bundle))
        yield server


@pytest.fixture
def pebble(dns: TestDns, tmp_path: Path) -> Iterator[Pebble]:
    with Pebble(tmp_path / "pebble", dns.port) as running:
        yield running


@pytest.mark.parametrize("kind", [{"key_type": "EC", "key_curve_name": "P-256"}, {"key_type": "RSA", "key_size": 2048}])
def test_the_account_key_stays_in_key_vault(
    vault: VaultServer,
    pebble: Pebble,
    dns: TestDns,
    kind: dict[str, Any],
) -> None:
    assert os.environ["IDENTITY_ENDPOINT"]
    with ManagedIdentityCredential() as credential:
        policy = CertificatePolicy("Self", subject="CN=account", exportable=False, **kind)
        with CertificateClient(vault.url, credential) as certificates:
            certificates.begin_create_certificate("account", policy).result()

        def connect(name: str) -> Acme:
            given: dict[str, Any] = {"account_key_vault_url": vault.url, "account_key_name": name}
            settings = AcmeSettings(url=pebble.directory, ca_certificates=pebble.tls_roots, **given)
            made = replace(context("acme"), credential=lambda: credential)
            return Acme(settings, made, TestSolver(dns))

        assert isinstance(follow(connect("account"), request_for("vaulted.example.com")), Issued)
        outcome = connect("no-such-key").submit(request_for("vaulted.example.com"))
        assert isinstance(outcome, Unavailable)
        assert "Key Vault" in outcome.reason
