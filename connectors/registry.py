"""Which connectors exist, and how one's own is found."""

import importlib
from typing import cast

from connectors.base import Connector

CONNECTORS = {
    "vault_pki": "connectors.vault_pki:VaultPki",
}


def connector_class(name: str) -> type[Connector]:
    """The class for a name in CONNECTORS or for `package.module:Class`, imported now.

    Raises LookupError when there is none, in one sentence."""
    path = CONNECTORS.get(name, name)
    module_name, separator, class_name = path.partition(":")
    if not separator:
        known = ", ".join(sorted(CONNECTORS))
        raise LookupError(f"there is no connector {name!r}; known are {known}, or package.module:Class for your own")
    try:
        return cast(type[Connector], getattr(importlib.import_module(module_name), class_name))
    except (ImportError, AttributeError) as error:
        raise LookupError(f"connector {name!r} cannot be loaded: {error}") from error
