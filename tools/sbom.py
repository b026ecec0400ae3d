"""A software bill of materials of a folder of installed packages: CycloneDX 1.6, JSON.

It says what each package says of itself (`*.dist-info/METADATA`): name, version, licence, dependencies. There is no
serial number and no time in it, so that the same packages give the same bytes. https://cyclonedx.org/docs/1.6/json/
"""

import json
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What decides which dependencies apply: the package runs there, wherever it is built.
AZURE = {
    "implementation_name": "cpython", "os_name": "posix", "platform_machine": "x86_64", "platform_system": "Linux",
    "platform_python_implementation": "CPython", "python_full_version": "3.13.0", "python_version": "3.13",
    "sys_platform": "linux",
}  # fmt: skip


def document(packages: Path, version: str, commit: str) -> str:
    """The document for the packages in this folder and CertRelay `version`, built from `commit` (may be empty)."""
    found = sorted(distributions(path=[str(packages)]), key=lambda one: canonicalize_name(one.name))
    app: dict[str, Any] = {"type": "application", "bom-ref": "certrelay", "name": "certrelay", "version": version}
    app["licenses"] = [{"license": {"id": "MIT"}}]
    if commit:
        app["properties"] = [{"name": "certrelay:commit", "value": commit}]
    references = {canonicalize_name(one.name): _purl(one) for one in found}
    needed = [{"ref": "certrelay", "dependsOn": sorted(references.values())}]
    needed += [{"ref": _purl(one), "dependsOn": _needs(one, references)} for one in found]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": app},
        "components": [_component(one) for one in found],
        "dependencies": needed,
    }
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def _component(one: Distribution) -> dict[str, Any]:
    component = {"type": "library", "bom-ref": _purl(one), "name": one.name, "version": one.version, "purl": _purl(one)}
    return component | ({"licenses": licences} if (licences := _licences(one)) else {})


def _licences(one: Distribution) -> list[dict[str, Any]]:
    """The SPDX expression if the package has one, else the names that it gives."""
    if expression := one.metadata.get("License-Expression"):
        return [{"expression": expression}]
    classifiers = [text for text in one.metadata.get_all("Classifier") or [] if text.startswith("License ::")]
    names = [text.rpartition(" :: ")[2] for text in classifiers] or [one.metadata.get("License") or ""]
    return [{"license": {"name": name.splitlines()[0]}} for name in names if name.strip()]


def _needs(one: Distribution, references: dict[Any, str]) -> list[str]:
    """What it depends on, extras left out: who wanted them is not written anywhere."""
    wanted = [Requirement(text) for text in one.requires or []]
    applies = [item for item in wanted if item.marker is None or item.marker.evaluate({**AZURE, "extra": ""})]
    return sorted({references[name] for item in applies if (name := canonicalize_name(item.name)) in references})


def _purl(one: Distribution) -> str:
    return f"pkg:pypi/{canonicalize_name(one.name)}@{one.version}"
