"""The account at the ACME server, and external account binding."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from josepy.json_util import decode_b64jose

from certrelay.connectors.acme.problem import Problem
from certrelay.connectors.base import Issued, Pending, Rejected, Unavailable
from tests.connectors.acme.acme_proxy import AcmeProxy, Answer
from tests.connectors.acme.ordering import HMAC, TestSolver, acme, follow, pem_of, request_for
from tests.connectors.acme.pebble import Pebble


def test_a_forgotten_account_is_made_again_by_submit(start: Callable[..., Pebble], solver: TestSolver) -> None:
    server = start()
    connector = acme(server, solver)
    assert isinstance(connector.submit(request_for("one.example.com")), Pending)
    server.restart()
    assert isinstance(follow(connector, request_for("two.example.com")), Issued)


@pytest.fixture
def binding(start: Callable[..., Pebble]) -> Pebble:
    return start({"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": HMAC}})


def test_an_external_account_is_bound(binding: Pebble, solver: TestSolver) -> None:
    connector = acme(binding, solver, eab_kid="kid-1", eab_hmac_key=HMAC)
    assert isinstance(follow(connector, request_for("bound.example.com")), Issued)


@pytest.mark.parametrize(
    "settings", [{}, {"eab_kid": "kid-1", "eab_hmac_key": "AAAA"}, {"eab_kid": "k", "eab_hmac_key": HMAC}]
)
def test_a_wrong_or_missing_binding_is_rejected_by_the_settings_name(
    binding: Pebble, solver: TestSolver, settings: dict[str, str]
) -> None:
    outcome = acme(binding, solver, **settings).submit(request_for("unbound.example.com"))
    assert isinstance(outcome, Rejected)
    assert "eab_kid" in outcome.reason
    assert HMAC not in outcome.reason


@pytest.fixture
def strict(binding: Pebble) -> Iterator[AcmeProxy]:
    """Some CAs want the binding in every request for an account, also in one that makes none."""

    def insist(answer: Answer) -> None:
        asked = json.loads(decode_b64jose(json.loads(answer.request)["payload"]) or b"{}")
        if answer.path == "/sign-me-up" and "externalAccountBinding" not in asked:
            answer.refuse("externalAccountRequired", 400)

    with AcmeProxy(binding) as running:
        running.change = insist
        yield running


def test_a_binding_that_is_wanted_in_every_request_is_given(strict: AcmeProxy, solver: TestSolver) -> None:
    for number in range(2):
        connector = acme(strict, solver, eab_kid="kid-1", eab_hmac_key=HMAC)
        assert isinstance(follow(connector, request_for(f"strict{number}.example.com")), Issued)
        connector.check()


def test_a_wrong_binding_that_is_wanted_in_every_request_is_rejected_by_the_settings_name(
    strict: AcmeProxy, solver: TestSolver
) -> None:
    outcome = acme(strict, solver, eab_kid="kid-1", eab_hmac_key="AAAA").submit(request_for("strict.example.com"))
    assert isinstance(outcome, Rejected)
    assert "eab_kid" in outcome.reason


@pytest.mark.parametrize("written", ["mailto:{}@example.com", "{}@example.com"])
def test_a_contact_may_be_written_as_an_address_or_as_its_url(pebble: Pebble, solver: TestSolver, written: str) -> None:
    contact = written.format("admin")
    connector = acme(pebble, solver, account_key_pem=pem_of(contact), contact=[contact])
    connector.check()
    session = connector._session()
    url = session._account.url()
    assert session._client.post(url, None, url).json()["contact"] == ["mailto:admin@example.com"]


@pytest.mark.parametrize("fault", [Problem("serverInternal", "busy", 500), Problem("rateLimited", "wait", 429, 60.0)])
def test_a_binding_is_not_spent_when_the_server_could_only_not_say_whether_there_is_an_account(
    start: Callable[..., Pebble], solver: TestSolver, fault: Problem
) -> None:
    server = start({"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": HMAC}})
    connector = acme(server, solver, eab_kid="kid-1", eab_hmac_key=HMAC)
    client = connector._session()._client
    post, asked = client.post, []

    def busy(url: str, payload: dict[str, Any] | None, account: str | None) -> Any:
        asked.append(payload)
        raise fault

    client.post = busy  # type: ignore[method-assign]
    outcome = connector.submit(request_for("bound.example.com"))
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after == fault.wait
    assert asked == [{"onlyReturnExisting": True}]
    client.post = post  # type: ignore[method-assign]
    assert isinstance(follow(connector, request_for("bound.example.com")), Issued)
