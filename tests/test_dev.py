"""dev.py: finds Python 3.13, keeps `.venv` as the requirements say, and hands over to the command."""

import importlib.util
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[1] / "dev.py"
OLD_VERSIONS = ("3.9", "3.10", "3.11", "3.12")

# These stand in the checkout's root, where `python -m` finds them first.
PYTEST_STUB = (
    "import os, sys; print('pytest', sys.prefix, os.getcwd(), sys.argv[1:]); sys.exit(7 if '-x' in sys.argv else 0)"
)
PIP_STUB = """
import os, pathlib, sys, time
calls = pathlib.Path("pip-calls")
with calls.open("a") as log:
    print(*sys.argv[1:], file=log)
if "broken" in pathlib.Path("requirements-dev.txt").read_text():
    sys.exit("pip: there is no such package")
if "slow" in pathlib.Path("requirements-dev.txt").read_text():
    time.sleep(60)
"""
# Ends the program after so many removals, as a kill would. File systems list a folder in any order: here in the worst.
KILLED_STUB = """
import contextlib, os

def scandir(path=".", listed=os.scandir):
    if not isinstance(path, int):  # `shutil.rmtree` gives the folder's number
        return listed(path)
    return contextlib.nullcontext(sorted(listed(path), key=lambda entry: entry.name != ".unfinished"))

def killing(remove):
    def removed(*args, **options):
        remove(*args, **options)
        left = int(os.environ["REMOVALS"]) - 1
        os.environ["REMOVALS"] = str(left)
        if not left:
            os._exit(9)
    return removed

if "REMOVALS" in os.environ:
    os.unlink, os.rmdir, os.scandir = killing(os.unlink), killing(os.rmdir), scandir
    os.supports_dir_fd |= {os.unlink, os.rmdir}
    os.supports_fd |= {os.scandir}
"""
# Making a virtual environment takes seconds; one test makes a real one.
VENV_STUB = """
import pathlib, sys
directory = pathlib.Path(sys.argv[1]) / "bin"
directory.mkdir()
(directory / "python").symlink_to(sys.executable)
"""


def load(path: Path = SOURCE) -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose requirements are empty, and whose pip only notes that it was called."""
    shutil.copy(SOURCE, tmp_path)
    (tmp_path / "requirements-dev.txt").write_text("# nothing\n")
    (tmp_path / "pip.py").write_text(PIP_STUB)
    (tmp_path / "pytest.py").write_text(PYTEST_STUB)
    return tmp_path


@pytest.fixture
def quick_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One in which making a virtual environment takes no time."""
    (checkout / "stubs").mkdir()
    (checkout / "stubs" / "venv.py").write_text(VENV_STUB)
    monkeypatch.setenv("PYTHONPATH", str(checkout / "stubs"))
    return checkout


