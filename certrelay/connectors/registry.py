"""The connectors: the settings class of each, which the app needs when it starts, and where its code is.

A connector's code imports libraries that load slowly. So the code is imported when an authority is first used, or its
features are first needed.
"""

import functools
import importlib
from dataclasses import dataclass
from typing import cast

from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.adcs.settings import AdcsSettings
from certrelay.connectors.aws_pca.settings import AwsPcaSettings
from certrelay.connectors.base import Connector, ConnectorSettings
from certrelay.connectors.est.settings import EstSettings
from certrelay.connectors.manual.settings import ManualSettings
from certrelay.connectors.private_ca.settings import PrivateCaSettings
from certrelay.connectors.vault_pki.settings import VaultPkiSettings


@dataclass(frozen=True, slots=True)
class Entry:
    """`code` is the connector's class as `package.module:Class`."""

    settings: type[ConnectorSettings]
    code: str


CONNECTORS = {
    "acme": Entry(AcmeSettings, "certrelay.connectors.acme.connector:Acme"),
    "adcs": Entry(AdcsSettings, "certrelay.connectors.adcs.connector:Adcs"),
    "aws_pca": Entry(AwsPcaSettings, "certrelay.connectors.aws_pca.connector:AwsPca"),
    "est": Entry(EstSettings, "certrelay.connectors.est.connector:Est"),
    "manual": Entry(ManualSettings, "certrelay.connectors.manual.connector:Manual"),
    "private_ca": Entry(PrivateCaSettings, "certrelay.connectors.private_ca.connector:PrivateCa"),
    "vault_pki": Entry(VaultPkiSettings, "certrelay.connectors.vault_pki.connector:VaultPki"),
}


def settings_class(name: str) -> type[ConnectorSettings]:
    """The settings class of a connector. `name` is a key of CONNECTORS, or `package.module:Class`, imported now.

    Raises LookupError, in one sentence."""
    known = CONNECTORS.get(name)
    return known.settings if known else connector_class(name).Settings


@functools.cache
def connector_class(name: str) -> type[Connector]:
    """The class of a connector, imported now. `name` is a key of CONNECTORS, or `package.module:Class`.

    Raises LookupError, in one sentence."""
    known = CONNECTORS.get(name)
    module_name, separator, class_name = (known.code if known else name).partition(":")
    if not separator:
        names = ", ".join(sorted(CONNECTORS))
        raise LookupError(f"there is no connector {name!r}; known are {names}, or package.module:Class for your own")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LookupError(f"connector {name!r} cannot be loaded: {error}") from error
    missing = [part for part in ("Settings", "features", "submit", "collect") if not hasattr(found, part)]
    if missing:
        raise LookupError(f"{name!r} is not a connector: it has no {', no '.join(missing)}")
    return cast(type[Connector], found)
