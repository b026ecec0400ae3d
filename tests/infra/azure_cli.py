"""An `az` and a `curl` that only note what they are asked, for the scripts of infra/."""

import json
import os
import re
import subprocess
from pathlib import Path
from shlex import quote
from typing import Any

from tests.infra.bicep import INFRA

VAULT = "/subscriptions/s-1/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/Contoso"
# In sh: a Python for each call would take twenty times as long.
AZ = """#!/bin/sh
cd HOME
printf '%s\\n' "$*" >>calls
for argument; do
    case "$argument" in @*parameters.json) cat "${argument#@}" >parameters.json ;; esac
done
case "$*" in
ANSWERS
esac
case "$*" in
FAILING
esac
"""


class Azure:
    """A folder with an `az`: `answers` by the beginning of the command, and the beginnings of those that fail."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.failing: tuple[str, ...] = ()
        self.answers: dict[str, str] = {"provider show": "Registered", "functionapp keys list": "the-key"}
        (home / "az").touch()
        (home / "curl").write_text(f"#!/bin/sh\necho \"$@\" >> '{home}/curl-calls'\n")
        for name in ("az", "curl"):
            (home / name).chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.home / "az").write_text(self._az())
        given = {
            "PATH": f"{self.home}:{os.environ['PATH']}",
            "AZURE_SUBSCRIPTION_ID": "s-1",
            "AZURE_ENV_NAME": "test",
            "AZURE_LOCATION": "westeurope",
            "AZURE_RESOURCE_GROUP": "rg-test",
            "CERTRELAY_APP_NAME": "certrelay-abc",
            "CERTRELAY_APP_ID": "/subscriptions/s-1/resourceGroups/rg-test/providers/Microsoft.Web/sites/certrelay-abc",
            "CERTRELAY_APP_URL": "https://certrelay-abc.example",
            "CERTRELAY_IDENTITY_NAME": "certrelay-abc",
            "CERTRELAY_VAULT_IDS": VAULT,
            "CERTRELAY_STORAGE_ID": "/subscriptions/s-1/storage",
            **environment,
        }
        return subprocess.run([INFRA / script, *arguments], env=given, capture_output=True, text=True, timeout=120)

    def _az(self) -> str:
        answers = [f"{quote(start)}*) printf '%s\\n' {quote(answer)} ;;" for start, answer in self.answers.items()]
        failing = [f"{quote(start)}*) exit 1 ;;" for start in self.failing]
        lines = {"HOME": quote(str(self.home)), "ANSWERS": "\n".join(answers), "FAILING": "\n".join(failing)}
        return re.sub("|".join(lines), lambda found: lines[found[0]], AZ)

    @property
    def calls(self) -> list[str]:
        calls = (self.home / "calls").read_text()
        return re.sub(r"@\S+/parameters.json", "@parameters.json", calls).splitlines()

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            k: one["value"] for k, one in json.loads((self.home / "parameters.json").read_text())["parameters"].items()
        }
