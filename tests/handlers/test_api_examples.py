"""The commands of docs/api.md, run as they stand."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.app import App

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_command_of_the_api_page_runs(app: App, tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 5
    bash = shutil.which("bash")
    assert bash, "the page is written for bash"
    given = {**os.environ, "APP": app.settings["APP_URL"], "KEY": app.settings["FUNCTION_KEY"], "NO_PROXY": "*"}
    for block in blocks:
        script = "set -euo pipefail\n" + block
        run = subprocess.run(
            [bash, "-c", script], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, f"{block}\n{run.stdout}\n{run.stderr}"
    assert "issued" in app.certificate("www", "/history").text
    assert app.certificate("www").json()["tags"]["team"] == "shop"
    assert len(app.certificate("www", "/versions").json()["value"]) >= 2
    assert app.certificate("paper").json()["dns_names"] == ["paper.contoso.example"]
    assert app.ended("never")["status"] == "canceled"
    assert "certrelay-authority" not in app.certificate("old").json().get("tags", {})
