#!/usr/bin/env python3
"""Everything a developer does here, with nothing but Python.

    python3 dev.py demo     the main job before your eyes: issue, import, renew, refuse  [--page]
    python3 dev.py up       the sandbox and the app, until Ctrl-C  [--only vault] [--sign-in] [--directory D] …
    python3 dev.py test     the tests, on several workers          [--fast] [--soak] [PATH …] [pytest arguments]
    python3 dev.py simulate a year of renewals while things fail   [--days 365] [--certificates 200] [--seed N]
    python3 dev.py check    lint, format, types, spelling, workflows and scripts
    python3 dev.py package  the deployment package into dist/      (the same bytes for the same commit)
    python3 dev.py lock     renew requirements*.txt                [--upgrade] [--upgrade-package NAME]
    python3 dev.py vault    the sandbox vault alone, until Ctrl-C  --directory D [--data FILE] …
    python3 dev.py bench    one measurement                        NAME [--write] …: acme, burst, cost, growth,
                                                                   issuance, start, sweep, throughput, vault
    python3 dev.py doctor   what is wrong with a deployed app      --app URL  (its key in the variable KEY)
    python3 dev.py private-ca   a private authority's certificate in Key Vault   [--help]
    python3 dev.py help     this text

Any Python from 3.9 on can start it. It finds Python 3.13, makes `.venv` with it, installs the locked requirements
there (again only when they change) and runs the command in it.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
# The first is there while `.venv` changes; the second says which requirements it holds.
UNFINISHED, INSTALLED = VENV / ".unfinished", VENV / ".requirements"
REQUIREMENTS = ROOT / "requirements-dev.txt"  # with all of requirements.txt in it
WANTED = (3, 13)

NO_PYTHON = """dev.py: Python 3.13 is needed, and was not found: not on PATH, not in pyenv, not by the `py` launcher.
Install it in any of these ways, then run dev.py again:
    pyenv install 3.13                   (Linux, macOS)
    brew install python@3.13             (macOS)
    apt install python3.13 python3.13-venv   (Debian 13, Ubuntu 25.04 and newer)
    winget install Python.Python.3.13    (Windows)
    https://www.python.org/downloads/"""

COMPILE = ["-m", "uv", "pip", "compile", "--quiet", "pyproject.toml"]  # [tool.uv.pip] there has the rest
COMMANDS = {
    "demo": [["-m", "sandbox.demo"]],
    "up": [["-m", "sandbox.up"]],
    "test": [["-m", "pytest", "-n", "auto"]],
    "simulate": [["-m", "sandbox.simulation"]],
    "vault": [["-m", "sandbox.vault"]],
    "bench": [["-m", "bench.{}"]],
    "doctor": [["-m", "sandbox.doctor"]],
    "private-ca": [["-m", "certrelay.connectors.private_ca"]],
    "package": [["-m", "tools.package"]],
    "check": [
        ["-m", "ruff", "check"],
        ["-m", "ruff", "format", "--check"],
        ["-m", "mypy"],
        ["-m", "codespell_lib"],
        ["-m", "tools.scripts"],
    ],
    "lock": [
        [*COMPILE, "--output-file", "requirements.txt"],
        [*COMPILE, "--group", "dev", "--constraint", "requirements.txt", "--output-file", "requirements-dev.txt"],
    ],
}
BENCHES = ("acme", "burst", "cost", "growth", "issuance", "start", "sweep", "throughput", "vault")
ABOUT = {
    "demo": "The sandbox starts, CertRelay does its main job in it, it stops. The first time npm installs Azurite.",
    "up": "The sandbox and the app run until Ctrl-C.",
    "test": "The tests, against real servers on 127.0.0.1.",
    "simulate": "A year of renewals with faults, on the sandbox's clock. It takes some minutes.",
    "vault": "The sandbox vault runs until Ctrl-C.",
    "bench": "One measurement, on a machine that does nothing else meanwhile.",
    "doctor": "A deployed app looks at itself, and names what mends it.",
    "private-ca": "The certificate of a private authority is made in Key Vault.",
    "package": "The package that runs in Azure is built into dist/, with its dependencies for Linux.",
    "check": "Lint, format, types, spelling, workflows and scripts.",
    "lock": "The dependencies in pyproject.toml become requirements*.txt. Versions stay, unless --upgrade is given.",
}


