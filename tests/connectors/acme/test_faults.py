"""Which faults another authority would meet as well: our own, and not those of this server."""

import pytest
import requests

from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.faults import failed_order, outcome_of
from certrelay.connectors.acme.problem import Problem, UnusableAnswer
from certrelay.connectors.base import Unavailable


@pytest.mark.parametrize(
    ("fault", "everywhere"),
    [
        (DnsFailure("the zone refuses changes"), True),
        (Problem("dns", "SERVFAIL looking up TXT", 400), True),
        (Problem("caa", "SERVFAIL looking up CAA", 403), True),
        (Problem("connection", "timeout", 400), True),
        (Problem("rateLimited", "too many certificates", 429, 86_400.0), False),
        (Problem("serverInternal", "busy", 500), False),
        (Problem("", "maintenance", 503, 7200.0), False),
        (UnusableAnswer("its answer is no JSON"), False),
        (requests.ConnectionError("refused"), False),
    ],
    ids=str,
)
def test_a_fall_back_is_asked_for_faults_of_the_server_only(fault: Exception, everywhere: bool) -> None:
    outcome = outcome_of(fault)
    assert isinstance(outcome, Unavailable)
    assert outcome.everywhere is everywhere


@pytest.mark.parametrize(("code", "everywhere"), [("dns", True), ("serverInternal", False), ("rateLimited", False)])
def test_so_it_is_for_orders_that_failed(code: str, everywhere: bool) -> None:
    outcome = failed_order(Problem(code, "it failed", 400), "www.contoso.example", 0)
    assert isinstance(outcome, Unavailable)
    assert (outcome.restart, outcome.everywhere) == (True, everywhere)