def run(checkout: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = [python, str(checkout / "dev.py"), *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=300, check=False)


def pip_calls(checkout: Path) -> int:
    calls = checkout / "pip-calls"
    return len(calls.read_text().splitlines()) if calls.exists() else 0


@pytest.mark.slow
def test_the_first_run_makes_the_environment_and_the_next_ones_use_it(checkout: Path) -> None:
    first = run(checkout, "test", "tests/a_test.py", "-k", "some name")
    assert first.returncode == 0, first.stderr
    assert "making `.venv`" in first.stderr
    assert "installing the locked requirements" in first.stderr
    shown = f"pytest {checkout / '.venv'} {checkout} ['-n', 'auto', 'tests/a_test.py', '-k', 'some name']"
    assert first.stdout.splitlines()[-1] == shown
    second = run(checkout, "test")
    assert "making" not in second.stderr
    assert pip_calls(checkout) == 1
    assert run(checkout, "test", "-x").returncode == 7, "the exit code is not the command's own"

    (checkout / "requirements-dev.txt").write_text("# something else\n")
    third = run(checkout, "test")
    assert third.returncode == 0
    assert "making" not in third.stderr
    assert pip_calls(checkout) == 2


def test_a_failed_installation_is_not_taken_for_done(quick_checkout: Path) -> None:
    (quick_checkout / "requirements-dev.txt").write_text("broken\n")
    failed = run(quick_checkout, "test")
    assert failed.returncode == 1
    assert "no such package" in failed.stderr
    assert "pip could not install" in failed.stderr
    (quick_checkout / "requirements-dev.txt").write_text("# mended\n")
    mended = run(quick_checkout, "test")
    assert "unfinished" in mended.stderr
    assert "making `.venv`" in mended.stderr
    assert mended.returncode == 0
    assert pip_calls(quick_checkout) == 2


def test_a_run_that_was_killed_while_installing_is_not_taken_for_done(quick_checkout: Path) -> None:
    (quick_checkout / "requirements-dev.txt").write_text("slow\n")
    with subprocess.Popen(
        [sys.executable, str(quick_checkout / "dev.py"), "test"], stdout=subprocess.PIPE, start_new_session=True
    ) as killed:
        deadline = time.monotonic() + 300
        while not pip_calls(quick_checkout) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(killed.pid, signal.SIGKILL)
    (quick_checkout / "requirements-dev.txt").write_text("# quick\n")
    again = run(quick_checkout, "test")
    assert again.returncode == 0
    assert "unfinished" in again.stderr


def test_a_run_that_is_killed_while_it_removes_the_environment_is_not_taken_for_done(
    quick_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The requirements of another branch were installing, and now those from before are wanted again."""
    (quick_checkout / "stubs" / "sitecustomize.py").write_text(KILLED_STUB)
    assert run(quick_checkout, "test").returncode == 0
    venv = quick_checkout / ".venv"
    for removals in range(1, 7):
        (venv / "lib").mkdir()
        for name in (".unfinished", "lib/some", "lib/other"):
            (venv / name).touch()
        monkeypatch.setenv("REMOVALS", str(removals))
        assert run(quick_checkout, "test").returncode == 9
        monkeypatch.delenv("REMOVALS")
        before = pip_calls(quick_checkout)
        assert run(quick_checkout, "test").returncode == 0
        assert not (venv / "lib").exists(), f"what was left after {removals} removals is in it"
        assert pip_calls(quick_checkout) == before + 1, f"it was taken for done after {removals} removals"


def test_an_environment_of_another_python_is_made_anew(quick_checkout: Path) -> None:
    (quick_checkout / ".venv" / "bin").mkdir(parents=True)
    (quick_checkout / ".venv" / "bin" / "python").write_text("#!/bin/sh\necho '(3, 12)'\n")
    (quick_checkout / ".venv" / "bin" / "python").chmod(0o755)
    (quick_checkout / ".venv" / "of-the-old-one").touch()
    assert run(quick_checkout, "test").returncode == 0
    assert not (quick_checkout / ".venv" / "of-the-old-one").exists()


def test_two_at_once_on_a_clean_checkout_install_once(quick_checkout: Path) -> None:
    command = [sys.executable, str(quick_checkout / "dev.py"), "test"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert pip_calls(quick_checkout) == 1


def old_python(version: str) -> str | None:
    candidates = [shutil.which(f"python{version}")]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += [str(path / "bin" / "python") for path in root.glob(f"versions/{version}.*")]
    # A shim of pyenv works only where its version is switched on; the program itself always does.
    command = "import sys; print(*sys.version_info[:2], sep='.'); print(sys.executable)"
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "-c", command], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.split()[0] == version:
            return answer.stdout.splitlines()[1]
    return None


@pytest.mark.slow
@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_an_older_python_can_start_it(version: str) -> None:
    python = old_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    shown = subprocess.run([python, str(SOURCE), "help"], capture_output=True, text=True, check=True)
    assert "dev.py demo" in shown.stdout
    found = "import sys; sys.path.insert(0, sys.argv[1]); import dev; print(dev.is_wanted(dev.find_python()))"
    answer = subprocess.run(
        [python, "-B", "-c", found, str(SOURCE.parent)],
        env={**os.environ, "PATH": str(Path(sys._base_executable).parent)},  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "True"


def fake_python(path: Path, answer: str, code: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """dev.py on a machine without any Python that it could use."""
    module = load()
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path / "started-by", "(3, 9)"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return module


def test_the_python_that_runs_it_is_taken_if_it_is_3_13(dev: ModuleType, tmp_path: Path) -> None:
    fake_python(tmp_path / "bin" / "python3.13", "(3, 13)")
    sys.executable = fake_python(tmp_path / "started-by", "(3, 13)")
    assert dev.find_python() == [sys.executable]


@pytest.mark.parametrize("name", ["python3.13", "python3", "python"])
def test_python_3_13_is_found_on_path(dev: ModuleType, tmp_path: Path, name: str) -> None:
    wanted = fake_python(tmp_path / "bin" / name, "(3, 13)")
    assert dev.find_python() == [wanted]


def test_a_shim_of_a_version_that_is_not_switched_on_is_passed_over(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_python(tmp_path / "shims" / "python3.13", "pyenv: python3.13: command not found", code=127)
    wanted = fake_python(tmp_path / "bin" / "python3.13", "(3, 13)")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "shims"), str(tmp_path / "bin")]))
    assert dev.find_python() == [wanted]


def test_another_version_on_path_is_passed_over(dev: ModuleType, tmp_path: Path) -> None:
    fake_python(tmp_path / "bin" / "python3", "(3, 14)")
    fake_python(tmp_path / "bin" / "python", "(2, 7)")
    with pytest.raises(SystemExit):
        dev.find_python()


def test_the_newest_3_13_of_pyenv_is_taken(dev: ModuleType, tmp_path: Path) -> None:
    for version in ("3.13.2", "3.13.10", "3.13.9", "3.13.11t", "3.12.13", "3.14.0"):
        fake_python(tmp_path / "pyenv" / "versions" / version / "bin" / "python", f"({version[0]}, {version[2:4]})")
    assert dev.find_python() == [str(tmp_path / "pyenv" / "versions" / "3.13.10" / "bin" / "python")]


def test_the_launcher_of_windows_is_asked(dev: ModuleType, tmp_path: Path) -> None:
    launcher = fake_python(tmp_path / "bin" / "py", "(3, 13)")
    assert dev.find_python() == [launcher, "-3.13"]


def test_without_python_3_13_it_says_how_to_get_it(dev: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"(?s)Python 3\.13 is needed.*pyenv install 3\.13.*python\.org"):
        dev.find_python()


def test_nothing_asked_is_a_request_for_help() -> None:
    shown = subprocess.run([sys.executable, str(SOURCE)], capture_output=True, text=True, check=True)
    for command in load().COMMANDS:
        assert f"dev.py {command} " in shown.stdout


@pytest.mark.parametrize("arguments", [["tset"], ["--unknown"], ["check", "--fix"], ["bench"], ["bench", "moon"]])
def test_what_is_not_understood_is_said_before_anything_is_installed(checkout: Path, arguments: list[str]) -> None:
    refused = run(checkout, *arguments)
    assert refused.returncode == 2
    assert f"not understood: {' '.join(arguments)}" in refused.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["vault", "bench acme", "bench issuance", "bench start", "bench sweep", "bench vault", "private-ca", "up", "demo"],
)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # another test has imported it
def test_a_command_says_how_it_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    runs: list[list[str]] = []
    module = load()
    monkeypatch.setattr(module, "replace_this_process", lambda run: runs.append(run[1:]))
    monkeypatch.setattr(module, "prepare", lambda: None)
    module.main([*command.split(), "--help"])
    [[option, name, *arguments]] = runs
    assert option == "-m"
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert capsys.readouterr().out.startswith(f"usage: dev.py {command} "), "as it is called"


def test_every_measurement_can_be_asked_for() -> None:
    assert {path.stem for path in (SOURCE.parent / "bench").glob("[!_]*.py")} == set(load().BENCHES)


def test_standard_output_is_the_commands_own(quick_checkout: Path) -> None:
    assert run(quick_checkout, "test").stdout.splitlines()[0].startswith("pytest ")


def test_check_runs_every_check_even_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, runs = load(), []

    def call(command: list[str], cwd: Path) -> int:
        runs.append(command[2:])
        return 1 if command[2] == "ruff" else 0

    monkeypatch.setattr(module.subprocess, "call", call)
    monkeypatch.setattr(module, "prepare", lambda: None)
    assert module.main(["check"]) == 1
    assert runs == [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["codespell_lib"], ["tools.scripts"]]
    assert capsys.readouterr().err.splitlines()[-1] == "dev.py: failed: ruff check, ruff format --check"
