"""Renewal information (RFC 9773) as servers answer it. The server is the tests' own, unless the test names pebble."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.acme.renewal_info import certificate_id
from certrelay.connectors.base import ConnectorError, Issued, NoRenewalWindow
from tests.connectors.acme.acme_server import AcmeServer, MemorySolver
from tests.connectors.acme.clients import connect, follow
from tests.connectors.acme.ordering import fresh_name, request_for

# The example of RFC 9773, appendix A.
LEAF = x509.load_pem_x509_certificate(b"""-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
""").public_bytes(Encoding.DER)
START, END = "2027-01-10T00:00:00Z", "2027-01-12T00:00:00Z"


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with AcmeServer() as running:
        yield running


@pytest.fixture
def connector(server: AcmeServer) -> Acme:
    return connect(server, MemorySolver())


def window(start: Any = START, end: Any = END, **others: Any) -> dict[str, Any]:
    return {"suggestedWindow": {"start": start, "end": end}, **others}


@pytest.mark.parametrize(
    "start", ["2027-01-10T02:00:00+02:00", "2027-01-10t00:00:00z", "2027-01-10T00:00:00.000000000Z"]
)
def test_the_window_is_asked_for_by_the_certificate_id(server: AcmeServer, connector: Acme, start: str) -> None:
    server.renewal_info = lambda _: window(start)
    found = connector.renewal_window(LEAF)
    assert found is not None
    assert (found.start, found.end) == (datetime(2027, 1, 10, tzinfo=UTC), datetime(2027, 1, 12, tzinfo=UTC))
    assert (found.start.tzinfo, found.retry_after) == (UTC, 6 * 3600)
    assert server.requests[-1].target == f"/acme/renewalInfo/{certificate_id(LEAF)}"


UNUSABLE = [
    window("9999-12-30T00:00:00-05:00", "9999-12-31T23:59:59-05:00"),
    window("0001-01-01T00:00:00+14:00", "2027-01-12T00:00:00Z"),
    window(START, "9999-12-31T23:59:59-05:00"),
    window(START, START),
    window(END, START),
    window("2027-01-10T00:00:00", "2027-01-12T00:00:00"),
    window(5, 6),
    window("", ""),
    {"suggestedWindow": None},
    {},
    [],
    "soon",
]


@pytest.mark.parametrize("start", ["2016-12-31T23:59:60Z", "2016-12-31t18:59:60.5-05:00", "2017-01-01T05:29:60+05:30"])
def test_a_leap_second_is_a_moment(server: AcmeServer, connector: Acme, start: str) -> None:
    server.renewal_info = lambda _: window(start)
    found = connector.renewal_window(LEAF)
    assert found is not None
    assert found.start.replace(microsecond=0) == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("document", UNUSABLE, ids=json.dumps)
def test_an_answer_without_a_usable_window_is_an_answer_about_this_certificate(
    server: AcmeServer, connector: Acme, document: Any
) -> None:
    server.renewal_info = lambda _: document
    with pytest.raises(NoRenewalWindow):
        connector.renewal_window(LEAF)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_an_answer_about_this_certificate(server: AcmeServer, connector: Acme, status: int) -> None:
    """Let's Encrypt answers 404 for a certificate that it did not issue."""
    server.refuse("renewalInfo", "malformed", status, "unknown certificate")
    with pytest.raises(NoRenewalWindow, match="unknown certificate"):
        connector.renewal_window(LEAF)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_that_cannot_answer_now_has_said_nothing(server: AcmeServer, connector: Acme, status: int) -> None:
    server.refuse("renewalInfo", "serverInternal", status, "busy")
    with pytest.raises(ConnectorError, match="busy") as caught:
        connector.renewal_window(LEAF)
    assert not isinstance(caught.value, NoRenewalWindow)


@pytest.mark.parametrize(
    ("url", "kept"),
    [("https://ca.example/why", "https://ca.example/why"), (5, None), ("https://ca.example/\x00" + "y" * 5000, None)],
)
def test_an_explanation_is_kept_if_it_is_a_url_of_usual_length(
    server: AcmeServer, connector: Acme, url: Any, kept: str | None
) -> None:
    server.renewal_info = lambda _: window(explanationURL=url)
    found = connector.renewal_window(LEAF)
    assert found is not None
    assert found.explanation_url == kept


def test_a_server_without_renewal_info_is_not_asked(server: AcmeServer, connector: Acme) -> None:
    def hide(request: Any, answer: Any) -> None:
        if request.target == server.directory_target:
            answer.say({name: url for name, url in answer.document.items() if name != "renewalInfo"})

    server.change = hide
    assert connector.renewal_window(LEAF) is None
    assert server.count("renewalInfo") == 0


PROBLEMS = [
    *itertools.product([400, 403, 404, 409], ["malformed", "unauthorized", "alreadyReplaced", "conflict", "odd", None]),
    (500, "serverInternal"),
]


@pytest.mark.parametrize(("status", "code"), PROBLEMS)
def test_an_order_that_is_refused_for_what_it_replaces_is_placed_once_more_without(
    server: AcmeServer, connector: Acme, status: int, code: str | None
) -> None:
    """RFC 9773, section 5. Boulder answers 400, 403, 404 or 409, Actalis `malformed`."""

    def refuse(request: Any, answer: Any) -> None:
        if request.payload and request.payload.get("replaces"):
            answer.refuse(code or "", status, "no such certificate")
            if code is None:
                answer.say(["no problem document"], status)

    server.change = refuse
    assert isinstance(follow(connector, request_for(fresh_name(), replaces=LEAF)), Issued)
    placed = [request.payload for request in server.requests if request.target == "/acme/newOrder"]
    assert [one.get("replaces") for one in placed] == [certificate_id(LEAF), None]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "rejectedIdentifier"), (400, "invalidProfile"), (403, "userActionRequired"), (429, "rateLimited")],
)
def test_an_order_that_is_refused_for_something_else_is_placed_only_once(
    server: AcmeServer, connector: Acme, status: int, code: str
) -> None:
    server.refuse("newOrder", code, status)
    assert not isinstance(follow(connector, request_for(fresh_name(), replaces=LEAF)), Issued)
    assert server.count("newOrder") == 1


def test_the_certificate_id_is_that_of_the_rfc() -> None:
    """RFC 9773, section 4.1: a serial number that begins with a zero octet keeps it."""
    assert certificate_id(LEAF) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


VERSION_2 = LEAF.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01")


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", LEAF[:-9], VERSION_2])
def test_a_certificate_that_cannot_be_read_has_no_id(octets: bytes) -> None:
    assert octets != LEAF
    assert certificate_id(octets) is None
