"""Shared by the tests of the sandbox vault: clients, an external authority, openssl."""

import datetime
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import requests
from azure.keyvault.certificates import (
    CertificateClient,
    CertificateOperation,
    CertificatePolicy,
    KeyVaultCertificate,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

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


def pending(client: CertificateClient, name: str, **policy: Any) -> CertificateOperation:
    """An operation of issuer Unknown, which waits for a merge."""
    chosen = CertificatePolicy(issuer_name="Unknown", subject="CN=a.example", **policy)
    operation = client.begin_create_certificate(name, chosen, _polling_interval=0.02).result()
    assert isinstance(operation, CertificateOperation)
    return operation


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


class Authority:
    """An external certificate authority: a root, an intermediate, and what they sign."""

    def __init__(self) -> None:
        self.root_key, self.key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = certify("root", self.root_key.public_key(), "root", self.root_key, extensions=CA)
        self.intermediate = certify("intermediate", self.key.public_key(), "root", self.root_key, extensions=CA)

    def sign(self, csr: bytes, lifetime: datetime.timedelta = datetime.timedelta(days=90)) -> x509.Certificate:
        """A certificate for the request (DER), valid since a minute ago."""
        request = x509.load_der_x509_csr(csr)
        return certify("leaf", request.public_key(), "intermediate", self.key, validity(lifetime))


CA = (x509.BasicConstraints(ca=True, path_length=None),)


def validity(
    lifetime: datetime.timedelta, ago: datetime.timedelta = datetime.timedelta(minutes=1)
) -> tuple[datetime.datetime, datetime.datetime]:
    """The first and the last moment of a lifetime that began that long ago."""
    begin = datetime.datetime.now(datetime.UTC) - ago
    return begin, begin + lifetime


def certify(
    subject: str,
    public_key: Any,
    issuer: str,
    key: Any,
    valid: tuple[datetime.datetime, datetime.datetime] | None = None,
    extensions: tuple[x509.ExtensionType, ...] = (x509.BasicConstraints(ca=False, path_length=None),),
) -> x509.Certificate:
    """A certificate for the subject's common name, signed by the issuer's key; `valid` for 90 days unless given."""
    begin, end = valid or validity(datetime.timedelta(days=90))
    builder = x509.CertificateBuilder(
        x509.Name.from_rfc4514_string(f"CN={issuer}"),
        x509.Name.from_rfc4514_string(f"CN={subject}"),
        public_key,
        x509.random_serial_number(),
        begin,
        end,
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(key, hashes.SHA256())


def openssl(*arguments: str, stdin: bytes | None = None) -> str:
    """What `openssl` prints; raises when it fails."""
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True)
    return done.stdout.decode() + done.stderr.decode()


def properties(certificate: KeyVaultCertificate) -> Any:
    """The certificate's properties, which the SDK declares as optional."""
    assert certificate.properties is not None
    return certificate.properties
