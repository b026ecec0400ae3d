"""Options and workers. The fixtures are in tests/fixtures.py."""

import gc
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import distribution

pytest_plugins = ["tests.fixtures", "tests.canaries", "tests.exported"]

# The same examples in every run, however slow the machine is; with `--soak` new ones.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "500 certificates over ACME instead of 12, every pair of deaths and PKITS file, more mutants; takes minutes"
    parser.addoption("--soak", action="store_true", help=text)
    parser.addoption("--screenshots", metavar="DIRECTORY", help="take the pictures of the page for docs/")
    text = "replay the recordings of the real Key Vault in this directory against the sandbox vault"
    parser.addoption("--recordings", metavar="DIRECTORY", help=text)
    parser.addoption("--fast", action="store_true", help="leave out the tests that are marked slow")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("soak" if config.getoption("--soak") else "suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -distribution.seconds(distribution.group_of(item.nodeid)))


def pytest_collection_finish() -> None:
    """What is imported by now stays: a collection of garbage need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return distribution.workers(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> distribution.LongestFirst:
    # In this order the groups were collected; without the option xdist takes those with the most tests first.
    config.option.loadscopereorder = False
    return distribution.LongestFirst(config, log)
