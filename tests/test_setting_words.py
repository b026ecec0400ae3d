"""What is wrong with the settings is said in our words, with what to write instead, whatever was written."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from certrelay import setting_models, settings
from certrelay.connectors.registry import CONNECTORS, settings_class
from certrelay.errors import SettingsError
from certrelay.validation import example, faults_of

GOOD = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "CERTRELAY_VAULTS": '{"main": {"url": "https://contoso.vault.azure.net/"}}',
    "CERTRELAY_AUTHORITIES": "{}",
}
MODELS: dict[str, type[BaseModel]] = {
    "vault": setting_models.VaultSettings,
    "authority": setting_models.AuthoritySettings,
    "notification": setting_models.Target,
    **{name: settings_class(name) for name in CONNECTORS},
}
WRONG: tuple[Any, ...] = (
    7, -1, 1.5, 0, float("inf"), float("nan"), 10**400, True, None, "", "x", "a\nb", "\x00", "canary", [], [7], ["x"],
    [[]],    [None], {}, {"a": 1}, {"": ""}, {"provider": "x"}, {"provider": 7}, "::", "http://[", "https://a:99999999/",
    "https://[x]/",    "https://a@b/", "1.2.3.4:x", "[::1]:99999", "1.2.3", "\u0661", "x" * 5000,
)  # fmt: skip
SENTENCE = re.compile(
    r"(must |needs |is missing; it must |is not a known field$|is not a service |[a-z_]+ and [a-z_]+ go )"
)
EXAMPLE = re.compile(
    r"such as|from \S+ to|above \S+ and|one of|true or false|at least one|@NAME|must hold|must be a key in"
)
DNS = ({"provider": "rfc2136"}, {"provider": "azure"}, {"provider": "lexicon"})


def places(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a model's JSON Schema, those of its nested models included."""
    for option in [schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        for name, field in option.get("properties", {}).items():
            yield (*path, name)
            yield from places(field, (*path, name))


def resolved(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [resolved(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    return {key: resolved(item, definitions) for key, item in schema.items()}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    found: dict[str, Any] = resolved(schema, schema.pop("$defs", {}))
    return found


def faults(model: type[BaseModel], written: Any) -> list[tuple[str, str]]:
    try:
        model.model_validate(written)
    except ValidationError as error:
        return [(fault.pointer, fault.detail) for fault in faults_of(error, model)]
    return []


def written_wrong(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings with each wrong value in each place, and the place."""
    for path, value in itertools.product(sorted(set(places(schema))), WRONG):
        for provider in DNS if path[0] == "dns" and len(path) > 1 else ({},):
            written = example(schema)
            target = written
            for part in path[:-1]:
                target[part] = dict(target[part]) if isinstance(target.get(part), dict) else {}
                target = target[part]
            target.update(provider)
            target[path[-1]] = value
            yield "/" + "/".join(path), written


@pytest.mark.parametrize("name", MODELS)
def test_no_value_in_no_field_is_answered_with_the_words_of_a_library(name: str) -> None:
    refused = 0
    for place, written in written_wrong(schema_of(MODELS[name])):
        for pointer, detail in faults(MODELS[name], written):
            refused += pointer.startswith(place)
            assert SENTENCE.match(detail), (pointer, detail)
            assert "canary" not in detail
            assert "xxxxx" not in detail
            assert not re.search(r"/(rfc2136|azure|lexicon|none)(/|$)", pointer), "no branch of a union"
            if pointer and not detail.startswith(("is not", "needs", "is missing")):
                assert EXAMPLE.search(detail), (pointer, detail)
    assert refused > 20


def test_every_entry_that_is_no_object_says_so_with_an_example() -> None:
    for name, known in [("CERTRELAY_VAULTS", "url"), ("CERTRELAY_AUTHORITIES", ""), ("CERTRELAY_NOTIFICATIONS", "")]:
        for value in (7, [], "x", None, [["a", "b"]]):
            environment = {**GOOD, name: json.dumps({"main": value})}
            with pytest.raises(SettingsError) as refused:
                settings.load(environment)
            assert f"{name}/main: must be " in str(refused.value)
            assert "object" in str(refused.value)
            assert known in str(refused.value)


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "{'a': 1}", '{"a": 1,}', "\ufeff{}", "nope"]
)
def test_what_is_no_json_is_said_with_its_place_and_an_example(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load({**GOOD, "CERTRELAY_AUTHORITIES": text})
    (fault,) = refused.value.faults
    said = r"(is not JSON(: see line \d+, column \d+)?; write an object|must be a JSON object).* such as"
    assert re.match(f"CERTRELAY_AUTHORITIES {said}", fault)
    assert "xpecting" not in fault
