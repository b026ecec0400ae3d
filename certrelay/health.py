"""Whether the storage account, the vaults and the authorities can be reached, and how quickly they respond."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from certrelay.connectors.base import (
    ChecksHealth,
    ConnectorError,
    UsesStandingRecords,
)
from certrelay.errors import CertRelayError
from certrelay.services import Services


@dataclass(frozen=True, slots=True)
class Reached:
    """The result of one check.

    `what`: `storage`, `vault NAME` or `authority NAME`. `milliseconds`: how long it took. `detail`: what is wrong, or
    what an authority's standing records are good for."""

    what: str
    ok: bool
    milliseconds: int
    detail: str = ""


def check(services: Services) -> list[Reached]:
    """Check everything at the same time, with one cheap request each. Does not raise."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda probe: _run(*probe), _probes(services)))


def _probes(services: Services) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "storage", services.storage.check
    for alias in services.settings.vaults:
        yield f"vault {alias}", functools.partial(_vault, services, alias)
    for name in services.settings.authorities:
        yield f"authority {name}", functools.partial(_authority, services, name)


def _vault(services: Services, alias: str) -> None:
    services.vault(alias).call("GET", "/certificates?maxresults=1")


def _authority(services: Services, name: str) -> str:
    connector = services.connector(name)
    if isinstance(connector, ChecksHealth):
        connector.check()
    records = connector.standing_records() if isinstance(connector, UsesStandingRecords) else {}
    return "; ".join(f"{name}: {state}" for name, state in records.items())


def _run(what: str, probe: Callable[[], object]) -> Reached:
    begun, ok = time.monotonic(), False
    try:
        found = probe()
        ok, detail = True, found if isinstance(found, str) else ""
    except (CertRelayError, ConnectorError) as error:
        detail = str(error)
    except Exception as error:  # its text may contain secrets
        detail = f"failed ({type(error).__name__})"
    return Reached(what, ok, round((time.monotonic() - begun) * 1000), detail)
