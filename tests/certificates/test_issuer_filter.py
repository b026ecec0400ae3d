"""The filter by the policy's issuer, which Key Vault's list does not have: what one request costs, and finds."""

import pytest

from certrelay.certificates import read
from certrelay.certificates.read import MAX_LOOKUPS, MAX_PAGES, Filters
from sandbox.vault.seed import Seed, seed
from tests.handlers.in_process import InProcess
from tests.world import ALIAS, World


def asked(world: World) -> int:
    counts = world.server.requests.counts()
    world.server.requests.clear()
    return counts.get("GetCertificates", 0) + counts.get("GetCertificate", 0)


def listed(world: World, issuer: str, limit: int) -> tuple[list[str], list[int]]:
    """The names of all pages, and how many requests each took."""
    found, costs, continuation = [], [], None
    while True:
        page, continuation = read.certificates(world.services, ALIAS, Filters(issuer=issuer), limit, continuation)
        found += [item.name for item in page]
        costs.append(asked(world))
        if continuation is None:
            return found, costs


@pytest.mark.slow
def test_a_request_looks_up_one_page_of_certificates_at_most_and_the_pages_have_them_all(lonely_world: World) -> None:
    """1,000 certificates took 1,040 requests to Key Vault for one of a caller's."""
    world = lonely_world
    for prefix, issuer, tags in (
        ("a", "Self", None),
        ("b", "Unknown", None),
        ("c", "Unknown", {"certrelay-authority": "x"}),
    ):
        seed(world.server.vault, Seed(30, prefix, issuer=issuer, tags=tags))
    world.server.requests.clear()
    for issuer, prefixes in (("self", "a"), ("Unknown", "bc"), ("none", "")):
        for limit in (7, 100):
            found, costs = listed(world, issuer, limit)
            assert found == [f"{prefix}-{number:05}" for prefix in prefixes for number in range(30)]
            assert max(costs) <= MAX_LOOKUPS + 8, "the pages of the list, and one page of certificates"


def test_what_certrelay_manages_is_not_looked_up(lonely_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = lonely_world
    seed(world.server.vault, Seed(100, issuer="Unknown", tags={"certrelay-authority": "test-ca"}))
    world.server.requests.clear()
    for issuer, count in (("Self", 0), ("unknown", 100)):
        answer = InProcess(world, monkeypatch).call("GET", f"vaults/{ALIAS}/certificates?issuer={issuer}&max=100")
        assert answer is not None
        assert (len(answer.json()["value"]), asked(world)) == (count, 4)


@pytest.mark.slow
def test_a_request_costs_no_more_in_a_larger_vault(lonely_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By more pages than a call reads: 40 of the list, and as many certificates as a page has, at most."""
    world = lonely_world
    monkeypatch.setattr(read, "CERTIFICATES", "/certificates?maxresults=1")
    seed(world.server.vault, Seed(MAX_PAGES, "a", issuer="Unknown", tags={"certrelay-authority": "test-ca"}))
    seed(world.server.vault, Seed(MAX_PAGES, "b", issuer="Self"))
    world.server.requests.clear()
    for issuer, count in (("Self", MAX_PAGES), ("Unknown", MAX_PAGES), ("none", 0)):
        found, costs = listed(world, issuer, 100)
        assert len(found) == count
        assert max(costs) <= MAX_PAGES + MAX_LOOKUPS
