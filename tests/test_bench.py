"""Each measurement, made tiny: what it counts, and that it ends. What is measured is no matter of a test."""

import pytest

from bench import acme, burst, cost, growth, issuance, start, sweep, throughput, vault
from certrelay.keyvault.certificate import PAGE
from tests.connectors.debian import CannotFetch


@pytest.mark.slow
def test_a_burst_keeps_to_the_limit_of_key_vault() -> None:
    took, dictated, refused = burst.measure(25)
    assert dictated == 10
    assert dictated <= took <= 20, "the second window is filled evenly"
    assert refused <= 4


@pytest.mark.slow
def test_the_cost_of_a_year_is_made_of_counted_requests() -> None:
    one = cost.measure(1)
    assert (one["block"], one["list"]) == ({"Key Vault": 20, "tables": 1}, {"tables": 1})
    assert one["digest"]["Key Vault"] == 0
    assert (one["check"]["Key Vault"], one["poll"]["Key Vault"]) == (1, 0)
    asked = {what: one[what]["Key Vault"] for what in ("creation", "renewal", "import")}
    assert asked == {"creation": 3, "renewal": 4, "import": 2}
    assert PAGE < one["issuer"]["Key Vault"] <= cost.MOST["issuer"], "each of a page's certificates is looked up"
    hourly, default = (sum(cost.year(one, "Key Vault", 1_000, 1, reads).values()) for reads in (cost.HOURS, cost.READS))
    assert default < hourly / 3


@pytest.mark.slow
def test_the_sweep_and_the_sandbox_vault_are_measured_in_turns() -> None:
    taken = sweep.measure(60, 2)
    assert {name: len(one) for name, one in taken.items()} == dict.fromkeys(sweep.CONTESTANTS, 2)
    assert len(sweep.of_contestants(taken, 60)) == 8
    found = vault.measure(30)
    assert len(found["small"]) == len(found["large"]) == vault.PAGES


@pytest.mark.slow
def test_growth_counts_the_requests_of_small_and_large_fleets_and_what_two_hosts_do_at_once() -> None:
    small, large, found = growth.measure(400, 6, vaults=2, hosts=2)
    assert [(one.certificates, one.calls["Key Vault"]) for one in (small, large)] == [(50, 2), (400, 16)]
    assert 0 < small.memory < large.memory * 2 < 2**24
    assert (found.started, found.most_open, found.wrong, found.orders) == ([6], 6, 0, 6)
    assert found.calls["Key Vault"] == 18 + 6 * 4
    lines = [growth.of_sweeps(large), *growth.of_renewals(found, large.cpu)]
    assert not any(line.missed for line in lines), lines


@pytest.mark.slow
def test_an_issuance_is_measured_by_hand_in_one_call_and_through_the_queue() -> None:
    found = issuance.measure(1)
    assert {name: len(taken) for name, taken in found.items()} == {"hand": 1, "waiting": 1, "polling": 1}
    assert min(min(taken) for taken in found.values()) > 0


@pytest.mark.slow
def test_creations_are_counted_for_one_host_two_hosts_and_by_hand() -> None:
    measured = throughput.measure(4, 1, 2)
    assert {name: len(taken) for name, taken in measured.rates.items()} == {
        throughput.ONE: 1, throughput.TWO: 1, throughput.BY_HAND: 1,
    }  # fmt: skip
    assert measured.cpu["host and app"] > 0
    assert len(measured.sdk) == len(measured.own) == 2
    assert min(measured.own + measured.sdk) > 0
    limits = [line.limit for line in throughput.lines(measured) if line.limit]
    assert limits == [*throughput.LEAST.values(), throughput.OWN_CPU * 1000]


@pytest.mark.slow
def test_the_start_of_the_app_is_measured_in_processes_of_its_own() -> None:
    cpu, memory = start.measure(1)
    assert {name: len(taken) for name, taken in cpu.items()} == {start.APP: 1, start.FLOOR: 1}
    assert cpu[start.APP] > cpu[start.FLOOR], "the app imports it"
    assert memory[start.APP] > memory[start.FLOOR] > 1


@pytest.mark.slow
def test_certificates_over_acme_are_counted_for_the_app_and_the_bare_client() -> None:
    """The peers, which are fetched from elsewhere, are left out."""
    try:
        measured = acme.measure(2, 1, commands=0)
    except CannotFetch as reason:
        pytest.skip(f"pebble cannot be had: {reason}")
    assert {name: len(taken) for name, taken in measured.rates.items()} == {acme.OURS: 1, acme.BARE: 1}
    assert not measured.skipped
    assert measured.cpu["host and app"] > measured.cpu["bare client"] > 0
    assert measured.signed[0] >= 6, "newOrder, authorization, challenge, order, finalize, certificate"
    assert [line.limit for line in acme.lines(measured)] == [None, None, None, acme.MOST_SIGNED, acme.LEAST_OF_BARE]
