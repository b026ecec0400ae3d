"""Which chain is taken."""

import random
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrelay.connectors.acme import chain as acme_chain
from certrelay.connectors.base import Issued
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.acme_proxy import AcmeProxy, Answer, shuffled
from tests.connectors.acme.ordering import TestSolver, acme, follow, fresh_name, request_for
from tests.connectors.acme.pebble import Pebble
from tests.connectors.answers import certificates
from tests.connectors.signing_requests import private_key, self_signed, signing_request

pytestmark = pytest.mark.slow


def test_the_preferred_chain_is_taken_and_an_unknown_one_falls_back(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server = start(PEBBLE_ALTERNATE_ROOTS="2", PEBBLE_CHAIN_LENGTH="2")
    for root in server.roots():
        [name] = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        request = request_for("chain.example.com")
        outcome = follow(acme(server, solver, preferred_chain=str(name.value)), request)
        assert isinstance(outcome, Issued)
        assert certificates(outcome.answer)[-1].issuer == root.subject
    assert len(server.roots()) == 3
    assert isinstance(follow(acme(server, solver, preferred_chain="Nobody"), request_for("chain.example.com")), Issued)


@pytest.mark.parametrize("number", range(3))
def test_the_preferred_chain_is_found_among_shuffled_links(
    pebble: Pebble, proxy: AcmeProxy, solver: TestSolver, number: int
) -> None:
    proxy.change, root = shuffled(random.Random(number)), pebble.roots()[number]
    [name] = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    outcome = follow(acme(proxy, solver, preferred_chain=str(name.value)), request_for(fresh_name()))
    assert isinstance(outcome, Issued)
    certificates(outcome.answer)[-1].verify_directly_issued_by(root)


@pytest.mark.parametrize("link", ["https://elsewhere.example/chain", "chains/1", "https://["])
def test_a_chain_that_cannot_be_asked_for_does_not_keep_the_others(
    proxy: AcmeProxy, solver: TestSolver, link: str
) -> None:
    def point_elsewhere(answer: Answer) -> None:
        if answer.path.startswith("/certZ/"):
            answer.headers["Link"] = f'<{link}>; rel="alternate"'

    proxy.change = point_elsewhere
    outcome = follow(acme(proxy, solver, preferred_chain="Nobody's root"), request_for(fresh_name()))
    assert isinstance(outcome, Issued), outcome


@pytest.mark.parametrize("written", [lambda digest: digest.hex(), lambda digest: digest.hex(":").upper()])
@pytest.mark.parametrize("number", range(3))
def test_the_preferred_chain_may_be_the_key_identifier_of_its_root(
    pebble: Pebble, solver: TestSolver, number: int, written: Callable[[bytes], str]
) -> None:
    root = pebble.roots()[number]
    digest = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    outcome = follow(acme(pebble, solver, preferred_chain=written(digest)), request_for(fresh_name()))
    assert isinstance(outcome, Issued)
    certificates(outcome.answer)[-1].verify_directly_issued_by(root)


def test_a_chain_in_the_wrong_order_is_the_requests_all_the_same() -> None:
    """Its order is the verification's business."""
    ours, other = (self_signed(SubjectNames(name), private_key("ec-256", name)) for name in "ab")
    chain = b"".join(one.public_bytes(Encoding.PEM) for one in (other, ours))
    request = signing_request(SubjectNames("a"), private_key("ec-256", "a"))
    assert acme_chain.issued(chain, request.csr) == Issued(chain)