def main(arguments: list[str]) -> int:
    command, rest = (arguments or ["help"])[0], arguments[1:]
    if command in ("help", "-h", "--help"):
        print(__doc__)
        return 0
    understood = {"check": not rest, "package": not rest, "bench": bool(rest) and rest[0] in BENCHES}
    if command not in COMMANDS or not understood.get(command, True):
        print(f"dev.py: not understood: {' '.join(arguments)}\n{__doc__}", file=sys.stderr)
        return 2
    say(ABOUT[command])
    # Without kept bytecode every worker and every server that the tests start compiles everything anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with one_at_a_time():
        prepare()
    commands = COMMANDS[command]
    if command == "bench":
        commands, rest = [[part.format(rest[0]) for part in commands[0]]], rest[1:]
    runs = [[str(VENV_PYTHON), *run, *rest] for run in commands]
    return replace_this_process(runs[0]) if len(runs) == 1 else run_all(runs)


def say(text: str) -> None:
    """On standard error: standard output is the command's own, and may be put into a file."""
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


def replace_this_process(run: list[str]) -> int:
    os.chdir(ROOT)
    if os.name != "nt":
        os.execv(run[0], run)  # signals and the exit code are then the command's own
    return subprocess.call(run)


def run_all(runs: list[list[str]]) -> int:
    """Run them all, even after a failure. The exit code is 1 if one failed."""
    failed = []
    for run in runs:
        name = " ".join(run[2:])
        say(name)
        if subprocess.call(run, cwd=ROOT):
            failed.append(name)
    say(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of two dev.py started at once, one prepares `.venv` and the other waits."""
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "dev.lock").open("w") as lock:
        if os.name != "nt":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare() -> None:
    """Make `.venv` hold exactly the requirements. Exits with a message when that cannot be done."""
    if UNFINISHED.exists() or (VENV.exists() and not is_wanted([str(VENV_PYTHON)])):
        say("`.venv` is unfinished, or of another Python: it is made anew")
        remove_venv()
    wanted = requirements_hash()
    if not VENV.exists():
        make_venv(find_python())
    elif INSTALLED.exists() and INSTALLED.read_text() == wanted:
        return
    UNFINISHED.touch()
    say("installing the locked requirements into `.venv`; the first time takes a minute or two")
    pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    if subprocess.call([*pip, "--require-hashes", "-r", str(REQUIREMENTS)], cwd=ROOT):
        raise SystemExit("dev.py: pip could not install the requirements: see its message above")
    INSTALLED.write_text(wanted)
    UNFINISHED.unlink()


def remove_venv() -> None:
    """Its mark goes last: what a killed run leaves is not taken for done."""
    if not VENV.is_symlink():
        UNFINISHED.touch()
        for path in VENV.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != UNFINISHED:
                path.unlink()
    shutil.rmtree(VENV)


def requirements_hash() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def make_venv(python: list[str]) -> None:
    say(f"making `.venv` with {' '.join(python)}")
    VENV.mkdir()
    UNFINISHED.touch()
    if subprocess.call([*python, "-m", "venv", str(VENV)]):
        raise SystemExit(
            "dev.py: the virtual environment could not be made: see the message above.\n"
            "On Debian and Ubuntu the module `venv` is a package of its own: apt install python3.13-venv"
        )


def find_python() -> list[str]:
    """The command that starts Python 3.13. Exits with a message when there is none."""
    for command in candidates():
        if is_wanted(command):
            return command
    raise SystemExit(NO_PYTHON)


def candidates() -> Iterator[list[str]]:
    yield [sys.executable]
    # Every one on PATH: pyenv's shims are there even for versions that are not switched on.
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        for name in ("python3.13", "python3", "python"):
            found = shutil.which(name, path=directory) if directory else None
            if found:
                yield [found]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [path for path in pyenv.glob("versions/3.13.*") if re.match(r"3\.13\.\d+$", path.name)]
    for version in sorted(versions, key=lambda path: int(path.name.rsplit(".", 1)[1]), reverse=True):
        yield [str(version / "bin" / "python")]
    launcher = shutil.which("py")
    if launcher:
        yield [launcher, "-3.13"]


def is_wanted(command: list[str]) -> bool:
    try:
        answer = subprocess.run(
            [*command, "-I", "-c", "import sys; print(sys.version_info[:2])"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.decode().strip() == str(WANTED)


if __name__ == "__main__":
    if sys.version_info < (3, 9):
        raise SystemExit("dev.py needs Python 3.9 or newer to start.\n" + NO_PYTHON)
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
