"""The Azure CLI against the sandbox: a stub of Azure Resource Manager lets it sign in."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from sandbox.identity import TENANT
from sandbox.vault import VaultServer
from tests.sandbox.vault.support import Authority, Rest

needs_az = pytest.mark.skipif(shutil.which("az") is None, reason="azure-cli is not installed")
VAULT = ("--vault-name", "127")  # with the suffix .0.0.1:PORT


def policy(issuer: str) -> str:
    """A policy as `az` takes it."""
    return json.dumps(
        {
            "issuerParameters": {"name": issuer},
            "keyProperties": {"keyType": "EC", "curve": "P-256", "exportable": True, "reuseKey": False},
            "secretProperties": {"contentType": "application/x-pem-file"},
            "x509CertificateProperties": {"subject": "CN=www.example", "validityInMonths": 12},
        }
    )


@pytest.fixture
def az(server: VaultServer, tmp_path: Path) -> Callable[..., Any]:
    """Runs `az` in a configuration of its own, signed in to the sandbox. Returns the JSON that it prints."""
    environment = {
        **os.environ,
        "AZURE_CONFIG_DIR": str(tmp_path / "azure"),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "IDENTITY_ENDPOINT": server.identity_endpoint,
        "IDENTITY_HEADER": server.identity_header,
        "REQUESTS_CA_BUNDLE": str(server.ca_bundle),
    }

    def run(*arguments: str) -> Any:
        done = subprocess.run(["az", *arguments], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    endpoints = {
        "--endpoint-resource-manager": server.url,
        "--endpoint-management": server.url,
        "--endpoint-active-directory": "https://login.microsoftonline.com",
        "--endpoint-active-directory-resource-id": server.resource,
        "--endpoint-active-directory-graph-resource-id": server.resource,
        "--suffix-keyvault-dns": f".0.0.1:{server.port}",
    }
    options = [item for pair in endpoints.items() for item in pair]
    run("cloud", "register", "--name", "sandbox", "--skip-endpoint-discovery", *options)
    run("cloud", "set", "--name", "sandbox")
    run("login", "--identity")
    return run


def test_the_stub_lists_one_subscription_to_an_identity(rest: Rest, server: VaultServer) -> None:
    answer = rest("GET", "/subscriptions", version="2022-12-01")
    assert answer.status_code == 200
    [subscription] = answer.json()["value"]
    assert (subscription["tenantId"], subscription["state"]) == (TENANT, "Enabled")
    url = f"{server.url}/subscriptions?api-version=2022-12-01"
    assert requests.get(url, verify=str(server.ca_bundle), timeout=60).status_code == 401


@needs_az
def test_az_creates_shows_downloads_deletes_and_recovers(az: Callable[..., Any], name: str, tmp_path: Path) -> None:
    certificate = (*VAULT, "--name", name)
    az("keyvault", "certificate", "create", *certificate, "--policy", policy("Self"))
    shown = az("keyvault", "certificate", "show", *certificate)
    assert shown["policy"]["x509CertificateProperties"]["subject"] == "CN=www.example"
    assert name in [item["name"] for item in az("keyvault", "certificate", "list", *VAULT)]
    changed = az("keyvault", "certificate", "set-attributes", *certificate, "--tags", "team=web")
    assert changed["tags"] == {"team": "web"}
    az("keyvault", "certificate", "download", *certificate, "--file", str(tmp_path / "a.pem"))
    assert (
        x509.load_pem_x509_certificate((tmp_path / "a.pem").read_bytes()).subject.rfc4514_string() == "CN=www.example"
    )
    az("keyvault", "secret", "download", *certificate, "--file", str(tmp_path / "key.pem"))
    assert load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    az("keyvault", "certificate", "delete", *certificate)
    assert az("keyvault", "certificate", "recover", *certificate)["id"] == shown["id"]


@needs_az
def test_az_merges_the_answer_of_an_external_authority_and_imports_it_again(
    az: Callable[..., Any], rest: Rest, authority: Authority, name: str, tmp_path: Path
) -> None:
    certificate = (*VAULT, "--name", name)
    az("keyvault", "certificate", "create", *certificate, "--policy", policy("Unknown"))
    pending = az("keyvault", "certificate", "pending", "show", *certificate)
    assert pending["status"] == "inProgress"
    csr = x509.load_pem_x509_csr(
        f"-----BEGIN CERTIFICATE REQUEST-----\n{pending['csr']}\n-----END CERTIFICATE REQUEST-----\n".encode()
    )
    leaf = authority.sign(csr.public_bytes(Encoding.DER))
    (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    merged = az("keyvault", "certificate", "pending", "merge", *certificate, "--file", str(tmp_path / "leaf.pem"))
    assert merged["attributes"]["enabled"] is True
    (tmp_path / "all.pem").write_text(rest("GET", f"/secrets/{name}").json()["value"])
    options = ("--name", f"{name}-2", "--file", str(tmp_path / "all.pem"), "--policy", policy("Unknown"))
    imported = az("keyvault", "certificate", "import", *VAULT, *options)
    assert imported["x509ThumbprintHex"] == merged["x509ThumbprintHex"]


@needs_az
def test_az_manages_issuers_and_contacts(az: Callable[..., Any], name: str) -> None:
    issuer = (*VAULT, "--issuer-name", name)
    az("keyvault", "certificate", "issuer", "create", *issuer, "--provider-name", "Test", "--account-id", "a")
    assert az("keyvault", "certificate", "issuer", "show", *issuer)["provider"] == "Test"
    az("keyvault", "certificate", "issuer", "admin", "add", *issuer, "--email", "admin@a.example")
    az("keyvault", "certificate", "issuer", "delete", *issuer)
    az("keyvault", "certificate", "contact", "add", *VAULT, "--email", "team@a.example")
    az("keyvault", "certificate", "contact", "delete", *VAULT, "--email", "team@a.example")
