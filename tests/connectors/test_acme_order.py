"""One ACME order when things go wrong: what the server, the DNS or a second worker may do in the middle of it."""

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certrelay.connectors.acme import chain as acme_chain
from certrelay.connectors.acme import client
from certrelay.connectors.acme import order as acme_order
from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.reference import Reference
from certrelay.connectors.acme.settings import AcmeSettings
from certrelay.connectors.base import ConnectorError, Issued, Outcome, Pending, Rejected, Unavailable
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme_proxy import AcmeProxy, Answer, shuffled
from tests.connectors.answers import certificates
from tests.connectors.conformance import context
from tests.connectors.pebble import Pebble
from tests.connectors.signing_requests import private_key, self_signed, signing_request
from tests.connectors.test_acme import (
    TestSolver,
    dns,
    follow,
    leaf_for,
    pem_of,
    request_for,
    solver,
    start,
    with_a_record,
)

__all__ = ["dns", "solver", "start"]


@pytest.fixture(scope="module")
def pebble(dns: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), dns.port, PEBBLE_ALTERNATE_ROOTS="2") as running:
        yield running


@pytest.fixture
def proxy(pebble: Pebble) -> Iterator[AcmeProxy]:
    with AcmeProxy(pebble) as running:
        yield running


def acme(server: Pebble | AcmeProxy, solver: TestSolver, **settings: Any) -> Acme:
    defaults = {"url": server.directory, "ca_certificates": server.tls_roots, "account_key_pem": pem_of("account")}
    return Acme(AcmeSettings(**{**defaults, **settings}), context("acme"), solver)


def follow_some(connector: Acme, request: Any, calls: int) -> Outcome:
    outcome = connector.submit(request)
    for _ in range(calls):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    return outcome


