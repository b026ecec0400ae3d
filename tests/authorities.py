"""Authorities of the settings, changed for a test."""

from dataclasses import replace
from typing import Any

from certrelay.setting_models import Authority


def with_connector(authority: Authority, connector: type[Any]) -> Authority:
    """The authority with another connector, a class at the top of its module."""
    path = f"{connector.__module__}:{connector.__name__}"
    return replace(authority, settings=authority.settings.model_copy(update={"connector": path}))
