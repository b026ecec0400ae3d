"""A running sandbox vault for each module, and the public SDKs' clients for it."""

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.clock import Clock
from sandbox.vault import Settings, VaultServer
from tests.sandbox.vault.support import Authority, Rest, certificate_client, use_identity

_numbers = itertools.count()


class RsaKeys:
    """RSA keys that are given again and again, in turn: to make them takes more than all the rest of these tests."""

    def __init__(self, different: int = 8) -> None:
        self._make, self._different = rsa.generate_private_key, different
        self._made: dict[int, list[rsa.RSAPrivateKey]] = {}
        self._lock = threading.Lock()

    def generate(self, public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        with self._lock:
            keys = self._made.setdefault(key_size, [])
            keys.insert(0, keys.pop() if len(keys) == self._different else self._make(public_exponent, key_size))
            return keys[0]


_keys_in_turn = RsaKeys()


@pytest.fixture(scope="module", autouse=True)
def _no_new_rsa_keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rsa, "generate_private_key", _keys_in_turn.generate)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    settings = Settings(self_delay=0.05, partnered_delay=0.05, cancel_delay=0.02)
    with VaultServer(tmp_path_factory.mktemp("vault"), Clock(), settings=settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        running: VaultServer = request.getfixturevalue("server")
        running.faults.clear()
        running.feed.subscribe(None)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"cert-{next(_numbers)}"


@pytest.fixture(scope="module")
def credential(server: VaultServer) -> Iterator[ManagedIdentityCredential]:
    with pytest.MonkeyPatch.context() as environment:
        use_identity(environment, server)
        with ManagedIdentityCredential() as credential:
            yield credential


@pytest.fixture
def client(server: VaultServer, credential: ManagedIdentityCredential) -> Iterator[CertificateClient]:
    with certificate_client(server, credential) as client:
        yield client


@pytest.fixture
def secrets(server: VaultServer, credential: ManagedIdentityCredential) -> Iterator[SecretClient]:
    with SecretClient(server.url, credential, connection_verify=str(server.ca_bundle), retry_total=0) as client:
        yield client


@pytest.fixture
def keys(server: VaultServer, credential: ManagedIdentityCredential) -> Iterator[KeyClient]:
    with KeyClient(server.url, credential, connection_verify=str(server.ca_bundle), retry_total=0) as client:
        yield client


@pytest.fixture
def rest(server: VaultServer) -> Iterator[Rest]:
    """Requests with a token: `rest("GET", "/certificates", json={…})`."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(server.ca_bundle)
        session.headers["Authorization"] = f"Bearer {server.identities.token(server.resource)}"

        def send(method: str, path: str, version: str = "2026-04-01", **arguments: Any) -> requests.Response:
            joint = "&" if "?" in path else "?"
            return session.request(method, f"{server.url}{path}{joint}api-version={version}", timeout=60, **arguments)

        yield send


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()
