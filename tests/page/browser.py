"""Chromium and axe-core, from npm into the checkout's .cache: nothing is installed on the machine."""

import shutil
import subprocess
from pathlib import Path

from sandbox.azurite import find_node, npm_install
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
    try:
        npm_install(scratch, {"@sparticuz/chromium": CHROMIUM, "axe-core": AXE})
        done = subprocess.run([find_node(), "-e", INFLATE], cwd=scratch, capture_output=True, text=True, timeout=600)
    except (ProcessError, OSError) as error:
        raise CannotFetch(str(error)) from error
    if done.returncode:
        raise CannotFetch(done.stderr.strip()[-300:])
    scratch.rename(directory)
    return directory
