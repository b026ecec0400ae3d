"""What authorities can do, and whether they, the vaults and the storage account can be reached, and how quickly."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from certrelay.connectors.base import (
    ChecksHealth,
    ConnectorError,
)
from certrelay.errors import CertRelayError
from certrelay.services import Services


@dataclass(frozen=True, slots=True)
class Reached:
    """`detail` says what is wrong; `milliseconds` is how long the look took."""

    what: str
    ok: bool
    milliseconds: int
    detail: str = ""


def check(services: Services) -> list[Reached]:
    """One cheap look at everything, side by side."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda one: _look(*one), _looks(services)))


def _looks(services: Services) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "storage", services.storage.check
    for alias in services.settings.vaults:
        yield f"vault {alias}", functools.partial(_vault, services, alias)
    for name in services.settings.authorities:
        yield f"authority {name}", functools.partial(_authority, services, name)


def _vault(services: Services, alias: str) -> None:
    services.vault(alias).call("GET", "/certificates?maxresults=1")


def _authority(services: Services, name: str) -> None:
    connector = services.connector(name)
    if isinstance(connector, ChecksHealth):
        connector.check()


def _look(what: str, ask: Callable[[], object]) -> Reached:
    begun, detail = time.monotonic(), ""
    try:
        ask()
    except (CertRelayError, ConnectorError) as error:
        detail = str(error)
    except Exception as error:  # a connector's own text may say too much
        detail = f"failed ({type(error).__name__})"
    return Reached(what, not detail, round((time.monotonic() - begun) * 1000), detail)
