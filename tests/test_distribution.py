"""How the tests are spread over workers: the names in the tables exist, and a run is as the tables say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import distribution

ROOT = Path(__file__).parents[1]
FILE = """
import os, pytest, time
@pytest.mark.parametrize("number", range(3))
def test_it(number):
    print("ran", "{name}", os.environ.get("PYTEST_XDIST_WORKER"))
"""


def test_every_name_in_the_tables_is_that_of_a_test_file() -> None:
    """Whoever renames a file renames it there too."""
    files = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    assert distribution.SECONDS.keys() | distribution.APART <= files | set(distribution.TOGETHER.values())
    together = {
        pattern for pattern in distribution.TOGETHER if any(re.search(pattern, f"tests/{one}") for one in files)
    }
    assert together == distribution.TOGETHER.keys()


def test_files_of_the_same_name_are_weighed_on_their_own() -> None:
    for name, seconds in distribution.SECONDS.items():
        assert distribution.seconds(distribution.group_of(f"tests/{name}::test_a")) == seconds or name == "handlers"
        assert distribution.seconds(distribution.group_of(f"tests/elsewhere/{Path(name).name}::test_a")) == 0


def spread(directory: Path, *arguments: str, names: str = "abc") -> dict[str, set[str]]:
    """The workers that ran each file's tests."""
    (directory / "conftest.py").write_text("from tests.conftest import *\npytest_plugins = []\n")
    for name in names:
        (directory / f"test_{name}.py").write_text(FILE.format(name=name))
    command = [sys.executable, "-m", "pytest", "-rP", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory)]
    # This test's own worker is none of theirs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for name, worker in re.findall(r"^ran (\w+) (\w+)$", done.stdout, re.M):
        found.setdefault(name, set()).add(worker)
    return found


@pytest.mark.slow
def test_the_tests_of_a_file_run_on_one_worker(tmp_path: Path) -> None:
    found = spread(tmp_path, "-n", "2", str(tmp_path))
    assert found.keys() == set("abc")
    assert all(len(workers) == 1 for workers in found.values()), found


@pytest.mark.slow
def test_one_file_needs_no_worker_and_the_number_that_is_given_wins(tmp_path: Path) -> None:
    assert spread(tmp_path, "-n", "auto", str(tmp_path / "test_a.py")) == {"a": {"None"}}
    assert spread(tmp_path, "-n", "auto", "-n", "0", str(tmp_path)) == {name: {"None"} for name in "abc"}


@pytest.mark.parametrize(
    ("node_id", "group"),
    [
        ("tests/handlers/test_contract.py::test_a[x::y]", "handlers"),
        ("tests/sandbox/vault/test_names.py::Test::test_b", "tests/sandbox/vault/test_names.py"),
        ("tests/test_killed_host.py::test_c", "tests/test_killed_host.py::test_c"),
    ],
)
def test_a_group_is_a_file_or_what_the_tables_say(node_id: str, group: str) -> None:
    assert distribution.group_of(node_id) == group


def test_each_room_has_tests_that_are_not_slow() -> None:
    """`--fast` leaves no room out. A file with `pytestmark` is slow as a whole."""
    rooms: dict[Path, bool] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text()
        functions = re.findall(r"^((?:@.*\n(?:[ )].*\n)*)*)(?:def|class) [Tt]est", text, re.M)
        quick = "pytestmark = pytest.mark.slow" not in text and any("mark.slow" not in one for one in functions)
        rooms[path.parent] = rooms.get(path.parent, False) or quick
    assert [room for room, quick in rooms.items() if not quick] == []
