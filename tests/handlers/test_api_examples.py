"""The commands of docs/api.md, run as they stand."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.test_acceptance import App

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_command_of_the_api_page_runs(app: App) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    bash = shutil.which("bash")
    assert bash, "the page is written for bash"
    given = {**os.environ, "APP": app.settings["APP_URL"], "KEY": app.settings["FUNCTION_KEY"], "NO_PROXY": "*"}
    for block in blocks:
        script = "set -euo pipefail\n" + block
        run = subprocess.run([bash, "-c", script], env=given, capture_output=True, text=True, timeout=40, check=False)
        assert run.returncode == 0, f"{block}\n{run.stdout}\n{run.stderr}"
    assert "issued" in app.certificate("www", "/history").text
    assert app.certificate("www").json()["tags"]["team"] == "shop"
