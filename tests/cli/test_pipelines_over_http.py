"""The steps of the action and of the Azure pipeline, all of them, run in a shell against the app in the sandbox."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Entra, bash
from tests.cli.pages import PAGE, ROOT
from tools.scripts import example_of

ACTION = yaml.safe_load((ROOT / "cli" / "action" / "action.yml").read_text())
WORKFLOW = yaml.safe_load(example_of(PAGE.read_text()))
PIPELINE = yaml.safe_load((ROOT / "docs" / "azure-pipelines.yaml").read_text())
# With these an identity may plan, and apply; docs/cli.md says so.
ROLES = {"plan": "Reader", "apply": "Operator"}

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
def name(entra: Entra) -> str:
    return entra.app.name().replace("accepted", "pipeline")


@pytest.fixture
def runner(alone: None, installed: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a runner, in a checkout."""
    gh = installed / "gh"
    gh.write_text(GH.format(python=sys.executable, comments=str(tmp_path / "comments.json")))
    gh.chmod(0o700)
    (tmp_path / "runner").mkdir()
    (tmp_path / "cli").symlink_to(ROOT / "cli")
    return {
        **os.environ,
        "PATH": f"{installed}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RUNNER_TEMP": str(tmp_path / "runner"),
        "AGENT_TEMPDIRECTORY": str(tmp_path / "runner"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }


def address(entra: Entra, what: str) -> str:
    """The sandbox's endpoint, or its scope."""
    known = entra.app.settings
    return {"endpoint": known["APP_URL"], "scope": f"{known['APP_AUDIENCE']}/.default"}[what]


def contexts(entra: Entra, command: str) -> dict[str, str]:
    """What the expressions of the action stand for when the workflow of docs/cli.md uses it."""
    [given] = [step["with"] for step in WORKFLOW["jobs"]["certificates"]["steps"] if step["uses"] == "./cli/action"]
    defaults = {name: one["default"] for name, one in ACTION["inputs"].items() if "default" in one}
    chosen = {"command": command, "endpoint": address(entra, "endpoint"), "scope": address(entra, "scope")}
    assert given.keys() <= chosen.keys()
    values = {f"inputs.{name}": value for name, value in {**defaults, **chosen}.items()}
    return values | {
        "github.action_path": str(ROOT / "cli" / "action"), "github.token": "a token",
        "github.repository": "contoso/certificates",
        "github.event.pull_request.number": "7" if command == "plan" else "",
    }  # fmt: skip


def holds(condition: str, values: Mapping[str, str]) -> bool:
    """Whether GitHub would run a step with this condition."""
    for part in condition.split(" && "):
        name, is_compared, text = part.partition(" == ")
        if values[name] != text.strip("'") if is_compared else not values[name]:
            return False
    return True


def action(entra: Entra, runner: dict[str, str], command: str, role: str = "") -> dict[str, int]:
    """Run the action's steps as GitHub does; the exit code of each that runs."""
    values = contexts(entra, command)
    identity = entra.identity(role or ROLES[command])
    codes: dict[str, int] = {}
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "a value from elsewhere would become code"
        if not holds(step.get("if", "inputs.command"), values):
            continue
        given = {key: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], str(value))
                 for key, value in step["env"].items()}  # fmt: skip
        codes[step["name"]] = bash(step["run"], runner | identity | given).returncode
        if codes[step["name"]]:
            break
        output = Path(runner["GITHUB_OUTPUT"])
        if "id" in step and output.exists():
            name, _, value = output.read_text().splitlines()[-1].partition("=")
            values[f"steps.{step['id']}.outputs.{name}"] = value
    return codes


def wanted(name: str, *names: str) -> None:
    entry = f"{name}: {{names: [{', '.join(names)}], authority: openbao}}"
    Path("certificates.yaml").write_text(f"vault: main\ncertificates:\n  {entry}\n")


PLANNED = {"Install": 0, "Plan": 0, "Comment": 0, "Result": 0}
APPLIED = {"Install": 0, "Apply": 0}


def test_a_name_in_a_pull_request_reaches_key_vault(
    entra: Entra, runner: dict[str, str], name: str, tmp_path: Path
) -> None:
    wanted(name, f"{name}.contoso.example")
    assert action(entra, runner, "apply") == APPLIED
    wanted(name, f"{name}.contoso.example", f"www.{name}.contoso.example")
    assert action(entra, runner, "plan") == PLANNED
    assert action(entra, runner, "plan") == PLANNED
    [comment] = json.loads((tmp_path / "comments.json").read_text())
    assert f"| {name} | new version | the certificate lacks www.{name}.contoso.example |" in comment
    assert "exit-code=2" in (tmp_path / "output").read_text()
    assert comment in (tmp_path / "summary").read_text()
    assert action(entra, runner, "apply", role="Reader") == {"Install": 0, "Apply": 3}
    assert entra.app.certificate(name).json()["dns_names"] == [f"{name}.contoso.example"], "a plan wrote something"
    assert action(entra, runner, "apply") == APPLIED
    assert f"www.{name}.contoso.example" in entra.app.certificate(name).json()["dns_names"]
    assert action(entra, runner, "plan") == PLANNED
    assert "nothing to do" in json.loads((tmp_path / "comments.json").read_text())[0]


