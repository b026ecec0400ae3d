"""The example of docs/connectors.md against a real `cfssl serve` (Debian), found as one's own connector is found."""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509

from certrelay.connectors.base import ChecksHealth, Connector, Feature, Issued, Unavailable
from certrelay.connectors.registry import connector_class
from certrelay.pki.subject import SubjectNames
from certrelay.settings import load
from sandbox.ports import free_ports
from tests.connectors.conformance import Authority, Conformance, context
from tests.connectors.debian import CannotFetch, unpacked
from tests.connectors.estserver import key_pem, make_certificate, pem
from tests.connectors.hostile import HostileConformance, closed_port_url
from tests.connectors.signing_requests import private_key, signing_request

pytestmark = pytest.mark.slow

NAME = "tests.connectors.example_connector:Cfssl"
PAGE = Path(__file__).parents[2] / "docs" / "connectors.md"


@dataclass(frozen=True)
class CfsslServer:
    url: str
    key: str
    root: x509.Certificate


@pytest.fixture(scope="module")
def cfssl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CfsslServer]:
    try:
        program = unpacked("cfssl", ["golang-cfssl"]) / "usr/bin/cfssl"
    except CannotFetch as error:
        pytest.skip(f"cfssl cannot be fetched: {error}")
    folder, key = tmp_path_factory.mktemp("cfssl"), secrets.token_hex(16)
    ca_key = private_key("rsa-2048", "cfssl")
    root = make_certificate("CFSSL test root", ca_key, None, ca_key, is_ca=True)
    profile = {
        "usages": ["digital signature", "server auth", "client auth"],
        "expiry": "720h",
        "auth_key": "relay",
        "name_whitelist": r"^([^.]+\.)*example\.com$|@[^@]*example\.com$|^[0-9a-f.:]+$|^spiffe:|^$",
    }
    config = {
        "signing": {"default": profile, "profiles": {"web": profile}},
        "auth_keys": {"relay": {"type": "standard", "key": key}},
    }
    files = {"ca.pem": pem(root), "ca-key.pem": key_pem(ca_key), "config.json": json.dumps(config)}
    for name, text in files.items():
        (folder / name).write_text(text)
    [port] = free_ports(1)
    command = [str(program), "serve", "-address", "127.0.0.1", "-port", str(port), "-loglevel", "5"]
    command += ["-ca", "ca.pem", "-ca-key", "ca-key.pem", "-config", "config.json"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url, server, folder / "log")
        yield CfsslServer(url, key, root)
    finally:
        server.terminate()
        server.wait(60)


def wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 300
    while server.poll() is None and time.monotonic() < end:
        try:
            requests.post(f"{url}/api/v1/cfssl/info", json={"label": ""}, timeout=5)
            return
        except requests.RequestException:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def connect(**settings: Any) -> Connector:
    found = connector_class(NAME)
    return found(found.Settings.model_validate({"profile": "web", **settings}), context("cfssl"))


class TestExample(Conformance):
    undeclared = frozenset(
        {
            Feature.USER_PRINCIPAL_NAME,
            Feature.COMMON_NAME_ONLY,
            Feature.REQUESTED_VALIDITY,
            Feature.FINDS_EARLIER_ORDER,
            Feature.CERTIFICATE_AUTHORITY,
        }
    )
    abilities = frozenset({ChecksHealth})

    @pytest.fixture
    def authority(self, cfssl: CfsslServer) -> Authority:
        return Authority(
            connect=lambda: connect(url=cfssl.url, key=cfssl.key),
            unreachable=lambda: connect(url=closed_port_url(), key=cfssl.key),
            roots=[cfssl.root],
            refused=SubjectNames("www.example.net", ("www.example.net",)),
            secrets=[cfssl.key],
            key_types=("rsa-2048", "rsa-3072", "ec-256", "ec-384", "ec-521"),
        )


class TestExampleAgainstAHostileServer(HostileConformance):
    secrets = ("00112233445566778899aabbccddeeff",)

    def connect(self, url: str, ca_certificates: str, timeout: float) -> Connector:
        return connect(url=url, ca_certificates=ca_certificates, timeout=timeout, key=self.secrets[0])


def test_a_wrong_key_is_unavailable_for_it_may_be_put_right(cfssl: CfsslServer) -> None:
    names = SubjectNames("a.example.com", ("a.example.com",))
    assert isinstance(connect(url=cfssl.url, key=cfssl.key).submit(signing_request(names)), Issued)
    assert connect(url=cfssl.url, key="00" * 16).submit(signing_request(names)) == Unavailable("invalid token")


def test_the_page_shows_this_very_example() -> None:
    source = (Path(__file__).parent / "example_connector.py").read_text()
    assert source.partition("class CfsslSettings")[2].strip() in PAGE.read_text()


def test_the_settings_that_the_page_shows_lead_to_the_example() -> None:
    authorities = PAGE.read_text().partition("```json\n")[2].partition("```")[0]
    values = {
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "CERTRELAY_VAULTS": json.dumps({"main": {"url": "https://contoso.vault.azure.net"}}),
        "CERTRELAY_AUTHORITIES": authorities,
        "CFSSL_KEY": "00" * 16,
    }
    lab = load(values).authorities["lab"]
    assert lab.connector_class is connector_class(NAME)
    assert lab.connector_settings.model_dump()["profile"] == "web"