def test_the_records_are_removed_by_a_cancel_while_the_server_is_down(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server = start()
    waiting = with_a_record(acme(server, solver), solver, request_for(fresh_name()))
    server.__exit__()
    with pytest.raises(ConnectorError):
        acme(server, solver).cancel(waiting.reference)
    assert solver.records == set()


def test_an_order_without_end_does_not_hold_the_worker(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(answer: Answer) -> None:
        if answer.path.startswith("/my-order/"):
            order = answer.document
            answer.say({**order, "authorizations": order["authorizations"] * 2000})

    monkeypatch.setattr(acme_order, "MAX_SECONDS", 1.0, raising=False)
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = connector.submit(request)
    assert isinstance(outcome, Pending)
    proxy.change = endless
    begin = time.monotonic()
    assert connector.collect(request, outcome.reference) == Unavailable("it takes too long over its answers")
    assert time.monotonic() - begin < 60


def test_an_order_goes_on_after_thirty_nonces_refused_one_after_the_other(proxy: AcmeProxy, solver: TestSolver) -> None:
    left = [30]

    def refuse(answer: Answer) -> None:
        if answer.path == "/sign-me-up" and left[0]:
            left[0] -= 1
            answer.refuse("badNonce", 400)

    proxy.change = refuse
    assert isinstance(acme(proxy, solver).submit(request_for(fresh_name())), Pending)
    assert left == [0]


def test_nonces_that_are_refused_slowly_do_not_hold_the_worker(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    def slow(answer: Answer) -> None:
        time.sleep(0.5)
        refused.append(answer.path)
        answer.refuse("badNonce", 400)

    monkeypatch.setattr(client, "MAX_NONCE_SECONDS", 1.0, raising=False)
    proxy.change = slow
    assert isinstance(acme(proxy, solver).submit(request_for(fresh_name())), Unavailable)
    assert len(refused) < client.MAX_NONCE_TRIES


def test_a_worker_that_publishes_what_another_one_needs_no_more_removes_it_again(
    pebble: Pebble, solver: TestSolver
) -> None:
    request, publish = request_for(fresh_name()), solver.publish
    outcome = acme(pebble, solver).submit(request)
    assert isinstance(outcome, Pending)
    noted = acme(pebble, solver).collect(request, outcome.reference)

    def publish_late(name: str, value: str) -> None:
        solver.publish = publish  # type: ignore[method-assign]
        assert isinstance(follow(acme(pebble, solver), request, noted), Issued)
        assert solver.records == set()
        publish(name, value)

    solver.publish = publish_late  # type: ignore[method-assign]
    assert isinstance(follow(acme(pebble, solver), request, noted), Issued)
    assert solver.records == set()


def test_a_call_without_time_left_changes_one_record_and_the_next_call_goes_on(
    pebble: Pebble, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acme_order, "WORK_SECONDS", 0.0)
    done: list[str] = []

    def noted(change: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def change_and_note(name: str, value: str) -> None:
            done.append(change.__name__)
            change(name, value)

        return change_and_note

    monkeypatch.setattr(solver, "publish", noted(solver.publish))
    monkeypatch.setattr(solver, "remove", noted(solver.remove))
    request = request_for(*(fresh_name() for _ in range(5)))
    outcome, changes = acme(pebble, solver).submit(request), 0
    for _ in range(100):
        if not isinstance(outcome, Pending):
            break
        outcome = acme(pebble, solver).collect(request, outcome.reference)
        assert len(done) - changes <= 1
        changes = len(done)
    assert isinstance(outcome, Issued)
    assert done == ["publish"] * 5 + ["remove"] * 5


def test_records_that_cannot_be_removed_do_not_hold_the_worker(
    pebble: Pebble, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DNS that hangs takes its time for each: all together they must not outlive functionTimeout."""
    connector, request = acme(pebble, solver), request_for(*(fresh_name() for _ in range(20)))
    waiting = with_a_record(connector, solver, request)
    tried: list[str] = []

    def hang(name: str, value: str) -> None:
        tried.append(name)
        time.sleep(0.1)
        raise DnsFailure("it does not answer")

    monkeypatch.setattr(solver, "remove", hang)
    monkeypatch.setattr(acme_order, "WITHDRAW_SECONDS", 0.25)
    with pytest.raises(ConnectorError, match=r"^it does not answer; challenge records are left"):
        connector.cancel(waiting.reference)
    assert len(tried) < 10
    tried.clear()
    monkeypatch.setattr(acme_order, "WORK_SECONDS", 0.25)
    elsewhere = Reference("https://other.example/order/1", Reference.of(waiting.reference).records)
    outcome = connector.collect(request, elsewhere.text())
    assert isinstance(outcome, Unavailable), outcome
    assert not outcome.restart
    assert len(tried) < 10


def test_a_cancel_that_has_no_time_for_all_records_says_which_are_left(
    pebble: Pebble, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector, request = acme(pebble, solver), request_for(fresh_name(), fresh_name())
    waiting = with_a_record(connector, solver, request)
    monkeypatch.setattr(acme_order, "WITHDRAW_SECONDS", 0.0)
    with pytest.raises(ConnectorError, match="no time to remove the challenge records at") as refused:
        connector.cancel(waiting.reference)
    [(left, _)] = solver.records
    assert str(refused.value).endswith(f" at {left}")


def test_a_record_that_is_seen_is_not_set_again_while_others_are_waited_for(
    pebble: Pebble, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(fresh_name(), late := fresh_name())
    seen, publish, published = solver.is_visible, solver.publish, list[str]()

    def noted(name: str, value: str) -> None:
        published.append(name)
        publish(name, value)

    monkeypatch.setattr(solver, "publish", noted)
    monkeypatch.setattr(solver, "is_visible", lambda name, value: late not in name and seen(name, value))
    outcome = follow_some(acme(pebble, solver), request, 5)
    assert isinstance(outcome, Pending)
    assert len([name for name in published if late not in name]) == 1
    monkeypatch.setattr(solver, "is_visible", seen)
    assert isinstance(follow(acme(pebble, solver), request, outcome), Issued)


@pytest.mark.parametrize("seed", range(4))
def test_an_order_whose_lists_are_shuffled_is_issued(proxy: AcmeProxy, solver: TestSolver, seed: int) -> None:
    proxy.change = shuffled(random.Random(seed))
    request = request_for(name := fresh_name(), f"*.{name}", fresh_name(), fresh_name())
    assert isinstance(follow(acme(proxy, solver), request), Issued)
    assert solver.records == set()


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


def fresh_name() -> str:
    """A name that has no valid authorization yet."""
    return f"h{uuid.uuid4().hex[:10]}.example.com"


def once(path: str, change: Callable[[Answer], None], after: int = 0) -> Callable[[Answer], None]:
    """`change` for one answer to a path that holds `path`, after so many that are left as they are."""
    seen: list[str] = []

    def maybe(answer: Answer) -> None:
        if path in answer.path:
            seen.append(answer.path)
            if len(seen) == after + 1:
                change(answer)

    return maybe


@pytest.mark.parametrize("path", ["finalize-order", "chalZ"])
@pytest.mark.parametrize("code", ["malformed", "unauthorized", "orderNotReady", "serverInternal", "conflict"])
def test_a_step_that_was_taken_although_the_server_refused_it_is_taken_for_done(
    proxy: AcmeProxy, solver: TestSolver, code: str, path: str
) -> None:
    proxy.change = once(path, lambda answer: answer.refuse(code, 400))
    assert isinstance(follow(acme(proxy, solver), request_for(fresh_name())), Issued)


@pytest.mark.parametrize("path", ["sign-me-up", "order-plz", "my-order", "authZ", "certZ"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_rate_limit_at_any_step_is_waited_out_and_the_order_goes_on(
    proxy: AcmeProxy, solver: TestSolver, path: str, status: int
) -> None:
    """Boulder says 503 with the same code when it is busy."""

    def limit(answer: Answer) -> None:
        answer.refuse("rateLimited", status, "too many")
        answer.headers["Retry-After"] = "77"

    proxy.change = once(path, limit)
    connector, request = acme(proxy, solver), request_for(fresh_name())
    before: Outcome | None = None
    outcome = connector.submit(request)
    while isinstance(outcome, Pending):
        time.sleep(0.05)
        before, outcome = outcome, connector.collect(request, outcome.reference)
    assert isinstance(outcome, Unavailable), outcome
    assert "too many" in outcome.reason
    assert (outcome.retry_after, outcome.restart) == (77, False)
    assert isinstance(follow(connector, request, before), Issued)


def test_a_server_that_cannot_tell_what_is_replaced_gets_the_order_without_it(
    proxy: AcmeProxy, solver: TestSolver
) -> None:
    connector = acme(proxy, solver)
    old = leaf_for(connector, fresh_name()).public_bytes(Encoding.DER)
    proxy.change = once("order-plz", lambda answer: answer.refuse("serverInternal", 500))
    assert isinstance(follow(connector, request_for(fresh_name(), replaces=old)), Issued)


@pytest.mark.parametrize(("code", "status"), [("malformed", 404), ("unauthorized", 403), ("malformed", 400)])
def test_a_valid_order_whose_certificate_is_not_there_yet_is_not_rejected(
    proxy: AcmeProxy, solver: TestSolver, code: str, status: int
) -> None:
    proxy.change = once("certZ", lambda answer: answer.refuse(code, status))
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = connector.submit(request)
    while isinstance(outcome, Pending):
        time.sleep(0.05)
        reference, outcome = outcome.reference, connector.collect(request, outcome.reference)
    assert isinstance(outcome, Unavailable), outcome
    assert not outcome.restart
    assert isinstance(follow(connector, request, Pending(reference)), Issued)


def test_an_order_that_expired_with_its_authorizations_starts_anew(proxy: AcmeProxy, solver: TestSolver) -> None:
    """Boulder answers 404 for an authorization that expired."""
    connector, request = acme(proxy, solver), request_for(fresh_name())
    waiting = with_a_record(connector, solver, request)

    def expire(answer: Answer) -> None:
        if "my-order" in answer.path:
            answer.say({**answer.document, "status": "invalid"})
        if "authZ" in answer.path:
            answer.refuse("malformed", 404, "Expired authorization")

    proxy.change = expire
    outcome = connector.collect(request, waiting.reference)
    assert isinstance(outcome, Unavailable), outcome
    assert outcome.restart
    assert solver.records == set()


def test_two_requests_that_the_server_gave_one_order_get_two_certificates(pebble: Pebble, solver: TestSolver) -> None:
    """Boulder answers a new order with one that is open, where account and names are the same."""
    name = fresh_name()
    first, second = (signing_request(SubjectNames(name, (name,)), private_key("ec-256", owner)) for owner in "ab")
    connector = acme(pebble, solver)
    shared = connector.submit(first)
    assert isinstance(follow(connector, first, shared), Issued)
    assert isinstance(shared, Pending)
    lost = connector.collect(second, shared.reference)
    assert isinstance(lost, Unavailable), lost
    assert lost.restart
    assert isinstance(outcome := follow(connector, second), Issued)
    assert certificates(outcome.answer)[0].public_key() == private_key("ec-256", "b").public_key()


def test_a_chain_in_the_wrong_order_is_the_requests_all_the_same() -> None:
    """Its order is the verification's business."""
    ours, other = (self_signed(SubjectNames(name), private_key("ec-256", name)) for name in "ab")
    chain = b"".join(one.public_bytes(Encoding.PEM) for one in (other, ours))
    request = signing_request(SubjectNames("a"), private_key("ec-256", "a"))
    assert acme_chain.issued(chain, request.csr) == Issued(chain)


def validating(status: str, answered: list[str], **headers: str) -> Callable[[Answer], None]:
    """A server that takes its time over a challenge that was answered, and says `status` of it meanwhile."""

    def change(answer: Answer) -> None:
        if answer.path.startswith("/chalZ/"):
            answered.append(answer.path)
        if answer.path.startswith("/my-order/"):
            answer.say({**answer.document, "status": "pending"})
        if answer.path.startswith("/authZ/"):
            challenges = [{**one, "status": status if answered else "pending"} for one in answer.document["challenges"]]
            answer.say({**answer.document, "status": "pending", "challenges": challenges})
            answer.headers.update(headers if answered else {})

    return change


def test_a_challenge_that_is_pending_while_it_is_validated_is_answered_once(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boulder validates once more for each answer, and counts each failure against the account."""
    answered: list[str] = []
    proxy.change = validating("pending", answered)
    request = request_for(fresh_name())
    waiting = follow_some(acme(proxy, solver), request, 4)
    assert isinstance(waiting, Pending)
    assert len(answered) == 1
    monkeypatch.setattr(acme_order, "ANSWER_AGAIN", 0.0)
    acme(proxy, solver).collect(request, waiting.reference)
    assert len(answered) > 1, "an answer that the server forgot is given again"
    proxy.change = lambda answer: None
    assert isinstance(follow(acme(proxy, solver), request, waiting), Issued)


def test_a_server_that_validates_is_asked_again_when_it_says(proxy: AcmeProxy, solver: TestSolver) -> None:
    proxy.change = validating("processing", [], **{"Retry-After": "37"})
    waiting = follow_some(acme(proxy, solver), request_for(fresh_name()), 3)
    assert isinstance(waiting, Pending)
    assert waiting.retry_after == 37


ODD: list[Any] = [
    None,
    5,
    "x",
    "",
    [],
    {},
    [5],
    [None],
    [{}],
    "https://[",
    "https://127.0.0.1:99999/x",
    "https://evil.example/x",
    "\x00",
]
CHALLENGE = {"type": "dns-01", "url": "https://evil.example/x", "status": "pending", "token": "t"}


def set_member(path: str, member: str, value: Any, **others: Any) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        if path in answer.path and answer.status == 200:
            answer.say({**answer.document, **others, member: value})

    return change


def odd_answers() -> Iterator[Callable[[Answer], None]]:
    for value in ODD:
        for member in ("status", "authorizations", "identifiers", "expires", "error"):
            yield set_member("my-order", member, value)
        yield set_member("my-order", "error", value, status="invalid")
        yield set_member("my-order", "finalize", value, status="ready")
        yield set_member("my-order", "certificate", value, status="valid")
        for member in ("identifier", "status", "challenges"):
            yield set_member("authZ", member, value)
        yield set_member("authZ", "identifier", {"type": "dns", "value": value})
        for member in ("type", "url", "status", "token", "error"):
            yield set_member("authZ", "challenges", [{**CHALLENGE, member: value}])


@pytest.mark.slow
def test_no_odd_answer_is_taken_for_a_fault_of_ours(
    proxy: AcmeProxy, solver: TestSolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acme_order, "PAUSES", (0,))
    connector, request = acme(proxy, solver), request_for(fresh_name())
    waiting = with_a_record(connector, solver, request)
    for proxy.change in odd_answers():
        outcome = connector.collect(request, waiting.reference)
        assert isinstance(outcome, Pending | Unavailable | Rejected)


@pytest.mark.parametrize("body", [b"", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_not_issued(proxy: AcmeProxy, solver: TestSolver, body: bytes) -> None:
    def replace_certificate(answer: Answer) -> None:
        if "certZ" in answer.path:
            answer.body = body

    proxy.change = replace_certificate
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = follow(connector, request)
    assert isinstance(outcome, Unavailable)
    assert "certificates in PEM" in outcome.reason


@pytest.mark.parametrize("value", ["victim.example.com", "*.example.com", "a..b", "x." * 200, "example.com"])
def test_no_record_is_set_at_a_name_that_was_not_asked_for(proxy: AcmeProxy, solver: TestSolver, value: str) -> None:
    proxy.change = set_member("authZ", "identifier", {"type": "dns", "value": value})
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = follow(connector, request)
    assert isinstance(outcome, Unavailable)
    assert "was not asked for" in outcome.reason
    assert solver.records == set()


@pytest.mark.parametrize("bug", [TypeError, AttributeError, KeyError, ValueError])
def test_a_fault_of_ours_is_not_taken_for_one_of_the_server(
    pebble: Pebble, solver: TestSolver, bug: type[Exception]
) -> None:
    def publish(name: str, value: str) -> None:
        raise bug("a mistake in the code")

    solver.publish = publish  # type: ignore[method-assign]
    with pytest.raises(bug):
        follow(acme(pebble, solver), request_for(fresh_name()))


@pytest.mark.parametrize("window", [None, 5, {}, {"start": "x", "end": "y"}, {"start": 1, "end": 2}, []])
def test_an_odd_renewal_window_is_an_error_of_the_connector(
    pebble: Pebble, solver: TestSolver, window: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = acme(pebble, solver)
    leaf = leaf_for(connector, fresh_name())
    answer = requests.Response()
    answer.status_code, answer._content = 200, json.dumps({"suggestedWindow": window}).encode()
    monkeypatch.setattr(connector._session()._client, "fetch", lambda url: answer)
    with pytest.raises(ConnectorError, match="renewal window"):
        connector.renewal_window(leaf.public_bytes(Encoding.DER))


@pytest.mark.parametrize("url", ["", "order-7", "ftp://127.0.0.1/order", "https://[", "https://other.example/order/1"])
def test_an_order_of_another_authority_starts_anew_and_its_records_are_removed(
    pebble: Pebble, solver: TestSolver, url: str
) -> None:
    record = ("_acme-challenge.moved.example.com", "digest")
    solver.publish(*record)
    outcome = acme(pebble, solver).collect(request_for("moved.example.com"), Reference(url, (record,)).text())
    assert isinstance(outcome, Unavailable)
    assert outcome.restart, outcome
    assert solver.records == set()
