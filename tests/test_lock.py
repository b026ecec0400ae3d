"""The locked requirements are what pyproject.toml asks for, complete, and what is installed."""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.syntax import imported

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
GROUP = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
# uv's notes below a locked package: who asked for it.
OF_THE_APP, OF_THE_GROUP = "certrelay (pyproject.toml)", "certrelay (pyproject.toml:dev)"


@dataclass
class Locked:
    """A package of a lock file: its requirement, its hashes, and who asked for it."""

    requirement: Requirement
    hashes: list[str]
    asked_by: set[str]


def lock(name: str) -> dict[str, Locked]:
    """The packages of a lock file by their normalized names (PEP 503)."""
    packages: dict[str, Locked] = {}
    for entry in re.split(r"\n(?=\w)", (ROOT / name).read_text())[1:]:
        requirement, *rest = entry.replace("\\", "").splitlines()
        hashes = [line.strip().removeprefix("--hash=") for line in rest if "--hash=" in line]
        asked_by = {line.removeprefix("    # via").strip("# ") for line in rest if "--hash=" not in line}
        key = canonicalize_name(Requirement(requirement).name)
        assert key not in packages, f"{key} is locked twice"
        packages[key] = Locked(Requirement(requirement), hashes, asked_by)
    return packages


APP, DEV = lock("requirements.txt"), lock("requirements-dev.txt")


@pytest.mark.parametrize("packages", [APP, DEV], ids=["requirements.txt", "requirements-dev.txt"])
def test_each_package_has_one_version_and_hashes(packages: dict[str, Locked]) -> None:
    for name, locked in packages.items():
        assert re.fullmatch(r"==[\w.]+", str(locked.requirement.specifier)), name
        assert locked.hashes, name
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", text) for text in locked.hashes), name


def test_the_tests_run_with_the_versions_that_run_in_azure() -> None:
    assert {name: (str(locked.requirement), locked.hashes) for name, locked in APP.items()}.items() <= {
        name: (str(locked.requirement), locked.hashes) for name, locked in DEV.items()
    }.items()


def direct(packages: dict[str, Locked], asker: str) -> set[str]:
    return {name for name, locked in packages.items() if asker in locked.asked_by}


def test_the_lock_files_are_made_from_what_pyproject_asks_for() -> None:
    """After a change there, run `python3 dev.py lock`."""
    of_the_app, of_the_group = (
        {canonicalize_name(requirement.name) for requirement in requirements} for requirements in (DEPENDENCIES, GROUP)
    )
    assert direct(APP, OF_THE_APP) == of_the_app
    assert direct(DEV, OF_THE_APP) == of_the_app
    assert direct(DEV, OF_THE_GROUP) == of_the_group
    for requirement in DEPENDENCIES + GROUP:
        [pin] = DEV[canonicalize_name(requirement.name)].requirement.specifier
        assert pin.version in requirement.specifier, requirement


def here(requirement: Requirement, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@cache
def required_by(package: str) -> list[Requirement]:
    """What an installed package needs by its own word, on any machine and with any extra."""
    return [Requirement(text) for text in metadata.requires(package) or []]


def needed(requirement: Requirement) -> Iterator[str]:
    """What an installed package needs by its own word, on this machine."""
    for one in required_by(requirement.name):
        if any(here(one, extra) for extra in ["", *requirement.extras]):
            yield canonicalize_name(one.name)


def test_the_lock_files_are_complete() -> None:
    for packages, asked in ((APP, DEPENDENCIES), (DEV, DEPENDENCIES + GROUP)):
        present = [locked.requirement for locked in packages.values() if here(locked.requirement)]
        assert {name for requirement in present + asked for name in needed(requirement)} <= packages.keys()


def test_what_is_locked_is_what_is_installed() -> None:
    for name, locked in DEV.items():
        if here(locked.requirement):
            assert metadata.version(name) in locked.requirement.specifier, name


def modules_of(package: str) -> set[str]:
    """What can be imported of an installed package."""
    files = (metadata.distribution(package).read_text("RECORD") or "").splitlines()
    return {line.split(",")[0].split("/")[0].removesuffix(".py") for line in files}


def test_the_app_asks_for_each_package_that_it_imports() -> None:
    """A package that only another one brings along would go with it."""
    known = {module for package in direct(APP, OF_THE_APP) for module in modules_of(package)}
    for path in [ROOT / "function_app.py", *(ROOT / "handlers").rglob("*.py"), *(ROOT / "certrelay").rglob("*.py")]:
        packages = {name.split(".")[0] for name in imported(path)}
        assert packages - sys.stdlib_module_names <= known | {"handlers", "certrelay"}, path
