"""Every challenge record that was set is removed, whatever happens to its order."""

import time
from collections.abc import Callable

import pytest

from certrelay.connectors.acme import order as acme_order
from certrelay.connectors.acme import publication
from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.reference import Reference
from certrelay.connectors.base import MAX_REFERENCE_BYTES, ConnectorError, Issued, Pending, Rejected, Unavailable
from tests.connectors.acme.acme_proxy import AcmeProxy, Answer, set_member
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver, Request
from tests.connectors.acme.clients import connect
from tests.connectors.acme.ordering import TestSolver, acme, follow, follow_some, fresh_name, request_for, with_a_record
from tests.connectors.acme.pebble import Pebble


def test_a_cancelled_order_leaves_no_record_behind(pebble: Pebble, solver: TestSolver) -> None:
    connector, request = acme(pebble, solver), request_for("cancelled.example.com")
    solver.is_visible = lambda name, value: False  # type: ignore[method-assign]
    outcome = connector.submit(request)
    for _ in range(2):
        assert isinstance(outcome, Pending)
        outcome = connector.collect(request, outcome.reference)
    assert isinstance(outcome, Pending)
    assert len(solver.records) == 1
    connector.cancel(outcome.reference)
    assert solver.records == set()
    assert isinstance(connector.collect(request, outcome.reference), Rejected | Unavailable), "at once"


def test_a_record_that_could_not_be_removed_is_removed_by_the_next_look(pebble: Pebble, solver: TestSolver) -> None:
    request, remove = request_for("stubborn.example.com"), solver.remove

    def fail_once(name: str, value: str) -> None:
        solver.remove = remove  # type: ignore[method-assign]
        raise DnsFailure("the DNS is down")

    solver.remove = fail_once  # type: ignore[method-assign]
    outcome = acme(pebble, solver).submit(request)
    assert isinstance(outcome, Pending)
    while isinstance(outcome, Pending):
        time.sleep(0.05)
        reference = outcome.reference
        outcome = acme(pebble, solver).collect(request, reference)
    assert isinstance(outcome, Unavailable)
    assert (
        outcome.reason == "the DNS is down; challenge records are left behind at _acme-challenge.stubborn.example.com"
    )
    assert len(solver.records) == 1
    assert isinstance(follow(acme(pebble, solver), request, Pending(reference)), Issued)
    assert solver.records == set()


