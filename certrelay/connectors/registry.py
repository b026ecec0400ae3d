"""Which connectors exist, and how one's own is found."""

import importlib
from typing import cast

from certrelay.connectors.base import Connector

CONNECTORS = {
    "acme": "certrelay.connectors.acme.connector:Acme",
    "adcs": "certrelay.connectors.adcs:Adcs",
    "aws_pca": "certrelay.connectors.aws_pca.connector:AwsPca",
    "est": "certrelay.connectors.est:Est",
    "manual": "certrelay.connectors.manual:Manual",
    "private_ca": "certrelay.connectors.private_ca.connector:PrivateCa",
    "vault_pki": "certrelay.connectors.vault_pki:VaultPki",
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
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LookupError(f"connector {name!r} cannot be loaded: {error}") from error
    missing = [part for part in ("Settings", "features", "submit", "collect") if not hasattr(found, part)]
    if missing:
        raise LookupError(f"{name!r} is no connector: it has no {', no '.join(missing)}")
    return cast(type[Connector], found)
