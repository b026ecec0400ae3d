"""`dev.py package` run twice at once, after another version, and after a run that was killed."""

import hashlib
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tools.package"]
FILES = 1500


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose dependencies are installed, and are many small files."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    for name in ("function_app.py", "host.json", "requirements.txt"):
        (tmp_path / name).write_text(f"# {name}\n")
    lock = hashlib.sha256((tmp_path / "requirements.txt").read_bytes()).hexdigest()[:16]
    for number in range(FILES):
        file = tmp_path / ".cache" / f"packages-{lock}" / f"package-{number % 50}" / f"{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"NUMBER = {number}\n" * 20)
    return tmp_path


def start(checkout: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(COMMAND, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(checkout: Path) -> str:
    """What a run prints. It must succeed."""
    done = subprocess.run(COMMAND, cwd=checkout, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_whole(checkout: Path) -> bool:
    """Whether what lies in dist/ is one package with all its files, and its checksums are right."""
    dist = checkout / "dist"
    lines = [line.split() for line in (dist / "SHA256SUMS").read_text().splitlines()]
    assert [name for _, name in lines] == ["certrelay-1.2.3.zip", "certrelay-1.2.3.cdx.json"]
    with zipfile.ZipFile(dist / "certrelay-1.2.3.zip") as archive:
        packed = len(archive.namelist())
    right = all(hashlib.sha256((dist / name).read_bytes()).hexdigest() == digest for digest, name in lines)
    return right and packed == FILES + 3


def test_two_at_once_make_the_same_package_twice(checkout: Path) -> None:
    alone = run(checkout)
    both = [start(checkout) for _ in range(2)]
    printed = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], printed
    assert [out for out, _ in printed] == [alone, alone]
    assert is_whole(checkout)


def test_a_package_of_another_version_does_not_lie_beside_it(checkout: Path) -> None:
    """docs/deploy.md deploys `dist/certrelay-*.zip`."""
    (checkout / "dist").mkdir()
    for name in ("certrelay-1.2.2.zip", "certrelay-1.2.2.cdx.json", "SHA256SUMS", "release-notes.md"):
        (checkout / "dist" / name).write_text("of another version")
    run(checkout)
    names = {"app", "certrelay-1.2.3.zip", "certrelay-1.2.3.cdx.json", "SHA256SUMS", "release-notes.md"}
    assert {path.name for path in (checkout / "dist").iterdir()} == names
    assert is_whole(checkout)


@pytest.mark.parametrize("after", [0.2, 0.4, 0.7])
def test_a_killed_run_leaves_no_half_of_a_package_and_the_next_one_makes_it(checkout: Path, after: float) -> None:
    alone = run(checkout)
    with start(checkout) as killed:
        time.sleep(after)
        killed.send_signal(signal.SIGKILL)
    sums = checkout / "dist" / "SHA256SUMS"
    assert not sums.exists() or is_whole(checkout)
    assert all(zipfile.is_zipfile(file) for file in (checkout / "dist").glob("certrelay-*.zip"))
    assert run(checkout) == alone
    assert is_whole(checkout)


def test_what_cannot_be_installed_leaves_the_package_from_before(checkout: Path) -> None:
    run(checkout)
    (checkout / "requirements.txt").write_text("no-such-package==1 --hash=sha256:00\n")
    failed = subprocess.run(COMMAND, cwd=checkout, capture_output=True, text=True, timeout=300, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("dev.py: the dependencies could not be installed")
    assert is_whole(checkout)
