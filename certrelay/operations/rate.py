"""Rate limits of vaults and authorities (`rate` in the settings): when the next operation may start."""

from collections.abc import Iterator
from datetime import datetime

from certrelay.errors import NotReady
from certrelay.services import Services
from certrelay.storage.limits import RateLimit
from certrelay.storage.operation import CertificateRequest

# Keys that Key Vault creates in one vault in ten seconds: https://learn.microsoft.com/azure/key-vault/general/service-limits
SOFTWARE_KEYS, HSM_KEYS = RateLimit(20, 10, 20, in_windows=True), RateLimit(10, 10, 10, in_windows=True)


def next_start(services: Services, vault: str, authority: str, hsm: bool = False) -> datetime:
    """The next start time (UTC) that both rate limits allow, without reserving it. Raises NotReady."""
    now, limits = services.now(), services.storage.limits
    rates = [_of_vault(services, vault, hsm), *_of_authority(services, authority)]
    return max(limits.next_start(holder, now, limit) for holder, limit in rates)


def reserve(services: Services, vault: str, request: CertificateRequest, now: datetime) -> datetime:
    """Reserve the next start time (UTC) that both rate limits allow, and return it. Raises NotReady."""
    limits = services.storage.limits
    rates = [_of_vault(services, vault, request.hsm), *_of_authority(services, request.authority or "")]
    return max(limits.reserve(holder, now, limit) for holder, limit in rates)


def next_start_of_authority(services: Services, authority: str) -> datetime:
    """The next start time (UTC) that the authority's rate limit alone allows, without reserving it. Raises NotReady."""
    now, limits = services.now(), services.storage.limits
    return max([now, *(limits.next_start(holder, now, limit) for holder, limit in _of_authority(services, authority))])


def reserve_of_authority(services: Services, authority: str, now: datetime) -> datetime:
    """Reserve the next start time (UTC) that the authority's rate limit alone allows. Raises NotReady."""
    limits = services.storage.limits
    return max([now, *(limits.reserve(holder, now, limit) for holder, limit in _of_authority(services, authority))])


def after_throttling(services: Services, vault: str, request: CertificateRequest) -> float:
    """Seconds until a creation that Key Vault has throttled may be tried again: its new place among the vault's starts.

    A window is long enough if storage is down."""
    holder, limit = _of_vault(services, vault, request.hsm)
    now = services.now()
    try:
        start = services.storage.limits.reserve(holder, now, limit)
    except NotReady:
        start = now
    # The places are one after the other; what Key Vault has counted beside them leaves its window meanwhile.
    return max((start - now).total_seconds(), services.jitter.uniform(0.5, 1.0) * limit.seconds)


def _of_vault(services: Services, vault: str, hsm: bool) -> tuple[str, RateLimit]:
    """The holder of the rate limit of a vault, and the limit: the settings', else what Key Vault publishes."""
    rate = services.vault_settings(vault).rate
    if rate is not None:
        return f"vault {vault}", RateLimit(rate.requests, rate.seconds, rate.requests, in_windows=True)
    return (f"vault {vault}, HSM keys", HSM_KEYS) if hsm else (f"vault {vault}", SOFTWARE_KEYS)


def _of_authority(services: Services, authority: str) -> Iterator[tuple[str, RateLimit]]:
    known = services.settings.authorities.get(authority)
    if known is not None and (rate := known.settings.rate) is not None:
        yield f"authority {authority}", RateLimit(rate.requests, rate.seconds, rate.burst or rate.requests)
