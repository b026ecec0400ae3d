"""What the tests of private_ca share: a sandbox vault, authorities in it, containers of their own, openssl."""

import itertools
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient
from azure.storage.blob import ContainerClient
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.base import Context, Issued
from certrelay.connectors.private_ca.bootstrap import Authority, bootstrap_root
from certrelay.connectors.private_ca.connector import PrivateCa
from certrelay.connectors.private_ca.settings import PrivateCaSettings
from certrelay.keyvault.remote_key import Key, vault_key
from certrelay.pki.subject import SubjectNames
from sandbox.azurite import Azurite
from sandbox.vault import Settings, VaultServer
from tests.connectors.answers import certificates
from tests.rsa_keys import rsa_key_of_known_primes

NAMES = SubjectNames("a.example.com", ("a.example.com", "b.example.com"))
_numbers = itertools.count()


@dataclass
class World:
    """A vault, storage, and a time that tests may set."""

    vault: VaultServer
    azurite: Azurite
    credential: ManagedIdentityCredential
    certificates: CertificateClient
    offset: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def key_of(self, key_id: str, public_key: Any) -> Key:
        return vault_key(key_id, public_key, self.credential)

    def root(self, kind: str = "EC-256", **options: Any) -> tuple[str, x509.Certificate]:
        """A new root in the vault: its name and certificate."""
        name = f"ca-{next(_numbers)}"
        wanted = Authority(name, f"CN=Root {name}", kind, **options)
        return name, bootstrap_root(self.certificates, self.key_of, wanted, self.now(), poll=0.05)

    def containers(self) -> dict[str, str]:
        """Two new, empty containers, as settings."""
        unique = uuid.uuid4().hex[:10]
        names = {"records_container": f"records-{unique}", "crl_container": f"crl-{unique}"}
        for name in names.values():
            with self.container(name) as made:
                made.create_container()
        return names

    def container(self, name: str) -> ContainerClient:
        return ContainerClient.from_connection_string(self.azurite.connection_string, name)

    def connector(self, name: str, **changes: Any) -> PrivateCa:
        settings = {
            "vault_url": self.vault.url,
            "ca_certificate_name": name,
            "storage_connection_string": self.azurite.connection_string,
            **changes,
        }
        context = Context("private", self.now, lambda: self.credential)
        return PrivateCa(PrivateCaSettings.model_validate(settings), context)

    def blobs(self, container: str) -> list[str]:
        with self.container(container) as client:
            return sorted(blob.name for blob in client.list_blobs())

    def crl(self, containers: dict[str, str], name: str) -> x509.CertificateRevocationList:
        with self.container(containers["crl_container"]) as client:
            return x509.load_der_x509_crl(client.download_blob(f"{name}.crl").readall())


@contextmanager
def running_world(directory: Path, azurite: Azurite) -> Iterator[World]:
    with ExitStack() as stack:
        settings = Settings(self_delay=0.05)
        vault = stack.enter_context(VaultServer(directory, settings=settings))
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setattr("sandbox.vault.crypto.rsa.generate_private_key", rsa_keys())
        environment.setenv("IDENTITY_ENDPOINT", vault.identity_endpoint)
        environment.setenv("IDENTITY_HEADER", vault.identity_header)
        environment.setenv("REQUESTS_CA_BUNDLE", str(vault.ca_bundle))
        credential = stack.enter_context(ManagedIdentityCredential())
        certificates = stack.enter_context(CertificateClient(vault.url, credential, retry_total=0))
        yield World(vault, azurite, credential, certificates)


def rsa_keys() -> Callable[..., RSAPrivateKey]:
    """Makes RSA keys, but those of 4096 bits, which would take a second, of known primes in turn."""
    generate, numbers = rsa.generate_private_key, itertools.count()

    def made(public_exponent: int, key_size: int) -> RSAPrivateKey:
        is_known = key_size == 4096
        return rsa_key_of_known_primes(4096, next(numbers) % 2) if is_known else generate(public_exponent, key_size)

    return made


def openssl(*arguments: str | Path) -> str:
    """What `openssl` prints; fails the test when it fails."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def pem_file(path: Path, *certificates: x509.Certificate) -> Path:
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    return path


def issued(outcome: Any) -> x509.Certificate:
    assert isinstance(outcome, Issued), outcome
    return certificates(outcome.answer)[0]


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
