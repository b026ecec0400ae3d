"""Looking at a served certificate: real TLS servers on loopback, and servers that are none."""

import ipaddress
import itertools
import socket
import ssl
from collections.abc import Callable, Sequence

import pytest

from certrelay.endpoints import Endpoint
from certrelay.renewal.handshake import Limits, Looker, Unreachable, addresses_of
from tests.renewal.servers import Served, context, reset, serving, tls, until_closed

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
NAME = "www.contoso.example"


def named(*addresses: str) -> Looker:
    """One for which every name has these addresses."""
    return Looker(resolve=lambda _: addresses)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_leaf_is_read_without_trust_and_nothing_but_a_handshake_is_sent(version: ssl.TLSVersion) -> None:
    served = Served("wrong.contoso.example")
    configured = context(served)
    configured.minimum_version = configured.maximum_version = version
    with tls(configured) as server:
        found = named("127.0.0.1").look(Endpoint(NAME, server.port), LOOPBACK, served.thumbprint)
    assert found == (served.der,)
    assert (server.seen, server.names) == ([b""], [NAME])


def test_what_is_served_instead_of_the_newest_is_read() -> None:
    old = Served()
    with tls(context(old)) as server:
        assert Looker().look(server.endpoint, LOOPBACK, Served().thumbprint) == (old.der,)


def test_a_served_certificate_that_cannot_be_read_is_served_all_the_same() -> None:
    old = Served(version=2)
    with tls(context(old)) as server:
        assert Looker().look(server.endpoint, LOOPBACK, Served().thumbprint) == (old.der,)


@pytest.mark.parametrize("of_rsa", [True, False])
def test_of_a_server_with_both_kinds_of_keys_the_certificate_of_the_newest_ones_kind_counts(of_rsa: bool) -> None:
    newest, other = Served(of_rsa=of_rsa), Served(of_rsa=not of_rsa)
    with tls(context(newest, other)) as server:
        assert Looker().look(server.endpoint, LOOPBACK, newest.thumbprint) == (newest.der,)
        found = Looker().look(server.endpoint, LOOPBACK, Served().thumbprint)
    assert sorted(found) == sorted((newest.der, other.der))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_client_certificate_has_shown_its_own(version: ssl.TLSVersion) -> None:
    served = Served()
    configured = context(served)
    configured.verify_mode = ssl.CERT_REQUIRED
    configured.minimum_version = configured.maximum_version = version
    with tls(configured) as server:
        assert Looker().look(server.endpoint, LOOPBACK, served.thumbprint) == (served.der,)


def test_one_server_of_several_that_serves_another_certificate_is_found() -> None:
    new, old = Served(), Served()
    with tls(context(new)) as first:
        both, endpoint = named("127.0.0.1", "127.0.0.2"), Endpoint(NAME, first.port)
        assert both.look(endpoint, LOOPBACK, new.thumbprint) == (new.der,), "one that is down proves nothing"
        with tls(context(old), "127.0.0.2", first.port):
            assert both.look(endpoint, LOOPBACK, new.thumbprint) == (old.der,)


def http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    until_closed(connection)


def closing(connection: socket.socket) -> None:
    connection.recv(4096)


def resetting(connection: socket.socket) -> None:
    connection.recv(4096)
    reset(connection)


def warning(connection: socket.socket) -> None:
    """Alerts without end: a warning that the name is not recognised (RFC 6066, section 3), which clients pass over."""
    connection.recv(4096)
    while True:
        connection.sendall(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 1000)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http, "it does not speak TLS"),
        (closing, "it closes the connection"),
        (resetting, "it closes the connection"),
        (lambda connection: connection.sendall(b"220 mail.contoso.example ESMTP\r\n"), "it does not speak TLS"),
    ],
    ids=["http", "closing", "resetting", "smtp"],
)
def test_what_is_no_tls_server_is_called_so(answer: Callable[[socket.socket], None], reason: str) -> None:
    with serving(answer) as server, pytest.raises(Unreachable, match=reason):
        Looker().look(server.endpoint, LOOPBACK, "")


def test_octets_without_end_are_not_read() -> None:
    with serving(warning) as server, pytest.raises(Unreachable, match=r"too much|handshake fails|not speak TLS"):
        Looker(Limits(octets=50_000)).look(server.endpoint, LOOPBACK, "")


def drops(connection: socket.socket) -> None:
    """One octet at a time of a record that never ends."""
    for octet in itertools.chain(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0", itertools.repeat(0)):
        connection.sendall(bytes([octet]))


@pytest.mark.parametrize("answer", [drops, until_closed], ids=["drops", "silence"])
def test_a_slow_server_costs_no_more_than_a_look_may_take(answer: Callable[[socket.socket], None]) -> None:
    """Each look at the clock takes a second here; a silent server is waited for a moment, at the first reading."""
    seconds = itertools.count()
    looker = Looker(Limits(seconds=3.05), clock=lambda: float(next(seconds)))
    with serving(answer) as server, pytest.raises(Unreachable, match="does not answer in time"):
        looker.look(server.endpoint, LOOPBACK, "")


def test_a_closed_port_is_called_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="it refuses the connection"):
        Looker().look(Endpoint("127.0.0.1", port), LOOPBACK, "")


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["169.254.169.254", "::ffff:127.0.0.1"], ["168.63.129.16"], ["10.0.0.1"]]
)
def test_an_address_that_is_not_allowed_is_never_connected_to(addresses: Sequence[str]) -> None:
    with serving(until_closed) as server:
        with pytest.raises(Unreachable, match="no address that the setting CERTRELAY_ENDPOINTS allows"):
            named(*addresses).look(Endpoint(NAME, server.port), (), "")
        assert server.connections == 0


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """A name that has another address when it is asked again gains nothing by it."""
    served, answers = Served(), iter([["127.0.0.1"], ["169.254.169.254"]])
    with tls(context(served)) as server:
        looker = Looker(resolve=lambda _: next(answers))
        assert looker.look(Endpoint(NAME, server.port), LOOPBACK, served.thumbprint) == (served.der,)
    assert list(answers) == [["169.254.169.254"]], "it is resolved once"


def test_a_name_that_is_unknown_is_called_so() -> None:
    def unknown(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.raises(Unreachable, match="cannot be resolved"):
        Looker(resolve=unknown).look(Endpoint(NAME, 443), LOOPBACK, "")


def test_the_operating_system_resolves_names() -> None:
    assert set(addresses_of("localhost")) & {"127.0.0.1", "::1"}
