"""Servers that several modules use."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.ports import free_ports
from tests.connectors.aws_pca.moto import Moto, make_authority, wait_until_it_answers
from tests.connectors.bao import POLICY, Bao, Pki


def pytest_itemcollected(item: pytest.Item) -> None:
    """moto takes seconds: to start, and for each certificate."""
    if "moto" in getattr(item, "fixturenames", ()):
        item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def public_root(one_root: Path) -> Iterator[Path]:
    """One root stands for all public ones: each connector without roots of its own reads them, in 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("certrelay.connectors.http.certifi", SimpleNamespace(where=lambda: str(one_root)))
        yield one_root


@pytest.fixture(scope="session")
def pki(openbao: Any) -> Pki:
    bao = Bao(openbao.address, openbao.root_token)
    root = bao.make_pki("pki-conformance")
    bao.write("sys/policies/acl/signing", policy=POLICY)
    bao.write("sys/auth/approle-conformance", type="approle")
    bao.write("auth/approle-conformance/role/relay", token_policies="signing", token_ttl="1h", token_max_ttl="2h")
    role_id = bao.ask("GET", "auth/approle-conformance/role/relay/role-id")["role_id"]
    secret_id = bao.write("auth/approle-conformance/role/relay/secret-id")["secret_id"]
    return Pki(bao, root, role_id, secret_id)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """moto's server with one active root authority."""
    import boto3  # here, since it takes a moment wherever tests are collected

    [port] = free_ports(1)
    program = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path_factory.mktemp("moto") / "log").open("wb") as log:
        server = subprocess.Popen(program, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_answers(url)
        pca = boto3.client("acm-pca", "eu-west-1", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="y")
        arn, root = make_authority(pca)
        yield Moto(url, arn, root, pca)
        pca.close()
    finally:
        server.terminate()
        server.wait(60)
