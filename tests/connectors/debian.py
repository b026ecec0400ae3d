"""Programs that are in Debian and nowhere else: fetched with the machine's own apt, unpacked, nothing installed."""

import contextlib
import fcntl
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "debian"


class CannotFetch(Exception):
    """This machine has no apt, or its archive no such suite or package; the text says which."""


def unpacked(name: str, packages: Sequence[str], suite: str = "trixie") -> Path:
    """The directory into which `packages` of a Debian suite are unpacked; fetched once into the checkout's .cache/.

    Raises CannotFetch."""
    root = CACHE / suite / name
    if root.exists():
        return root
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise CannotFetch("this machine has no apt-get and dpkg-deb")
    with _one_at_a_time():
        if not root.exists():
            _fetch(packages, suite, root)
    return root


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Several workers may want packages at once; apt refuses whoever comes second."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(packages: Sequence[str], suite: str, root: Path) -> None:
    apt = _apt_options(suite)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        downloads = Path(scratch)
        _run(["apt-get", *apt, "update", "-q"], CACHE)
        _run(["apt-get", *apt, "download", "-q", *packages], downloads)
        for package in sorted(downloads.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(downloads / "root")], downloads)
        (downloads / "root").rename(root)


def _apt_options(suite: str) -> list[str]:
    """Options that leave the machine's own lists and packages alone."""
    home = CACHE / "apt" / suite
    for folder in ("lists/partial", "cache/archives/partial"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "sources.list").write_text(f"deb {_debian_source()} {suite} main\n")
    return [
        f"-oDir::Etc::sourcelist={home / 'sources.list'}",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State::lists={home / 'lists'}",
        f"-oDir::Cache={home / 'cache'}",
        "-oAPT::Sandbox::User=root",
        "-oAcquire::http::Timeout=20",
        "-oAcquire::Retries=1",
    ]


def _debian_source() -> str:
    """Options and address of the archive that this machine's apt uses for Debian's main suites."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for text in (place.read_text() for place in places if place.is_file()):
        for stanza in re.split(r"\n\s*\n", text):
            address = re.search(r"^URIs:\s*(\S+/debian/?)\s*$", stanza, re.M)
            keyring = re.search(r"^Signed-By:\s*(/\S+)\s*$", stanza, re.M)
            if address:
                return f"[signed-by={keyring[1]}] {address[1]}" if keyring else address[1]
        if line := re.search(r"^deb\s+((?:\[[^]]*\]\s+)?\S+/debian/?)\s", text, re.M):
            return line[1]
    raise CannotFetch("this machine's apt knows no Debian archive")


def _run(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise CannotFetch(f"{command[0]}: {done.stderr.strip()[-300:]}")