def test_a_plan_that_cannot_be_applied_fails_the_pull_request_after_its_comment(
    entra: Entra, runner: dict[str, str], name: str, tmp_path: Path
) -> None:
    Path("certificates.yaml").write_text(
        f"vault: main\ncertificates: {{{name}: {{names: [a.contoso.example], authority: '@everyone <b>'}}}}\n"
    )
    assert action(entra, runner, "plan") == PLANNED | {"Result": 3}
    [comment] = json.loads((tmp_path / "comments.json").read_text())
    assert "It cannot be applied" in comment
    assert "@everyone" not in comment
    assert "<b>" not in comment
    assert action(entra, runner, "apply") == APPLIED | {"Apply": 3}


def test_a_file_that_is_not_as_it_must_be_fails_the_pull_request(entra: Entra, runner: dict[str, str]) -> None:
    Path("certificates.yaml").write_text("vault: [")
    assert action(entra, runner, "plan") == PLANNED | {"Result": 1}


def test_a_plan_of_another_file_is_not_told_again_for_one_that_has_none(
    entra: Entra, runner: dict[str, str], name: str, tmp_path: Path
) -> None:
    wanted(name, f"{name}.contoso.example")
    assert action(entra, runner, "plan") == PLANNED
    told, commented = ((tmp_path / file).read_text() for file in ("summary", "comments.json"))
    (tmp_path / "comments.json").write_text("[]")
    Path("certificates.yaml").write_text("vault: [")
    assert action(entra, runner, "plan") == PLANNED | {"Result": 1}
    assert (tmp_path / "summary").read_text() == told
    assert json.loads((tmp_path / "comments.json").read_text()) == []
    assert name in commented


type Webhook = tuple[str, list[tuple[dict[str, str], bytes]], Callable[[int], None]]


def pipeline(entra: Entra, runner: dict[str, str], url: str, **variables: str) -> dict[str, int]:
    """Run the steps of the Azure pipeline as its agent does; the exit code of each that runs."""
    role = "plan" if variables["Build.Reason"] == "PullRequest" else "apply"
    environment = runner | entra.identity(ROLES[role]) | {
        "SYSTEM_COLLECTIONURI": url, "SYSTEM_TEAMPROJECTID": "project", "BUILD_REPOSITORY_ID": "repository",
        "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
    }  # fmt: skip
    assert PIPELINE["variables"].keys() == {"CERTRELAY_ENDPOINT", "CERTRELAY_SCOPE"}
    environment |= {key: address(entra, key.removeprefix("CERTRELAY_").lower()) for key in PIPELINE["variables"]}
    codes: dict[str, int] = {}
    for step in PIPELINE["steps"]:
        compared = re.findall(r"eq\(variables\['(.*?)'\], '(.*?)'\)", step.get("condition", ""))
        if not all(variables[name] == value for name, value in compared):
            continue
        given = {key: value.replace("$(System.AccessToken)", "a token") for key, value in step.get("env", {}).items()}
        done = bash(step.get("script") or step["inputs"]["inlineScript"], environment | given, options=())
        environment |= dict(re.findall(r"##vso\[task\.setvariable variable=(\w+)\](\w+)", done.stdout))
        codes[step["displayName"]] = done.returncode
        if done.returncode:
            break
    return codes


PULL_REQUEST = {"Build.Reason": "PullRequest", "Build.SourceBranch": "refs/pull/7/merge"}
MAIN = {"Build.Reason": "IndividualCI", "Build.SourceBranch": "refs/heads/main"}


def test_a_name_in_a_pull_request_of_azure_repos_reaches_key_vault(
    entra: Entra, runner: dict[str, str], name: str, receiver: Webhook
) -> None:
    url, got, _ = receiver
    wanted(name, f"{name}.contoso.example")
    assert pipeline(entra, runner, url, **MAIN) == APPLIED
    wanted(name, f"{name}.contoso.example", f"www.{name}.contoso.example")
    assert pipeline(entra, runner, url, **PULL_REQUEST) == {"Install": 0, "Plan": 0, "Comment": 0}
    [(headers, body)] = got
    assert headers["Authorization"] == "Bearer a token"
    comment = json.loads(body)["comments"][0]["content"]
    assert f"| {name} | new version | the certificate lacks www.{name}.contoso.example |" in comment
    assert entra.app.certificate(name).json()["dns_names"] == [f"{name}.contoso.example"], "a plan wrote something"
    assert pipeline(entra, runner, url, **MAIN) == APPLIED
    assert f"www.{name}.contoso.example" in entra.app.certificate(name).json()["dns_names"]


def test_a_plan_that_cannot_be_applied_fails_the_azure_pipeline_after_its_comment(
    entra: Entra, runner: dict[str, str], name: str, receiver: Webhook
) -> None:
    url, got, _ = receiver
    Path("certificates.yaml").write_text(
        f"vault: main\ncertificates: {{{name}: {{names: [a.example], authority: x}}}}\n"
    )
    assert pipeline(entra, runner, url, **PULL_REQUEST) == {"Install": 0, "Plan": 0, "Comment": 3}
    [(_, body)] = got
    assert "there is no authority x" in json.loads(body)["comments"][0]["content"]
    assert pipeline(entra, runner, url, **MAIN) == APPLIED | {"Apply": 3}
