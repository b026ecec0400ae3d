"""The entry points: each handler parses its input, makes one call into certrelay/, and renders the result.

`start` reads the settings when the app is indexed: invalid ones prevent startup. `services` connects at first use.
"""

import functools
import logging
import threading
from typing import TYPE_CHECKING

import azure.functions as func

from certrelay.setting_models import Settings
from certrelay.settings import load

if TYPE_CHECKING:
    from certrelay.services import Services

_lock = threading.Lock()


@functools.cache
def settings() -> Settings:
    """The application settings, read once. Raises SettingsError with every fault."""
    return load(with_schedules=True)


def start() -> func.AuthLevel:
    """Check the settings, and keep the SDKs' requests out of the log.

    Returns the authorization level of HTTP functions: a key, unless Entra ID authenticates. Raises SettingsError, which
    prevents startup."""
    # host.json cannot do this: the host knows a worker's log lines by the function, not by their logger.
    logging.getLogger("azure").setLevel(logging.WARNING)
    return func.AuthLevel.ANONYMOUS if settings().app_service_authentication else func.AuthLevel.FUNCTION


def services() -> "Services":
    """The services, connected once for all threads."""
    with _lock:
        return _services()


@functools.cache
def _services() -> "Services":
    """Imported by the first call that needs them: everything but the settings is, so that the app starts quickly."""
    from certrelay.services import connect

    return connect(settings())
