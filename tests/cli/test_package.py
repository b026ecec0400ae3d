"""The package of the command: it can be built, has what it needs, and asks for what it imports."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CLI = Path(__file__).parents[2] / "cli"
PROJECT = tomllib.loads((CLI / "pyproject.toml").read_text())
MODULES = {"azure-identity": "azure", "pyyaml": "yaml"}


def test_it_is_built_with_both_packages_and_the_command(tmp_path: Path) -> None:
    source = shutil.copytree(CLI, tmp_path / "cli", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "uv", "build", "--wheel", "--offline", "--out-dir", str(tmp_path), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [entries] = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    assert "certrelay = certrelay_cli.__main__:run" in entries
    there = {str(path.relative_to(CLI)) for path in CLI.rglob("*.py")} | {"certrelay_client/py.typed"}
    assert there <= names


@pytest.mark.slow
def test_it_runs_with_the_lowest_versions_that_it_allows(tmp_path: Path) -> None:
    folder = tmp_path / "lowest"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True, timeout=60)
    install = [*uv, "pip", "install", "--python", str(folder), "--resolution", "lowest-direct", str(CLI)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600, check=False)
    if re.search("error sending request|[Ff]ailed to fetch", done.stderr):
        pytest.skip("no package index answers")
    assert done.returncode == 0, done.stderr
    (tmp_path / "plan.json").write_text("{}")
    version = PROJECT["project"]["version"]
    shown = subprocess.run([folder / "bin" / "certrelay", "--version"], capture_output=True, text=True, timeout=60)
    assert shown.stdout == f"certrelay {version}\n"
    codes = {("--help",): 0, ("schema",): 0, ("apply", "--plan", "plan.json"): 2}
    program = f"from certrelay_cli.main import main; print([main(list(given)) for given in {list(codes)}])"
    environment = {"CERTRELAY_ENDPOINT": "http://127.0.0.1:9", "CERTRELAY_FUNCTION_KEY": "k"}
    command = [str(folder / "bin" / "python"), "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith(f"\n{list(codes.values())}\n"), done.stderr


def test_it_asks_for_what_it_imports_in_ranges() -> None:
    requirements = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    asked = {MODULES.get(requirement.name, requirement.name) for requirement in requirements}
    assert all({one.operator for one in requirement.specifier} == {">=", "<"} for requirement in requirements)
    own = {"certrelay_cli", "certrelay_client"}
    imported = {name for path in CLI.rglob("*.py") for name in imports_of(path)}
    assert imported - sys.stdlib_module_names - own == asked


def imports_of(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.split(".")[0] for name in names}
