"""The edges: each handler parses, makes one call into certrelay/, and renders. No decisions.

`start` reads the settings when the app is indexed, so that a wrong one stops it; `services` connects at first use.
"""

import functools
import logging
import threading

import azure.functions as func

from certrelay.services import Services, connect
from certrelay.setting_models import Settings
from certrelay.settings import load

_lock = threading.Lock()


@functools.cache
def settings() -> Settings:
    """The application settings. Raises SettingsError naming every fault."""
    return load()


def start() -> func.AuthLevel:
    """Refuse to be indexed with wrong settings, and keep the SDKs' requests out of the log.

    Returns the level of HTTP functions: a function key, unless Entra ID decides."""
    # host.json cannot: the host knows a worker's log lines by the function, not by their logger.
    logging.getLogger("azure").setLevel(logging.WARNING)
    return func.AuthLevel.ANONYMOUS if settings().app_service_authentication else func.AuthLevel.FUNCTION


def services() -> Services:
    """The world, connected once for all threads."""
    with _lock:
        return _services()


@functools.cache
def _services() -> Services:
    return connect(settings())
