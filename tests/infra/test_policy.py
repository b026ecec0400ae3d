"""checkov's policies on the Bicep files: no finding, and a reason for each check that is left out."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.bicep import FILES, INFRA, parsed

CHECKOV = "checkov==3.3.30"  # in a venv of its own: it pins older versions of what the app needs
OFFLINE = re.compile("No matching distribution|Failed to establish|NewConnectionError|ConnectTimeout|Temporary failure")


@pytest.fixture(scope="module")
def checkov() -> list[str | Path]:
    """How it is called: its own script would name the place where it was installed, and a cache may move."""
    venv = INFRA.parent / ".cache" / CHECKOV.replace("==", "-")
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (venv / ".complete").exists():
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", CHECKOV]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode and OFFLINE.search(done.stderr):
            pytest.skip(f"{CHECKOV} cannot be downloaded here: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr
        (venv / ".complete").touch()
    return [python, "-m", "checkov.main"]


@pytest.mark.slow
def test_checkov_reads_every_file_and_finds_nothing(checkov: list[str | Path]) -> None:
    run: list[str | Path] = [
        *checkov,
        "-d",
        INFRA,
        "--config-file",
        INFRA / ".checkov.yaml",
        "--compact",
        "--skip-download",
        "-o",
        "json",
    ]
    done = subprocess.run(run, capture_output=True, text=True, timeout=600)
    result = json.loads(done.stdout)
    failed = [(one["check_id"], one["resource"]) for one in result["results"]["failed_checks"]]
    assert failed == []
    assert result["summary"]["parsing_errors"] == 0  # its exit code would be 0
    made = sum(len(parsed(file.stem).get("resources") or {}) for file in FILES)
    assert result["summary"]["resource_count"] >= made


def test_each_check_that_is_left_out_has_a_reason() -> None:
    lines = [line for line in (INFRA / ".checkov.yaml").read_text().splitlines() if "CKV" in line]
    assert lines
    for line in lines:
        assert re.fullmatch(r"  - CKV2?_AZURE_\d+ # .{20,}", line), line
