"""References "@NAME" inside the JSON of the settings: secrets are in separate settings (see certrelay.settings)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

UNRESOLVED = (
    "is a Key Vault reference that App Service could not resolve: give the app's identity the role Key Vault Secrets "
    "User on that vault, or correct the reference"
)
SETTING_REFERENCE = re.compile(r"^@([A-Za-z][A-Za-z0-9_]*)$")


def resolved(where: str, value: Any, environment: Mapping[str, str], faults: list[str]) -> Any:
    """The value with each reference in it replaced by the setting it names, and a fault for each that is missing."""
    if isinstance(value, dict):
        return {key: resolved(f"{where}/{key}", item, environment, faults) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(f"{where}/{index}", item, environment, faults) for index, item in enumerate(value)]
    reference = SETTING_REFERENCE.match(value) if isinstance(value, str) else None
    if reference is None:
        return value
    if not environment.get(reference[1]):
        faults.append(f"{where}: the setting {reference[1]} that it refers to is missing")
    if is_unresolved(environment.get(reference[1], "")):
        faults.append(f"{where}: the setting {reference[1]} {UNRESOLVED}")
    return environment.get(reference[1], "")


def is_unresolved(value: str) -> bool:
    """Whether App Service has left its reference to a Key Vault secret unresolved: it could not read it.

    https://learn.microsoft.com/azure/app-service/app-service-key-vault-references"""
    return value.strip().lower().startswith("@microsoft.keyvault(")


def refuse_literal_secrets(where: str, model: type[BaseModel], value: dict[str, Any], faults: list[str]) -> None:
    """A fault for each secret of the model, or of one within it, that is written out instead of referenced."""
    for key, field in model.model_fields.items():
        kinds = set(_kinds(field.annotation))
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for place, item in _parts(f"{where}/{key}", value.get(key)):
            if SecretStr in kinds and isinstance(item, str) and not SETTING_REFERENCE.match(item):
                faults.append(f"{place}: is a secret; put it into a setting NAME and write @NAME here")
            for nested in models if isinstance(item, dict) else ():
                refuse_literal_secrets(place, nested, item, faults)


def _parts(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value and everything in it, each with its path."""
    yield where, value
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from _parts(f"{where}/{key}", item)


def _kinds(annotation: Any) -> Iterator[Any]:
    """An annotation and everything it consists of: unions, lists, `Annotated`."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)
