"""Several hosts on one storage account, each with connections of its own: nothing is doubled, limits are shared, and
requests do not multiply. On the platform one host sweeps at a time: tests/sandbox/host has its timers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bench import growth
from bench._fleet import Fleet
from certrelay.renewal import sweep

pytestmark = pytest.mark.slow

HOSTS, VAULTS = 4, 2
KEYS, WINDOW = 20, timedelta(seconds=10)  # https://learn.microsoft.com/azure/key-vault/general/service-limits


@pytest.fixture(params=[VAULTS])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """With so many vaults."""
    with Fleet(lateness=0.5, vaults=request.param, hosts=HOSTS) as running:
        yield running


def test_four_hosts_renew_each_certificate_once_with_the_requests_of_one_host(fleet: Fleet) -> None:
    due = KEYS + 4  # in each vault: more than it lets begin at once
    found = growth.burst(fleet, due)
    assert (found.started, found.wrong, found.orders) == ([VAULTS * due], 0, VAULTS * due)
    assert found.calls["Key Vault"] <= VAULTS * (due * 4 + 2) + 2 * found.refused["Key Vault 429"]
    assert found.refused["Key Vault 429"] <= VAULTS * due * 0.05
    assert found.refused["tables 412"] == 0, "each message was taken by one host"


def test_lists_that_one_host_has_read_rest_for_the_others(fleet: Fleet) -> None:
    fleet.seed(60, "some", timedelta(days=10))
    first, *others = (fleet.counted(lambda host=host: sweep.sweep(host))["Key Vault"] for host in fleet.hosts)  # type: ignore[misc]
    assert first == VAULTS * 3
    assert others == [VAULTS] * (HOSTS - 1), "one request to see that the vault answers"


@pytest.mark.parametrize("fleet", [1], indirect=True)
def test_sweeps_of_four_hosts_at_once_open_one_operation_each_and_share_the_limits(fleet: Fleet) -> None:
    """Two apps, or slots, that share a storage account: a lease of the timer keeps only hosts of one app apart."""
    names = fleet.seed(KEYS + 5, "due", timedelta(days=300))
    with ThreadPoolExecutor(HOSTS) as pool:
        list(pool.map(sweep.sweep, fleet.hosts))
    opened = list(fleet.services.storage.worklist())
    assert sorted((entry.vault, entry.name) for entry in opened) == sorted(
        (alias, name) for alias in fleet.aliases for name in names
    )
    starts = sorted(entry.next_attempt_at for entry in opened)
    assert all(later - sooner >= WINDOW for sooner, later in zip(starts, starts[KEYS:], strict=False))
    fleet.settle()
    assert sum(fleet.authority.asked.values()) == len(names)
    assert not any(growth.is_wrong(fleet, alias, name) for alias in fleet.aliases for name in names)
