"""The edges: each handler parses, makes one call into certrelay/, and renders. No decisions.

`start` reads the settings when the app is indexed, so that a wrong one stops it; `services` connects at first use.
"""

import functools
import threading

from certrelay.services import Services, connect
from certrelay.settings import Settings, load

_lock = threading.Lock()


@functools.cache
def settings() -> Settings:
    """The application settings. Raises SettingsError naming every fault."""
    return load()


def start() -> None:
    """Refuse to be indexed with wrong settings."""
    settings()


def services() -> Services:
    """The world, connected once for all threads."""
    with _lock:
        return _services()


@functools.cache
def _services() -> Services:
    return connect(settings())
