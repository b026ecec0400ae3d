"""Endpoints: how they are written, which patterns allow them, and which addresses are never connected to."""

import ipaddress

import pytest

from certrelay import endpoints
from certrelay.endpoints import Endpoint


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("www.contoso.example:443", "www.contoso.example", 443),
        ("WWW.Contoso.Example.:8443", "www.contoso.example", 8443),
        ("localhost:1", "localhost", 1),
        ("_sip.contoso.example:65535", "_sip.contoso.example", 65535),
        ("10.1.2.3:443", "10.1.2.3", 443),
        ("[2001:DB8:0::1]:443", "2001:db8::1", 443),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    found = endpoints.parse(text)
    assert (found.host, found.port) == (host, port)
    assert endpoints.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "www.contoso.example",
        "www.contoso.example:",
        "www.contoso.example:0",
        "www.contoso.example:65536",
        "www.contoso.example:+443",
        "www.contoso.example:٤٤٣",
        "www.contoso.example:443/path",
        "https://www.contoso.example:443",
        "user@www.contoso.example:443",
        "www..contoso.example:443",
        "-www.contoso.example:443",
        "www contoso.example:443",
        "www.contoso.example\n:443",
        "münchen.example:443",
        "*.contoso.example:443",
        "2001:db8::1:443",
        "[10.1.2.3]:443",
        "[::1:443",
        "127.1:443",
        "0x7f000001:443",
        "2130706433:443",
        "0177.0.0.1:443",
        "10.0.0.256:443",
        "a" * 64 + ".example:443",
        "1.2.3.4.5:443",
        "www.contoso.0x7f:443",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        endpoints.parse(text)


@pytest.mark.parametrize(
    ("pattern", "text", "allowed"),
    [
        ("www.contoso.example:443", "www.contoso.example:443", True),
        ("WWW.contoso.example:443", "www.CONTOSO.example:443", True),
        ("www.contoso.example:443", "www.contoso.example:8443", False),
        ("www.contoso.example:443", "www.contoso.example.evil.example:443", False),
        ("*.contoso.example:443", "a.b.contoso.example:443", True),
        ("*.contoso.example:443", "contoso.example:443", False),
        ("*.contoso.example:443", "evilcontoso.example:443", False),
        ("*.contoso.example:443", "www.contoso.example:4430", False),
        ("10.1.2.3:443", "10.1.2.3:443", True),
        ("[2606:2800::1]:443", "[2606:2800:0:0::1]:443", True),
    ],
)
def test_a_pattern_is_a_name_or_all_names_below_one_with_a_port(pattern: str, text: str, allowed: bool) -> None:
    assert endpoints.matches(endpoints.pattern(pattern), endpoints.parse(text)) is allowed


@pytest.mark.parametrize(
    "pattern",
    [
        "*:443",
        "*.:443",
        "www.*.example:443",
        "*.contoso.example",
        "*.contoso.example:*",
        "*.1.2.3.4:443",
        "*.[::1]:443",
        "169.254.169.254:80",
        "168.63.129.16:443",
        "[fe80::1]:443",
        "0.0.0.0:443",
        "224.0.0.1:443",
        "[::ffff:169.254.169.254]:443",
    ],
)
def test_no_pattern_allows_every_host_or_what_is_never_connected_to(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"must|never"):
        endpoints.pattern(pattern)


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "::/0", "8.8.8.0/24", "169.254.0.0/16", "fe80::/10", "10.0.0.0/7", "10.0.0.1/8", "inner", ""]
)
def test_only_private_networks_can_be_opened(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        endpoints.network(text)


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("93.184.216.34", [], True),
        ("2606:2800:220:1::1", [], True),
        ("10.1.2.3", [], False),
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("10.2.2.3", ["10.1.0.0/16"], False),
        ("127.0.0.1", ["10.0.0.0/8"], False),
        ("127.0.0.1", ["127.0.0.0/8"], True),
        ("::1", ["127.0.0.0/8"], False),
        ("::1", ["::1/128"], True),
        ("100.64.1.1", [], False),
        ("fd00::1", ["fd00::/16"], True),
        ("fd00:ec2::254", [], False),
        ("::ffff:10.1.2.3", [], False),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),
        ("64:ff9b::a01:203", [], False),
        ("64:ff9b::a9fe:a9fe", ["10.0.0.0/8"], False),
        ("64:ff9b::5db8:d822", [], True),
        ("2002:a01:203::1", [], False),
        ("2002:7f00:1::1", [], False),
    ],
)
def test_public_addresses_may_be_connected_to_and_private_ones_where_a_network_says_so(
    address: str, networks: list[str], allowed: bool
) -> None:
    opened = [ipaddress.ip_network(one) for one in networks]
    assert endpoints.may_connect(ipaddress.ip_address(address), opened) is allowed


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "168.63.129.16",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a83f:8110",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "2001:db8::1",
        "2001:0:1::1",
        "fec0::1",
    ],
)
def test_some_addresses_are_never_connected_to(address: str) -> None:
    found = ipaddress.ip_address(address)
    everything = [*endpoints.PRIVATE, ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    assert not endpoints.may_connect(found, everything)


def test_a_pattern_that_is_a_private_address_opens_that_address_only() -> None:
    opened = endpoints.networks_of(endpoints.pattern("10.1.2.3:443"), [])
    assert endpoints.may_connect(ipaddress.ip_address("10.1.2.3"), opened)
    assert not endpoints.may_connect(ipaddress.ip_address("10.1.2.4"), opened)
    assert endpoints.networks_of("*.contoso.example:443", ["10.1.0.0/16"]) == (ipaddress.ip_network("10.1.0.0/16"),)
    assert str(Endpoint("::1", 443)) == "[::1]:443"
