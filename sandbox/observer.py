"""The app and the vault as seen from outside: HTTP with a function key, and Microsoft's SDK."""

import base64
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

_EPOCH = datetime.fromtimestamp(0, UTC)
PATIENCE = 30.0  # seconds
PAUSE = 0.1  # seconds between polls


class Unexpected(Exception):
    """Something went differently than it should."""


def expect(is_so: bool, otherwise: str) -> None:
    """Raise Unexpected with the text `otherwise` unless `is_so`."""
    if not is_so:
        raise Unexpected(otherwise)


@dataclass(frozen=True)
class Seen:
    """One version in the vault: the certificate, its tags, and the contents of its secret (a PFX)."""

    version: str
    tags: Mapping[str, str]
    leaf: x509.Certificate
    chain: list[x509.Certificate]
    private_key: PrivateKeyTypes

    @property
    def names(self) -> list[str]:
        return self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )

    @property
    def key_matches(self) -> bool:
        return self.private_key.public_key() == self.leaf.public_key()


class App:
    """The app's HTTP API for one vault."""

    def __init__(self, settings: Mapping[str, str], alias: str) -> None:
        self._client = httpx.Client(
            base_url=settings["APP_URL"],
            headers={"x-functions-key": settings["FUNCTION_KEY"]},
            timeout=30,
            trust_env=False,
        )
        self._certificates = f"/api/vaults/{alias}/certificates"

    def close(self) -> None:
        self._client.close()

    def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Request a certificate. Returns the URL of the operation. Raises Unexpected."""
        answer = self._client.post(f"{self._certificates}/{name}/create", json=body)
        expect(answer.status_code == httpx.codes.ACCEPTED, f"create answered {answer.status_code}: {answer.text}")
        expect("retry-after" in answer.headers, "create answered without a Retry-After header")
        return answer.headers["location"]

    def import_pfx(self, name: str, pfx: bytes, password: str) -> dict[str, Any]:
        body = {"value": base64.b64encode(pfx).decode(), "pwd": password}
        answer = self._client.post(f"{self._certificates}/{name}/import", json=body)
        expect(answer.status_code == httpx.codes.OK, f"import answered {answer.status_code}: {answer.text}")
        imported: dict[str, Any] = answer.json()
        return imported

    def operation(self, location: str) -> dict[str, Any]:
        answer = self._client.get(location)
        expect(answer.status_code == httpx.codes.OK, f"{location} answered {answer.status_code}: {answer.text}")
        operation: dict[str, Any] = answer.json()
        return operation

    def latest(self, name: str) -> str:
        """The path of a certificate's latest operation."""
        return f"{self._certificates}/{name}/pending"

    def watch(self, location: str, saw: Callable[[dict[str, Any]], None], other_than: str = "") -> dict[str, Any]:
        """Poll until the operation has ended; `saw` gets every answer. The operation `other_than` (id) is skipped."""
        deadline = time.monotonic() + PATIENCE
        while True:
            operation = self.operation(location)
            if operation["id"] != other_than:
                saw(operation)
                if operation["status"] != "inProgress":
                    return operation
            expect(time.monotonic() < deadline, f"the operation has not ended after {PATIENCE:g} s: {operation}")
            time.sleep(PAUSE)


class VaultObserver:
    """Reads the vault with Microsoft's SDK, as the sandbox's managed identity, and through its admin API."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        # azure-identity finds the identity endpoint of App Service here.
        os.environ |= {name: settings[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")}
        direct: dict[str, Any] = {"connection_verify": settings["CA_BUNDLE"], "use_env_settings": False}
        self._stack = contextlib.ExitStack()
        credential = self._stack.enter_context(ManagedIdentityCredential(use_env_settings=False))
        url = settings["VAULT_URL"]
        self._certificates = self._stack.enter_context(CertificateClient(url, credential, **direct))
        self._secrets = self._stack.enter_context(SecretClient(url, credential, **direct))
        self._admin = self._stack.enter_context(httpx.Client(timeout=30, trust_env=False))
        self._admin_url = settings["VAULT_ADMIN_URL"]

    def close(self) -> None:
        self._stack.close()

    def versions(self, name: str) -> list[str]:
        """The versions of a certificate, oldest first."""
        found = self._certificates.list_properties_of_certificate_versions(name)
        return [str(version.version) for version in sorted(found, key=lambda version: version.created_on or _EPOCH)]

    def see(self, name: str) -> Seen:
        """The newest version of a certificate."""
        certificate = self._certificates.get_certificate(name)
        secret = self._secrets.get_secret(name)
        key, leaf, others = pkcs12.load_key_and_certificates(base64.b64decode(secret.value or ""), None)
        if key is None or leaf is None or leaf.public_bytes(Encoding.DER) != bytes(certificate.cer or b""):
            raise Unexpected("the secret is not a PFX with the private key and the certificate")
        others = in_order(leaf, others)
        properties: Any = certificate.properties
        return Seen(properties.version, properties.tags or {}, leaf, others, key)

    def calls(self) -> int:
        """The number of requests to the vault so far, challenges excluded."""
        return int(self._ask("requests")["total"])

    def now(self) -> datetime:
        """The sandbox's time."""
        return datetime.fromtimestamp(self._ask("clock")["now"], UTC)

    def advance_clock(self, seconds: float) -> None:
        answer = self._admin.post(f"{self._admin_url}/clock", json={"advance": seconds})
        expect(answer.is_success, f"the clock could not be moved: {answer.text}")

    def raised(self, kind: str, name: str) -> bool:
        """Whether the vault has raised this kind of event for this certificate."""
        return any(event["eventType"] == kind and event["subject"] == name for event in self._ask("events")["raised"])

    def _ask(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._admin.get(f"{self._admin_url}/{path}").raise_for_status().json()
        return answer


def in_order(leaf: x509.Certificate, others: list[x509.Certificate]) -> list[x509.Certificate]:
    """The other certificates of a PFX, which are in any order there, from the leaf's issuer up to the root."""
    ordered: list[x509.Certificate] = []
    issuer = leaf.issuer
    while len(ordered) < len(others):
        found = next((other for other in others if other.subject == issuer and other not in ordered), None)
        if found is None:
            raise Unexpected("the PFX holds a certificate that is no part of the chain")
        ordered.append(found)
        issuer = found.issuer
    return ordered


def verify_chain(seen: Seen, root: Path, name: str, moment: datetime) -> None:
    """RFC 5280 path validation up to this root (PEM file) for a DNS name. Raises Unexpected."""
    store = Store(x509.load_pem_x509_certificates(root.read_bytes()))
    verifier = PolicyBuilder().store(store).time(moment).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(seen.leaf, seen.chain)
    except VerificationError as error:
        raise Unexpected(f"the chain does not lead to the authority's root: {error}") from None
