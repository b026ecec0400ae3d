"""Each measurement, made tiny: what it counts, and that it ends. What is measured is no matter of a test."""

import pytest

from bench import burst, cost, growth, sweep, vault


@pytest.mark.slow
def test_a_burst_keeps_to_the_limit_of_key_vault() -> None:
    took, dictated, refused = burst.measure(45)
    assert dictated == 20
    assert dictated <= took <= 40, "the second window is filled evenly"
    assert refused <= 4


@pytest.mark.slow
def test_the_cost_of_a_year_is_made_of_counted_requests() -> None:
    one = cost.measure(2)
    assert one["page"] == {"Key Vault": 1, "tables": 1} | {"tables": one["page"]["tables"]}
    assert (one["check"]["Key Vault"], one["poll"]["Key Vault"]) == (1, 0)
    assert 3 <= one["renewal"]["Key Vault"] <= 5
    hourly, default = (sum(cost.year(one, "Key Vault", 1_000, 1, reads).values()) for reads in (cost.HOURS, cost.READS))
    assert default < hourly / 3


@pytest.mark.slow
def test_the_sweep_and_the_sandbox_vault_are_measured_in_turns() -> None:
    assert {name: len(taken) for name, taken in sweep.measure(60, 2).items()} == {"sweep": 2, "floor": 2}
    found = vault.measure(30)
    assert len(found["small"]) == len(found["large"]) == vault.PAGES


@pytest.mark.slow
def test_growth_counts_the_requests_of_small_and_large_vaults() -> None:
    found = growth.measure(400, 3)
    assert (found["small calls"], found["large calls"], found["started"]) == (40, 40, 3)
