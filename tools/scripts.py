"""The part of `python3 dev.py check` that is not about Python: workflows, the action and shell scripts, offline."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent  # actionlint finds shellcheck there, too
ACTION = Path("cli", "action", "action.yml")
PIPELINE = Path("docs", "azure-pipelines.yaml")
PAGE = Path("docs", "cli.md")
ZIZMOR = ("zizmor", "--offline", "--no-progress", "--quiet")


def main() -> int:
    """Run all of them, even after a failure. Returns the exit code."""
    return 1 if any(list(failures(ROOT))) else 0


def failures(root: Path) -> Iterator[int]:
    """The exit code of each linter on the checkout at `root`."""
    workflows = sorted((root / ".github" / "workflows").glob("*.yml"))
    shell = sorted([*(root / "infra").glob("*.sh"), root / ".ci" / "run"])
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch)
        example = _write(written / ".github" / "workflows" / "example.yml", example_of((root / PAGE).read_text()))
        action = _write(written / "action.yml", as_workflow(_yaml(root / ACTION)))
        steps = [_write(written / f"{n}.sh", text) for n, text in enumerate(scripts_of(_yaml(root / PIPELINE)))]
        runs = [
            [*ZIZMOR, root / ".github", root / ACTION],
            [*ZIZMOR, "--min-severity=medium", example],  # a low one advises against `./`, which is any checkout
            ["actionlint", "-shellcheck", BIN / "shellcheck", *workflows, example, action],
            ["shellcheck", *shell, *steps],
        ]
        for name, *arguments in runs:
            yield subprocess.run([str(BIN / str(name)), *map(str, arguments)], cwd=root, check=False).returncode


def example_of(page: str) -> str:
    """The workflow that a page shows. Raises ValueError without exactly one."""
    [found] = re.findall(r"^```yaml\n(# \.github/workflows/.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(found)


def as_workflow(action: dict[str, Any]) -> str:
    """A workflow with the inputs and the steps of a composite action, which actionlint does not read as it is."""
    kept = {name: {"type": "string", "required": True} for name in action["inputs"]}
    outputs = {name: one["value"] for name, one in action.get("outputs", {}).items()}
    job = {"runs-on": "ubuntu-latest", "outputs": outputs, "steps": action["runs"]["steps"]}
    return yaml.safe_dump({"on": {"workflow_call": {"inputs": kept}}, "jobs": {"action": job}}, sort_keys=False)


def scripts_of(pipeline: dict[str, Any]) -> Iterator[str]:
    """The scripts of an Azure pipeline's steps, each as a file of bash. Raises KeyError for a step of another kind."""
    for step in pipeline["steps"]:
        yield "#!/bin/bash\n" + (step["script"] if "script" in step else step["inputs"]["inlineScript"])


def _yaml(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")))


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


if __name__ == "__main__":
    raise SystemExit(main())
