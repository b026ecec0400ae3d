"""The files of infra/: they parse, fit together, and keep the strictest linter's rules, as far as a parser sees."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_bicep

from tests.infra.bicep import FILES, INFRA, body, parsed
from tools import scripts

PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
DECLARED = re.compile(r"^(param|var|output|type|resource|module) (\w+)", re.MULTILINE)


def faults(node: tree_sitter.Node) -> list[str]:
    here = [f"line {node.start_point.row + 1}"] if node.type == "ERROR" or node.is_missing else []
    return here + [fault for child in node.children for fault in faults(child)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_two_parsers_read_the_file(file: Path) -> None:
    assert faults(PARSER.parse(file.read_bytes()).root_node) == []
    assert parsed(file.stem)


def test_the_parsers_would_find_a_fault() -> None:
    assert faults(PARSER.parse(b"param a string = {\n").root_node)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_everything_that_is_declared_is_described_and_used(file: Path) -> None:
    text = file.read_text()
    for kind, name in DECLARED.findall(text):
        if kind in ("param", "var", "output", "type"):
            described = rf"@description\('(?:[^'\\]|\\.)+'\)\n(?:[@#][^\n]*\n|[ \]}}][^\n]*\n)*{kind} {name}\b"
            assert re.search(described, text), f"{kind} {name} has no description"
        if kind in ("param", "var", "type"):
            assert len(re.findall(rf"\b{name}\b", re.sub(r"^ *@description\(.*$", "", text, flags=re.MULTILINE))) > 1, (
                name
            )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_address_key_or_registry_is_written_into_the_file(file: Path) -> None:
    text = file.read_text()
    assert not re.search(
        r"core\.windows\.net|vault\.azure\.net|azurewebsites\.net|microsoftonline|management\.azure", text
    )
    text = re.sub(r"#disable-next-line use-user-defined-types [^\n]*\n[^\n]*", "", text)
    assert not re.search(r"listKeys|listAccountSas|getSecret|AccountKey|br[:/]|\b(object|array|any)\b *[=\n]", text)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_module_gets_each_parameter_that_it_needs_and_no_other(file: Path) -> None:
    for name, module in (parsed(file.stem).get("modules") or {}).items():
        target = parsed(Path(module["detail"]["path"]).stem)["parameters"]
        given = body(module["config"])["params"].keys()
        needed = {key for key, parameter in target.items() if "default" not in parameter}
        assert needed <= given <= target.keys(), f"{file.name}: {name}"


def test_azd_sets_each_parameter_from_the_environment() -> None:
    written = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert written.keys() == parsed("main")["parameters"].keys()
    names = [re.fullmatch(r"\$\{([A-Z_]+)\}", one["value"]) for one in written.values()]
    assert all(names)
    assert len({found[1] for found in names if found}) == len(names)


def test_azd_asks_for_a_name_and_a_region_and_nothing_else() -> None:
    asked = {name for name, one in parsed("main")["parameters"].items() if one.get("default") is None}
    assert asked == {"environmentName", "location"}


def test_azd_starts_the_hooks_that_are_there_and_only_the_site_is_the_service() -> None:
    text = (INFRA.parent / "azure.yaml").read_text()
    for name in re.findall(r"run: (infra/\S+)", text):
        assert os.access(INFRA.parent / name, os.X_OK), name
    assert "remoteBuild: false" in text
    assert sum("azd-service-name" in file.read_text() for file in FILES) == 1


@pytest.mark.parametrize("script", sorted(INFRA.glob("*.sh")), ids=lambda script: script.name)
def test_a_hook_is_a_posix_script_that_stops_at_the_first_failure(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "set -eu" in lines
    subprocess.run(["sh", "-n", script], check=True)
    subprocess.run([scripts.BIN / "shellcheck", script], check=True)


def test_the_second_deployment_gets_each_of_its_parameters() -> None:
    script = (INFRA / "postdeploy.sh").read_text()
    [written] = re.findall(r"<<JSON\n(.*?)\nJSON\n", script, re.DOTALL)
    filled = re.sub(r"\$\{\w+:-\}|\$\w+", "", written.replace("\\$", ""))
    given = json.loads(filled)["parameters"]
    assert given.keys() == parsed("events")["parameters"].keys()


def test_the_hooks_read_what_the_template_puts_out() -> None:
    outputs = parsed("main")["outputs"].keys()
    azd = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID"}
    for script in ("postdeploy.sh", "predown.sh"):
        read = set(re.findall(r"\b(?:CERTRELAY|AZURE)_[A-Z_]+", (INFRA / script).read_text()))
        assert read - outputs - azd == set(), script


def test_the_pages_name_choices_and_outputs_that_exist() -> None:
    choices = set(re.findall(r"\$\{([A-Z_]+)\}", (INFRA / "main.parameters.json").read_text()))
    page = (INFRA / "README.md").read_text()
    table = page.partition("## Choices")[2].partition("\n## ")[0]
    assert choices - {"AZURE_ENV_NAME", "AZURE_LOCATION"} == choices & set(re.findall(r"`([A-Z_]+)", table))
    by_hand = (INFRA.parent / "docs" / "deploy.md").read_text()
    assert set(re.findall(r"\$\(out ([A-Z_]+)\)", by_hand)) <= parsed("main")["outputs"].keys()
    needed = re.search(r"for name in ((?:[A-Z_]+|\\|\s)+); do", (INFRA / "postdeploy.sh").read_text())
    assert needed is not None
    assert set(needed[1].replace("\\", "").split()) <= set(re.findall(r"\b([A-Z_]+)=", by_hand))
    for file in FILES:
        assert f"`{file.name}`" in page or file.stem in ("event-subscription", "vault-events", "dead-letter-access"), (
            file
        )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_object_is_written_out_for_a_parameter_whose_type_names_no_property(file: Path) -> None:
    """The compiler warns of each of its properties (BCP037); of a variable's it does not."""
    for name, module in (parsed(file.stem).get("modules") or {}).items():
        target = parsed(Path(module["detail"]["path"]).stem)
        for key, value in body(module["config"])["params"].items():
            if target["parameters"][key]["type"] in (target.get("types") or {}):
                written_out = isinstance(value, dict) and not value.keys() & {"function", "operator"}
                assert not written_out, f"{file.name}: {name}: {key}"


LIMITS = {"secure", "minLength", "maxLength", "minValue", "maxValue", "allowed"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_parameter_of_a_type_of_ours_is_limited_by_the_type(file: Path) -> None:
    """The compiler refuses the decorator at the parameter (BCP308)."""
    for name, parameter in (parsed(file.stem).get("parameters") or {}).items():
        if parameter["type"] in (parsed(file.stem).get("types") or {}):
            assert not {one["type"] for one in parameter["decorators"]} & LIMITS, name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_id_in_a_resource_is_a_parameter_or_comes_from_a_symbol_or_a_function(file: Path) -> None:
    """The linter's use-resource-id-functions, which takes the variable of a loop for a text."""
    text = file.read_text()
    loops = set(re.findall(r"\[for \(?(\w+)", text))
    below_resources = re.sub(r"^module .*?^}\]?$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert [(key, of) for key, of in re.findall(r"^ +(\w*[iI]d): (\w+)", below_resources, re.M) if of in loops] == []


def test_the_linter_has_no_rule_that_only_warns() -> None:
    rules = json.loads((INFRA / "bicepconfig.json").read_text())["analyzers"]["core"]["rules"]
    assert {rule["level"] for rule in rules.values()} == {"error"}
    assert {"use-safe-access", "no-unused-params", "protect-commandtoexecute-secrets", "max-params"} <= rules.keys()
