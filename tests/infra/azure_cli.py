"""An `az` and a `curl` that only note what they are asked, for the scripts of infra/."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.infra.bicep import INFRA

VAULT = "/subscriptions/s-1/resourceGroups/rg-vaults/providers/Microsoft.KeyVault/vaults/Contoso"
AZ = """#!PYTHON -IS
import json, os, pathlib, sys
home = pathlib.Path(os.environ["AZ_HOME"])
with (home / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
for argument in sys.argv[1:]:
    if argument.startswith("@") and argument.endswith("parameters.json"):
        (home / "parameters.json").write_text(pathlib.Path(argument[1:]).read_text())
said = " ".join(sys.argv[1:])
for start, answer in json.loads((home / "answers.json").read_text()).items():
    if said.startswith(start):
        print(answer)
        break
if said.startswith(tuple(json.loads((home / "failing.json").read_text()))):
    sys.exit(1)
"""


class Azure:
    """A folder with an `az`: `answers` by the beginning of the command, and the beginnings of those that fail."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.failing: tuple[str, ...] = ()
        self.answers: dict[str, str] = {"provider show": "Registered", "functionapp keys list": "the-key"}
        (home / "az").write_text(AZ.replace("PYTHON", sys.executable))
        (home / "curl").write_text(f"#!/bin/sh\necho \"$@\" >> '{home}/curl-calls'\n")
        for name in ("az", "curl"):
            (home / name).chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (self.home / "answers.json").write_text(json.dumps(self.answers))
        (self.home / "failing.json").write_text(json.dumps(self.failing))
        given = {
            "PATH": f"{self.home}:{os.environ['PATH']}",
            "AZ_HOME": str(self.home),
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

    @property
    def calls(self) -> list[str]:
        calls = (self.home / "calls").read_text()
        return re.sub(r"@\S+/parameters.json", "@parameters.json", calls).splitlines()

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            k: one["value"] for k, one in json.loads((self.home / "parameters.json").read_text())["parameters"].items()
        }
