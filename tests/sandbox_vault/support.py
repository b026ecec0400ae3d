"""What the tests of the sandbox vault share: clients, an external authority, openssl."""

import datetime
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import requests
from azure.keyvault.certificates import CertificateClient, CertificatePolicy, KeyVaultCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.vault import VaultServer

Rest = Callable[..., requests.Response]


def use_identity(environment: pytest.MonkeyPatch, server: VaultServer) -> None:
    """Point `azure-identity` at the sandbox, as App Service does by its environment."""
    environment.setenv("IDENTITY_ENDPOINT", server.identity_endpoint)
    environment.setenv("IDENTITY_HEADER", server.identity_header)


def certificate_client(server: VaultServer, credential: Any, **settings: Any) -> CertificateClient:
    return CertificateClient(server.url, credential, connection_verify=str(server.ca_bundle), retry_total=0, **settings)


def self_signed(client: CertificateClient, name: str, **policy: Any) -> KeyVaultCertificate:
    """A completed certificate of issuer Self."""
    chosen = CertificatePolicy(issuer_name="Self", subject=policy.pop("subject", "CN=contoso.example"), **policy)
    result = client.begin_create_certificate(name, chosen, _polling_interval=0.02).result()
    assert isinstance(result, KeyVaultCertificate)
    return result


class Authority:
    """An external certificate authority: a root, an intermediate, and what they sign."""

    def __init__(self) -> None:
        self.root_key, self.key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = certify("root", self.root_key.public_key(), "root", self.root_key, ca=True)
        self.intermediate = certify("intermediate", self.key.public_key(), "root", self.root_key, ca=True)

    def sign(self, csr: bytes, lifetime: datetime.timedelta = datetime.timedelta(days=90)) -> x509.Certificate:
        """A certificate for the request (DER)."""
        request = x509.load_der_x509_csr(csr)
        return certify("leaf", request.public_key(), "intermediate", self.key, lifetime=lifetime)


def certify(
    subject: str,
    public_key: Any,
    issuer: str,
    key: Any,
    *,
    ca: bool = False,
    lifetime: datetime.timedelta = datetime.timedelta(days=90),
    start: datetime.datetime | None = None,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.Certificate:
    start = start or datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(f"CN={subject}"))
        .issuer_name(x509.Name.from_rfc4514_string(f"CN={issuer}"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def openssl(*arguments: str, stdin: bytes | None = None) -> str:
    """What `openssl` prints; raises when it fails."""
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True)
    return done.stdout.decode() + done.stderr.decode()


def properties(certificate: KeyVaultCertificate) -> Any:
    """The certificate's properties, which the SDK declares as optional."""
    assert certificate.properties is not None
    return certificate.properties
