"""Each measurement, made tiny: what it counts, and that it ends. What is measured is no matter of a test."""

import pytest

from bench import burst, cost


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
