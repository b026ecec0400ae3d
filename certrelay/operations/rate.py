"""Rate limits of vaults and authorities (`rate` in the settings): when the next operation may start."""

from collections.abc import Iterator
from datetime import datetime

from certrelay.services import Services


def next_start(services: Services, vault: str, authority: str) -> datetime:
    """The next start time (UTC) that both rate limits allow, without reserving it. Raises NotReady."""
    now = services.now()
    limits = services.storage.limits
    return max(
        [
            now,
            *(limits.next_start(holder, now, gap, burst) for holder, gap, burst in _rates(services, vault, authority)),
        ]
    )


def reserve(services: Services, vault: str, authority: str | None, now: datetime) -> datetime:
    """Reserve the next start time (UTC) that both rate limits allow, and return it. Raises NotReady."""
    limits = services.storage.limits
    return max(
        [now, *(limits.reserve(holder, now, gap, burst) for holder, gap, burst in _rates(services, vault, authority))]
    )


def _rates(services: Services, vault: str, authority: str | None) -> Iterator[tuple[str, float, int]]:
    """Each holder of a rate limit, with the seconds between two operations and how many may start at once."""
    known = services.settings.authorities.get(authority or "")
    rates = {
        f"vault {vault}": services.vault_settings(vault).rate,
        f"authority {authority}": known.settings.rate if known else None,
    }
    for holder, rate in rates.items():
        if rate is not None:
            yield holder, rate.seconds / rate.requests, rate.requests
