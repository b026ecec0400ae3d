"""Connectors are found by name, checked, and imported no sooner than they are needed."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import SecretStr

from certrelay.connectors.base import ConnectorSettings, Feature
from certrelay.connectors.registry import CONNECTORS, connector_class, settings_class

LIBRARIES = {"acme", "azure.core", "boto3", "botocore", "dns", "hvac", "josepy", "lexicon", "requests", "spnego"}

# What the registry loads for each connector, asked one after the other in a process that knows none of them yet.
ASKS = """
import json, sys
from certrelay.connectors import registry

def loaded_for(look_up, name):
    for module in [one for one in sys.modules if one.startswith("certrelay.connectors.") and one not in before]:
        del sys.modules[module]  # so that what is loaded for two connectors is seen for both
    getattr(registry, look_up)(name).features if look_up == "connector_class" else getattr(registry, look_up)(name)
    return sorted(sys.modules)

before = set(sys.modules)
asked = {look_up: {name: loaded_for(look_up, name) for name in sorted(registry.CONNECTORS)}
         for look_up in ("settings_class", "connector_class")}
print(json.dumps({"before": sorted(before), **asked}))
"""
CODE = {entry.code.partition(":")[0] for entry in CONNECTORS.values()}


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_every_connector_of_the_registry_fulfils_the_contract(name: str) -> None:
    found = connector_class(name)
    assert issubclass(found.Settings, ConnectorSettings)
    assert found.Settings is not ConnectorSettings
    assert found.Settings.model_config.get("extra") == "forbid"
    assert found.Settings.model_config.get("hide_input_in_errors")
    assert found.features <= set(Feature)
    assert {Feature.RSA, Feature.EC} & found.features
    assert callable(found.submit)
    assert callable(found.collect)
    assert settings_class(name) is found.Settings


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_what_is_secret_in_the_settings_is_plainly_so(name: str) -> None:
    """certrelay/settings.py refuses literal values for fields that are `SecretStr` or `SecretStr | None`."""
    for field, info in settings_class(name).model_fields.items():
        if re.search("password|secret_|(^|_)token$|_key$|hmac|client_certificate", field) and "url" not in field:
            assert SecretStr in {info.annotation, *get_args(info.annotation)}, field


def test_ones_own_connector_is_found_by_module_and_class() -> None:
    found = connector_class("tests.connectors.example_connector:Cfssl")
    assert found.__name__ == "Cfssl"
    assert settings_class("tests.connectors.example_connector:Cfssl") is found.Settings


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("vault-pki", "there is no connector 'vault-pki'; known are acme, adcs, "),
        ("", "there is no connector ''"),
        ("no_such_module:Class", "cannot be loaded: No module named 'no_such_module'"),
        ("certrelay.connectors.manual:NoSuchClass", "cannot be loaded"),
        (":Class", "cannot be loaded"),
        ("certrelay.connectors.manual.settings:ManualSettings", "is not a connector: it has no Settings, no features"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_in_one_sentence(name: str, fault: str) -> None:
    for look_up in (settings_class, connector_class):
        with pytest.raises(LookupError) as caught:
            look_up(name)
        assert fault in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    """The modules of a process `before` any connector is asked for, and then by function of the registry and name.

    Of certrelay.connectors only what is loaded for that connector; all else stays, the settings come first."""
    ran = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, check=True)
    return dict(json.loads(ran.stdout))


def test_the_registry_loads_neither_settings_nor_code_of_a_connector(loaded: dict[str, Any]) -> None:
    settings = {entry.settings.partition(":")[0] for entry in CONNECTORS.values()}
    assert not {*loaded["before"]} & (CODE | settings | LIBRARIES)


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_the_settings_of_a_connector_are_loaded_when_they_are_asked_for_and_its_code_is_not(
    name: str, loaded: dict[str, Any]
) -> None:
    found = loaded["settings_class"][name]
    assert CONNECTORS[name].settings.partition(":")[0] in found
    assert not {*found} & (CODE | LIBRARIES)


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_the_code_of_a_connector_is_loaded_when_it_is_asked_for(name: str, loaded: dict[str, Any]) -> None:
    code = CONNECTORS[name].code.partition(":")[0]
    assert {*loaded["connector_class"][name]} & CODE == {code}


@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_the_page_says_of_every_connector_what_it_declares(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "connectors.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |") and line.count("|") == 9]
    cells = [cell.strip().partition(" ")[0] for cell in row.split("|")[4:8]]
    found = connector_class(name)
    declared = [
        hasattr(found, "revoke"),
        *(feature in found.features for feature in (Feature.REQUESTED_VALIDITY, Feature.FINDS_EARLIER_ORDER)),
        Feature.CERTIFICATE_AUTHORITY in found.features,
    ]
    assert cells == ["yes" if one else "no" for one in declared]
