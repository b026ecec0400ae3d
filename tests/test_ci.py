"""What runs before a merge, and what goes to Azure."""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dev

ROOT = Path(__file__).parents[1]
TOOL = (
    "import os, sys; print(os.path.basename(__file__), *sys.argv[1:]); sys.exit(int(os.environ.get('{name}', '0')))\n"
)
DEPLOYED = {"function_app.py", "host.json", "requirements.txt", "handlers", "certrelay", "page"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that is installed already; its tools only say that they were called, and end as the test wants."""
    (tmp_path / ".ci").mkdir()
    for name in ("dev.py", ".ci/run", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(dev, "REQUIREMENTS", tmp_path / dev.REQUIREMENTS.name)
    (tmp_path / ".venv" / dev.INSTALLED.name).write_text(dev.requirements_hash())
    for name in ("ruff", "mypy", "codespell_lib", "pytest"):
        (tmp_path / f"{name}.py").write_text(TOOL.format(name=name.upper()))
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "scripts.py").write_text(TOOL.format(name="SCRIPTS"))
    return tmp_path


def run(checkout: Path, *arguments: str, **codes: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **codes}
    return subprocess.run(
        [checkout / ".ci" / "run", *arguments], cwd="/", env=environment, capture_output=True, text=True, check=False
    )


def test_it_checks_then_tests_and_names_what_was_skipped(checkout: Path) -> None:
    done = run(checkout, "-k", "some tests")
    assert done.returncode == 0, done.stderr
    called = [line for line in done.stdout.splitlines() if ".py" in line.split()[0] and not line.startswith("dev.py")]
    assert called == [
        "ruff.py check",
        "ruff.py format --check",
        "mypy.py",
        "codespell_lib.py",
        "scripts.py",
        "pytest.py -n auto -r s -k some tests",
    ]
    assert done.stdout.splitlines()[-1].startswith("pytest.py"), "the last line is not pytest's"


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["RUFF", "MYPY", "CODESPELL_LIB", "SCRIPTS", "PYTEST"])
def test_one_failure_is_enough_and_the_tests_run_all_the_same(checkout: Path, failing: str) -> None:
    done = run(checkout, **{failing: "1"})
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("pytest.py")
    assert ("the checks failed" in done.stderr) == (failing != "PYTEST")


def test_without_python_it_says_so(checkout: Path) -> None:
    (checkout / "bin").mkdir()
    for tool in ("bash", "dirname"):
        (checkout / "bin" / tool).symlink_to(shutil.which(tool) or "")
    done = run(checkout, PATH=str(checkout / "bin"))
    assert done.returncode == 1
    assert "Python 3.9 or newer is needed" in done.stderr


def test_only_the_app_is_deployed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = (ROOT / ".funcignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    names = {line.split("/")[0] for line in listed.splitlines()}
    deployed = {name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    assert deployed == DEPLOYED
