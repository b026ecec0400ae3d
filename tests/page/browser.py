"""Chromium and axe-core, from npm into the checkout's .cache: nothing is installed on the machine."""

import json
import shutil
import subprocess
from pathlib import Path

from sandbox.azurite import find_node
from sandbox.processes import ProcessError

CACHE = Path(__file__).parents[2] / ".cache"
CHROMIUM, AXE = "153.0.0", "4.14.1"
INFLATE = (
    "const z = require('zlib'), f = require('fs'); "
    "f.writeFileSync('chromium', z.brotliDecompressSync(f.readFileSync("
    "'node_modules/@sparticuz/chromium/bin/chromium.br')), {mode: 0o755})"
)


class CannotFetch(Exception):
    """This machine has no npm, or cannot reach its registry; the text says which."""


def installed() -> Path:
    """The directory with `chromium` and `node_modules/axe-core`; npm fills it at the first call. Raises CannotFetch."""
    directory = CACHE / f"chromium-{CHROMIUM}"
    if (directory / "chromium").exists():
        return directory
    CACHE.mkdir(exist_ok=True)
    scratch = CACHE / f"chromium-{CHROMIUM}.new"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    packages = {"@sparticuz/chromium": CHROMIUM, "axe-core": AXE}
    (scratch / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
    try:
        node = find_node()
        npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        _run([node, npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"], scratch)
        _run([node, "-e", INFLATE], scratch)
    except (ProcessError, OSError) as error:
        raise CannotFetch(str(error)) from error
    scratch.rename(directory)
    return directory


def _run(command: list[str | Path], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise CannotFetch(done.stderr.strip()[-300:] or f"{command[0]} failed")
