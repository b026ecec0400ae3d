"""OpenBao, and an authority in it for the tests of `vault_pki`."""

from dataclasses import dataclass, replace
from typing import Any

import requests
from cryptography import x509

from certrelay.connectors.vault_pki.connector import VaultPki
from certrelay.connectors.vault_pki.settings import VaultPkiSettings
from certrelay.pki.subject import SubjectNames
from tests.connectors.conformance import context

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
        answer = requests.request(method, f"{self.url}/v1/{path}", headers=headers, json=body, timeout=60)
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
