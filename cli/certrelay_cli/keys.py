"""Keys as people write them: EC-P256, RSA-3072, RSA-HSM-4096, EC-HSM-P384."""

import re
from collections.abc import Mapping
from typing import Any

CURVES = {"P-256": 256, "P-384": 384, "P-521": 521}
RSA_SIZES = (2048, 3072, 4096)
PATTERN = r"^((RSA(-HSM)?-(2048|3072|4096))|(EC(-HSM)?-P(256|384|521)))$"
DEFAULT = "RSA-2048"
KINDS = "must be one of RSA-2048, RSA-3072, RSA-4096, EC-P256, EC-P384, EC-P521, or one in an HSM such as RSA-HSM-3072"


def to_properties(text: str) -> dict[str, Any]:
    """The fields of Key Vault's key_props. Raises ValueError."""
    if not re.match(PATTERN, text):
        raise ValueError(f"{KINDS}; it is {text!r}")
    kind, _, last = text.rpartition("-")
    if last.startswith("P"):
        curve = f"P-{last[1:]}"
        return {"kty": kind, "crv": curve, "key_size": CURVES[curve]}
    return {"kty": kind, "key_size": int(last)}


def from_properties(properties: Mapping[str, Any]) -> str:
    """The key as people write it; empty if it is none of those."""
    kind, curve, size = (properties.get(key) for key in ("kty", "crv", "key_size"))
    text = f"{kind}-{str(curve).replace('-', '')}" if curve else f"{kind}-{size}"
    return text if re.match(PATTERN, text) else ""


def kind_and_size(text: str) -> tuple[str, int]:
    """What a certificate with this key says; an HSM leaves no trace in it."""
    properties = to_properties(text)
    return properties["kty"].removesuffix("-HSM"), properties["key_size"]
