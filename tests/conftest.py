"""Servers that are slow to start: one of each for the whole session. Tests keep apart by names of their own."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from sandbox.azurite import Azurite
from sandbox.openbao import OpenBao

# The same examples in every run, however slow the machine is; with `--soak` new ones.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "500 certificates over ACME instead of 25, and all pairs of deaths instead of a fifth; takes some minutes"
    parser.addoption("--soak", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("soak" if config.getoption("--soak") else "suite")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("openbao")) as running:
        yield running
