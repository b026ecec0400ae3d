"""The start of the app: CPU of `import function_app` against `import azure.functions`, which nobody can save.

    python3 dev.py bench start [--rounds 10]

Each import is in a process of its own, in turns, with its bytecode on the disk. Peak memory is of the same processes.
"""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench._report import Line, arguments, conclude, in_turns, ratio

ROOT = Path(__file__).parent.parent
LIMIT = 2.0
APP, FLOOR = "function_app", "azure.functions"
SETTINGS = {
    "PYDANTIC_DISABLE_PLUGINS": "true",  # as infra/ sets it
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "CERTRELAY_VAULTS": '{"main": {"url": "https://main.vault.azure.net"}}',
    "CERTRELAY_AUTHORITIES": json.dumps({"openbao": {
        "connector": "vault_pki", "url": "https://bao.contoso.example", "mount": "pki", "role": "web",
        "role_id": "r", "secret_id": "@SECRET_ID",
    }}),
    "SECRET_ID": "s",
    "CERTRELAY_POLL_SCHEDULE": "0 * * * * *",
    "CERTRELAY_SWEEP_SCHEDULE": "0 7 * * * *",
    "CERTRELAY_DIGEST_SCHEDULE": "0 0 6 * * *",
}  # fmt: skip
# Not `ru_maxrss`: that is the peak of the process that forked this one, if it was larger.
MEASURE = """
import time
begun = time.process_time()
import {}
cpu = time.process_time() - begun
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(cpu, int(peak) / 1024)
"""


def imported(module: str) -> tuple[float, float]:
    """CPU (s) and peak memory (MiB) of a process that imports the module."""
    environment = {**SETTINGS, "PYTHONPATH": str(ROOT), "PATH": ""}
    command = [sys.executable, "-c", MEASURE.format(module)]
    with tempfile.TemporaryDirectory() as elsewhere:
        shown = subprocess.run(command, env=environment, cwd=elsewhere, capture_output=True, text=True, check=True)
    cpu, memory = shown.stdout.split()
    return float(cpu), float(memory)


def _cpu(module: str, _number: int) -> float:
    return imported(module)[0]


def measure(rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU (s) of each import, taken in turns, and peak memory (MiB), by module."""
    memory = {module: imported(module)[1] for module in (APP, FLOOR)}
    return in_turns({module: functools.partial(_cpu, module) for module in memory}, rounds), memory


def main() -> int:
    given = arguments("start", __doc__, rounds=10)
    cpu, memory = measure(given.rounds)
    lines = [
        Line(f"`import {name}`", f"{min(cpu[name]) * 1000:.0f} ms CPU, {memory[name]:.0f} MiB") for name in (FLOOR, APP)
    ]
    lines.append(ratio("ratio of the medians", cpu[APP], cpu[FLOOR], LIMIT))
    return conclude("start", given, lines, "azure-functions", "pydantic", "cryptography")


if __name__ == "__main__":
    sys.exit(main())
