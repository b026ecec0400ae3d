"""Reads Bicep files with a real parser."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycep

INFRA = Path(__file__).parents[2] / "infra"
FILES = sorted(INFRA.glob("*.bicep"))


@functools.cache
def parsed(name: str) -> dict[str, Any]:
    """The file `infra/NAME.bicep`: its parameters, variables, resources, modules and outputs."""
    return dict[str, Any](pycep.BicepParser().parse(text=(INFRA / f"{name}.bicep").read_text()))


def variable(name: str, of: str) -> Any:
    return parsed(of)["variables"][name]["value"]


def resources(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The file and the body of each resource of a type that is made (not only referred to), in all files."""
    for file in FILES:
        for found in (parsed(file.stem).get("resources") or {}).values():
            if found["type"] == kind and not found["existing"]:
                yield file.stem, body(found["config"])


def body(config: dict[str, Any]) -> dict[str, Any]:
    """What stands between the braces, below a condition or a loop."""
    while {"condition", "config"} <= config.keys() or "loop_type" in config:
        config = config["config"]
    return config


def keys(value: Any) -> Iterator[str]:
    """The keys of all objects in a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def texts(value: Any) -> Iterator[str]:
    """All texts in a value."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)