def test_the_records_of_an_order_that_the_server_forgot_are_removed_before_the_next_one(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server, request = start(), request_for("forgotten.example.com", "*.forgotten.example.com")
    waiting = with_a_record(acme(server, solver), solver, request)
    server.restart()
    remove, solver.remove = solver.remove, lambda name, value: _fail()  # type: ignore[method-assign]
    outcome = acme(server, solver).collect(request, waiting.reference)
    assert isinstance(outcome, Unavailable)
    assert not outcome.restart
    assert "the DNS is down; challenge records are left behind at _acme-challenge.forgotten." in outcome.reason
    solver.remove = remove  # type: ignore[method-assign]
    outcome = acme(server, solver).collect(request, waiting.reference)
    assert isinstance(outcome, Unavailable)
    assert outcome.restart
    assert solver.records == set()


def _fail() -> None:
    raise DnsFailure("the DNS is down")


def test_canceling_an_order_that_the_server_forgot_removes_its_records(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server, request = start(), request_for("canceled.example.com")
    waiting = with_a_record(acme(server, solver), solver, request)
    server.restart()
    with pytest.raises(ConnectorError, match="does not know the order any more"):
        acme(server, solver).cancel(waiting.reference)
    assert solver.records == set()


def test_one_record_that_cannot_be_removed_does_not_keep_the_others(pebble: Pebble, solver: TestSolver) -> None:
    connector, request = acme(pebble, solver), request_for("stays.example.com", "goes.example.com")
    waiting = with_a_record(connector, solver, request)
    remove = solver.remove

    def selective(name: str, value: str) -> None:
        _fail() if "stays" in name else remove(name, value)

    solver.remove = selective  # type: ignore[method-assign]
    with pytest.raises(ConnectorError, match=r"is down; challenge records are left .*\.stays\.example\.com$"):
        connector.cancel(waiting.reference)
    assert [name for name, _ in solver.records] == ["_acme-challenge.stays.example.com"]


def test_a_reference_has_room_for_the_records_of_a_hundred_long_names() -> None:
    names = [f"_acme-challenge.{number:03}.{'a' * 63}.departments.example.com" for number in range(100)]
    reference = Reference("https://ca.example/order/1", tuple((name, "d" * 43) for name in names))
    assert len(reference.text()) <= MAX_REFERENCE_BYTES
    assert Reference.of(reference.text()) == reference


def test_an_order_whose_records_cannot_all_be_noted_is_rejected_before_one_is_set(
    pebble: Pebble, solver: TestSolver
) -> None:
    names = [f"{number}.{'.'.join(['a' * 60] * 3)}.example.com" for number in range(80)]
    outcome = follow(acme(pebble, solver), request_for("x.example.com", *names))
    assert solver.records == set()
    assert isinstance(outcome, Rejected), outcome
    assert "ask for fewer at once" in outcome.reason


def test_the_records_are_removed_by_a_cancel_while_the_server_is_down(
    start: Callable[..., Pebble], solver: TestSolver
) -> None:
    server = start()
    waiting = with_a_record(acme(server, solver), solver, request_for(fresh_name()))
    server.__exit__()
    with pytest.raises(ConnectorError):
        acme(server, solver).cancel(waiting.reference)
    assert solver.records == set()


def test_a_worker_that_publishes_what_another_one_needs_no_more_removes_it_again(
    pebble: Pebble, solver: TestSolver
) -> None:
    request, publish = request_for(fresh_name()), solver.publish
    noted = acme(pebble, solver).submit(request)
    assert isinstance(noted, Pending)

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


class SlowDns(MemorySolver):
    """Each look takes a while. A record can be seen a while after it was published."""

    def __init__(self, seconds: float, hidden: float = 0.0) -> None:
        super().__init__()
        self.seconds, self.hidden, self.published = seconds, hidden, dict[tuple[str, str], float]()
        self.looks = 0

    def publish(self, name: str, value: str) -> None:
        super().publish(name, value)
        self.published.setdefault((name, value), time.monotonic())

    def is_visible(self, name: str, value: str) -> bool:
        self.looks += 1
        time.sleep(self.seconds)
        since = self.published.get((name, value))
        return since is not None and time.monotonic() - since >= self.hidden


@pytest.mark.parametrize("hidden", [0.0, 0.3], ids=["at-once", "later"])
def test_looks_at_a_slow_dns_do_not_hold_the_worker_and_the_next_call_goes_on(
    monkeypatch: pytest.MonkeyPatch, hidden: float
) -> None:
    """An order may have a hundred names, and all looks together must not outlive functionTimeout."""
    monkeypatch.setattr(acme_order, "WORK_SECONDS", 0.1)
    monkeypatch.setattr(publication, "LOOK_SECONDS", 0.1)
    solver, most = SlowDns(0.02, hidden), 0
    with AcmeServer() as server:
        connector, request = connect(server, solver), request_for(*(fresh_name() for _ in range(15)))
        outcome = connector.submit(request)
        for _ in range(200):
            if not isinstance(outcome, Pending):
                break
            before = solver.looks
            outcome = connector.collect(request, outcome.reference)
            most = max(most, solver.looks - before)
        assert isinstance(outcome, Issued), outcome
        assert solver.records == set()
        assert server.count("authorization") < 2 * 15, "what was read is not read again for want of time"
    assert most <= 11, "a call ends after as many as fill its time"


def test_no_challenge_is_answered_twice_for_want_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boulder calls a challenge pending while it validates, and validates once more for each answer."""

    def validating(request: Request, answer: Answer) -> None:
        if "/order/" in request.target or "/authorization/" in request.target:
            pending = [{**one, "status": "pending"} for one in answer.document.get("challenges", [])]
            answer.say({**answer.document, "status": "pending", "challenges": pending})

    monkeypatch.setattr(acme_order, "WORK_SECONDS", 0.0)
    with AcmeServer() as server:
        server.change = validating
        connector, request = connect(server, MemorySolver()), request_for(*(fresh_name() for _ in range(4)))
        outcome = connector.submit(request)
        for _ in range(12):
            assert isinstance(outcome, Pending)
            outcome = connector.collect(request, outcome.reference)
        assert server.count("challenge") == 4
        server.change = lambda request, answer: None
        while isinstance(outcome, Pending):
            outcome = connector.collect(request, outcome.reference)
        assert isinstance(outcome, Issued)


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
    monkeypatch.setattr(acme_order, "CANCEL_SECONDS", 0.25)
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
    monkeypatch.setattr(acme_order, "CANCEL_SECONDS", 0.0)
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


@pytest.mark.parametrize("value", ["victim.example.com", "*.example.com", "a..b", "x." * 200, "example.com"])
def test_no_record_is_set_at_a_name_that_was_not_asked_for(proxy: AcmeProxy, solver: TestSolver, value: str) -> None:
    proxy.change = set_member("authZ", "identifier", {"type": "dns", "value": value})
    connector, request = acme(proxy, solver), request_for(fresh_name())
    outcome = follow(connector, request)
    assert isinstance(outcome, Unavailable)
    assert "was not requested" in outcome.reason
    assert solver.records == set()
