"""The steps of the action and of the Azure pipeline, run in a shell against the app in the sandbox."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.app import App

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "cli" / "action" / "action.yml").read_text())
PIPELINE = yaml.safe_load((ROOT / "docs" / "azure-pipelines.yaml").read_text())
BASH = shutil.which("bash") or ""

# GitHub itself is not here: this takes the place of its command, and keeps the comments in a file, one a line of JSON.
GH = """#!{python}
import json, os, pathlib, sys
kept = pathlib.Path({comments!r})
comments = json.loads(kept.read_text()) if kept.exists() else []
arguments = sys.argv[1:]
assert arguments.pop(0) == "api", arguments
if "--method" not in arguments:
    assert arguments[0] == "repos/contoso/certificates/issues/7/comments", arguments
    print(*(number for number, body in enumerate(comments) if body.startswith(os.environ["MARKER"])), sep="\\n")
    raise SystemExit
method, path, field = arguments[1], arguments[2], arguments[4]
body = pathlib.Path(field.removeprefix("body=@")).read_text()
if method == "PATCH":
    comments[int(path.rsplit("/", 1)[1])] = body
else:
    comments.append(body)
kept.write_text(json.dumps(comments))
"""


@pytest.fixture
def name(app: App) -> str:
    return app.name().replace("accepted", "pipeline")


@pytest.fixture
def runner(app: App, alone: None, scripts: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a runner that has the command."""
    gh = scripts / "gh"
    gh.write_text(GH.format(python=sys.executable, comments=str(tmp_path / "comments.json")))
    gh.chmod(0o700)
    (tmp_path / "runner").mkdir()
    return {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        # A runner signs in by OIDC; Entra ID is not here, so the sandbox's key does.
        "CERTRELAY_ENDPOINT": app.settings["APP_URL"],
        "CERTRELAY_FUNCTION_KEY": app.settings["FUNCTION_KEY"],
        "RUNNER_TEMP": str(tmp_path / "runner"),
        "AGENT_TEMPDIRECTORY": str(tmp_path / "runner"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }


def action(environment: dict[str, str], command: str) -> list[int]:
    """Run the action's steps as GitHub does, but for the installation; the exit code of each."""
    values = {
        "inputs.file": "certificates.yaml", "inputs.prune": "false", "github.token": "a token",
        "github.repository": "contoso/certificates", "github.event.pull_request.number": "7",
    }  # fmt: skip
    codes = []
    for step in ACTION["runs"]["steps"][1:]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "a value from elsewhere would become code"
        if f"inputs.command == '{command}'" not in step["if"]:
            continue
        output = Path(environment["GITHUB_OUTPUT"])
        if output.exists():
            values["steps.plan.outputs.exit-code"] = output.read_text().splitlines()[-1].partition("=")[2]
        given = {key: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values.get(found[1], ""), str(value))
                 for key, value in step["env"].items()}  # fmt: skip
        # The endpoint and the scope of the inputs stay those of the sandbox.
        given = {key: value for key, value in given.items() if not key.startswith("CERTRELAY_")}
        done = shell(step["run"], environment | given)
        codes.append(done.returncode)
        if done.returncode:
            break
    return codes


def shell(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def wanted(name: str, *names: str) -> None:
    entry = f"{name}: {{names: [{', '.join(names)}], authority: openbao}}"
    Path("certificates.yaml").write_text(f"vault: main\ncertificates:\n  {entry}\n")


def test_a_name_in_a_pull_request_reaches_key_vault(
    app: App, runner: dict[str, str], name: str, tmp_path: Path
) -> None:
    wanted(name, f"{name}.contoso.example")
    assert action(runner, "apply") == [0]
    wanted(name, f"{name}.contoso.example", f"www.{name}.contoso.example")
    assert action(runner, "plan") == [0, 0, 0]
    assert action(runner, "plan") == [0, 0, 0]
    [comment] = json.loads((tmp_path / "comments.json").read_text())
    assert f"| {name} | new version | the certificate lacks www.{name}.contoso.example |" in comment
    assert "exit-code=2" in (tmp_path / "output").read_text()
    assert comment in (tmp_path / "summary").read_text()
    assert app.certificate(name).json()["dns_names"] == [f"{name}.contoso.example"], "a plan wrote something"
    assert action(runner, "apply") == [0]
    assert f"www.{name}.contoso.example" in app.certificate(name).json()["dns_names"]
    assert action(runner, "plan") == [0, 0, 0]
    assert "nothing to do" in json.loads((tmp_path / "comments.json").read_text())[0]


def test_a_plan_that_cannot_be_applied_fails_the_pull_request_after_its_comment(
    runner: dict[str, str], name: str, tmp_path: Path
) -> None:
    Path("certificates.yaml").write_text(
        f"vault: main\ncertificates: {{{name}: {{names: [a.contoso.example], authority: '@everyone <b>'}}}}\n"
    )
    assert action(runner, "plan") == [0, 0, 3]
    [comment] = json.loads((tmp_path / "comments.json").read_text())
    assert "It cannot be applied" in comment
    assert "@everyone" not in comment
    assert "<b>" not in comment
    assert action(runner, "apply") == [3]


def test_the_azure_pipeline_comments_the_plan_and_applies_it(
    app: App,
    runner: dict[str, str],
    name: str,
    receiver: tuple[str, list[tuple[dict[str, str], bytes]], Callable[[int], None]],
) -> None:
    url, got, _ = receiver
    wanted(name, f"{name}.contoso.example")
    plan, comment, apply = (script_of(step) for step in PIPELINE["steps"][1:])
    done = shell(plan, runner)
    assert done.returncode == 0, done.stderr
    found = re.search(r"##vso\[task.setvariable variable=PLAN_CODE\](\d+)", done.stdout)
    assert found
    assert found[1] == "2"
    pull_request = {
        "PLAN_CODE": found[1], "SYSTEM_COLLECTIONURI": url, "SYSTEM_TEAMPROJECTID": "project",
        "BUILD_REPOSITORY_ID": "repository", "SYSTEM_PULLREQUEST_PULLREQUESTID": "7", "SYSTEM_ACCESSTOKEN": "a token",
    }  # fmt: skip
    done = shell(comment, runner | pull_request)
    assert done.returncode == 0, done.stderr
    [(headers, body)] = got
    assert headers["Authorization"] == "Bearer a token"
    assert f"| {name} | create |" in json.loads(body)["comments"][0]["content"]
    assert shell(comment, runner | pull_request | {"PLAN_CODE": "3"}).returncode == 3
    assert shell(apply, runner).returncode == 0
    assert app.certificate(name).json()["dns_names"] == [f"{name}.contoso.example"]


def script_of(step: dict[str, Any]) -> str:
    return str(step.get("script") or step["inputs"]["inlineScript"])
