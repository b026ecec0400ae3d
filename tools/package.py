"""The deployment package: `python3 dev.py package`.

    dist/app/                   what runs in Azure, with its dependencies
    dist/certrelay-VERSION.zip  the same as one file; the same bytes for the same commit and the same zlib
    dist/certrelay-VERSION.cdx.json  what is in it (tools/sbom.py)
    dist/SHA256SUMS             checksums of both files

The dependencies are those of requirements.txt, by hash, for what Flex Consumption runs: CPython 3.13, Linux, x86-64.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tools import sbom

ROOT = Path(__file__).resolve().parents[1]
DEPLOYED = ("function_app.py", "host.json", "requirements.txt", "handlers", "certrelay", "page")
PACKAGES = Path(".python_packages/lib/site-packages")  # where the Functions host looks
PYTHON, PLATFORM = "3.13", "x86_64-manylinux2014"
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold
# Written by the installer, and different on another machine.
NOT_PACKED = {"__pycache__", "bin", ".lock", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}


def main() -> int:
    """Build everything into dist/. Returns the exit code."""
    out = ROOT / "dist"
    out.mkdir(exist_ok=True)
    try:
        with one_at_a_time(out):
            print(build(out, _version()), end="")
    except PackageError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    return 0


def build(out: Path, version: str) -> str:
    """Put the app, the files and their checksums into `out`, in place of those of any version. Returns the checksums.

    The checksums come last and go first: where they are, what they name is whole. Raises PackageError."""
    app = stage(out / "app")
    for old in [out / "SHA256SUMS", *out.glob("certrelay-*")]:
        old.unlink(missing_ok=True)
    files = [out / f"certrelay-{version}.zip", out / f"certrelay-{version}.cdx.json"]
    unfinished = out / f"{files[0].name}.unfinished"
    pack(app, unfinished)
    unfinished.replace(files[0])
    files[1].write_text(sbom.document(app / PACKAGES, version, _commit()), encoding="utf-8", newline="\n")
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (out / "SHA256SUMS").write_text(sums, encoding="ascii", newline="\n")
    return sums


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Of two runs at once the second waits."""
    if os.name != "posix":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class PackageError(Exception):
    """The package cannot be built; the text says why."""


def stage(app: Path) -> Path:
    """Put what is deployed into the new folder `app` and return it. Raises PackageError."""
    installed = _dependencies()
    if app.exists():
        shutil.rmtree(app)
    for name in _tracked():
        target = app / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    shutil.copytree(installed, app / PACKAGES, ignore=lambda _, names: NOT_PACKED & set(names))
    return app


def pack(folder: Path, target: Path, level: int = 9) -> None:
    """Zip a folder: sorted, with one time and one mode for all files. `level`: zlib's, 0 (stored) to 9."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), LONG_AGO)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=level)


def _dependencies() -> Path:
    """The folder with the locked dependencies, installed once for each lock. Raises PackageError."""
    lock = ROOT / "requirements.txt"
    folder = ROOT / ".cache" / f"packages-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if folder.exists():
        return folder
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--requirement", str(lock), "--require-hashes"]
    install += ["--target", str(unfinished), "--python-version", PYTHON, "--python-platform", PLATFORM]
    install += ["--only-binary", ":all:", "--link-mode", "copy", "--no-config"]
    try:
        run = subprocess.run(install, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True)
        if run.returncode:
            raise PackageError(f"the dependencies could not be installed:\n{run.stderr.strip()}")
        if not folder.exists():
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _tracked() -> list[str]:
    """The deployed files that git knows; in an unpacked release, those that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *DEPLOYED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    paths = [path for name in DEPLOYED for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    return [path.relative_to(ROOT).as_posix() for path in paths if path.is_file() and "__pycache__" not in path.parts]


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""


if __name__ == "__main__":
    raise SystemExit(main())
