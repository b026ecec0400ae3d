"""Servers that are slow to start: one of each for the whole session. Tests keep apart by names of their own."""

from collections.abc import Iterator

import pytest

from sandbox.azurite import Azurite
from sandbox.openbao import OpenBao


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "500 certificates over ACME instead of 25, and all pairs of deaths instead of a third; takes some minutes"
    parser.addoption("--soak", action="store_true", help=text)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("openbao")) as running:
        yield running
