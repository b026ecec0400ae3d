"""ACME Renewal Information (RFC 9773), and what a renewal replaces."""

import json
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.acme.renewal_info import certificate_id
from certrelay.connectors.base import ConnectorError, Issued, Pending
from certrelay.pki.subject import SubjectNames
from tests.connectors.acme.acme_proxy import AcmeProxy
from tests.connectors.acme.ordering import (
    TestSolver,
    acme,
    der,
    follow,
    fresh_name,
    known_leaf_for,
    leaf_for,
    once,
    request_for,
)
from tests.connectors.acme.pebble import Pebble
from tests.connectors.signing_requests import malformed

pytestmark = pytest.mark.slow


def test_the_server_suggests_when_to_renew(pebble: Pebble, solver: TestSolver) -> None:
    connector = acme(pebble, solver)
    leaf = known_leaf_for(connector, "ari.example.com")
    window = connector.renewal_window(der(leaf))
    assert window
    assert leaf.not_valid_before_utc < window.start < window.end < leaf.not_valid_after_utc
    assert window.retry_after > 0


def test_a_renewal_replaces_and_an_old_certificate_of_elsewhere_does_not_matter(
    pebble: Pebble, solver: TestSolver
) -> None:
    connector = acme(pebble, solver)
    old = known_leaf_for(connector, "renewed.example.com")
    bodies: list[dict[str, Any]] = []
    session = connector._session()
    place = session._place

    def noted(asked: dict[str, Any]) -> Any:
        bodies.append(asked)
        return place(asked)

    session._place = noted  # type: ignore[method-assign]
    leaf_for(connector, "renewed.example.com", replaces=der(old))
    assert [body.get("replaces") for body in bodies] == [certificate_id(der(old))]
    leaf_for(connector, "renewed.example.com", replaces=der(old))  # replaced already
    assert ["replaces" in body for body in bodies[1:]] == [True, False]


def test_a_certificate_that_cannot_be_read_is_replaced_all_the_same(pebble: Pebble, solver: TestSolver) -> None:
    old = malformed(SubjectNames("old.example.com")).public_bytes(serialization.Encoding.DER)
    connector = acme(pebble, solver)
    assert isinstance(connector.submit(request_for("old.example.com", replaces=old)), Pending)
    assert connector.renewal_window(old) is None


def test_a_server_that_cannot_tell_what_is_replaced_gets_the_order_without_it(
    proxy: AcmeProxy, solver: TestSolver
) -> None:
    connector = acme(proxy, solver)
    old = leaf_for(connector, fresh_name()).public_bytes(Encoding.DER)
    proxy.change = once("order-plz", lambda answer: answer.refuse("serverInternal", 500))
    assert isinstance(follow(connector, request_for(fresh_name(), replaces=old)), Issued)


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
