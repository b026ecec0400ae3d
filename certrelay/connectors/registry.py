"""The connectors: where the settings class of each is, and where its code is.

Both import libraries that load slowly. So settings are imported for the connectors that the app's settings name, and
code when an authority is first used, or its features are first needed.
"""

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from certrelay.connectors.base import Connector
    from certrelay.connectors.settings import ConnectorSettings


@dataclass(frozen=True, slots=True)
class Entry:
    """The connector's class, and its settings class, as `package.module:Class`."""

    settings: str
    code: str


CONNECTORS = {
    "acme": Entry(
        "certrelay.connectors.acme.settings:AcmeSettings", "certrelay.connectors.acme.connector:Acme"),
    "adcs": Entry(
        "certrelay.connectors.adcs.settings:AdcsSettings", "certrelay.connectors.adcs.connector:Adcs"),
    "aws_pca": Entry(
        "certrelay.connectors.aws_pca.settings:AwsPcaSettings", "certrelay.connectors.aws_pca.connector:AwsPca"),
    "est": Entry(
        "certrelay.connectors.est.settings:EstSettings", "certrelay.connectors.est.connector:Est"),
    "manual": Entry(
        "certrelay.connectors.manual.settings:ManualSettings", "certrelay.connectors.manual.connector:Manual"),
    "private_ca": Entry(
        "certrelay.connectors.private_ca.settings:PrivateCaSettings",
        "certrelay.connectors.private_ca.connector:PrivateCa"),
    "vault_pki": Entry(
        "certrelay.connectors.vault_pki.settings:VaultPkiSettings",
        "certrelay.connectors.vault_pki.connector:VaultPki"),
}  # fmt: skip


def settings_class(name: str) -> type["ConnectorSettings"]:
    """The settings class of a connector. `name` is a key of CONNECTORS, or `package.module:Class`, imported now.

    Raises LookupError, in one sentence."""
    known = CONNECTORS.get(name)
    if known is None:
        return connector_class(name).Settings
    module_name, _, class_name = known.settings.partition(":")
    found: type[ConnectorSettings] = getattr(importlib.import_module(module_name), class_name)
    return found


@functools.cache
def connector_class(name: str) -> type["Connector"]:
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
    return cast("type[Connector]", found)
