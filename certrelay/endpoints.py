"""Endpoints (`HOST:PORT`) whose certificate may be looked at, and the addresses that may be connected to for that.

Pure; docs/decisions/0011-last-mile.md has the reasons.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EXAMPLE = "www.contoso.example:443"
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_PORT = re.compile("[1-9][0-9]{0,4}")
# Private networks, which a setting has to name (RFC 1918, RFC 6598, RFC 4193, loopback).
PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1/128",
    )
)  # fmt: skip
# Azure's platform, which answers the machines themselves, has a public address:
# https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
_PLATFORM = ipaddress.ip_address("168.63.129.16")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052; the last 32 bits are the IPv4 address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`host`: a DNS name in lower case, or an IP address without brackets."""

    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The host as an address; None if it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Endpoint:
    """The endpoint that `HOST:PORT` or `[IPV6]:PORT` says. Raises ValueError for anything else."""
    host, _, port = text.rpartition(":")
    host = host.lower().removesuffix(".")
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise ValueError(f"must be HOST:PORT with a port from 1 to 65535, such as {EXAMPLE}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Endpoint(str(ipaddress.IPv6Address(host[1:-1].partition("%")[0])), int(port))
        except ValueError:
            raise ValueError("must have an IPv6 address in brackets, such as [2001:db8::1]:443") from None
    if not _NAME.fullmatch(host):
        raise ValueError(f"must be HOST:PORT with a DNS name in ASCII (xn--… for others), such as {EXAMPLE}")
    last = host.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):  # what resolvers read as an IPv4 address, in all its spellings
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError("must have a DNS name, or an IPv4 address in four decimal numbers") from None
    return Endpoint(host, int(port))


def pattern(text: str) -> str:
    """A pattern as it is compared: `HOST:PORT`, or `*.NAME:PORT` for every name below. Raises ValueError."""
    wildcard, rest = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    found = parse(rest)
    if wildcard and found.address is not None:
        raise ValueError("must have a DNS name after *.")
    if found.address is not None and not may_connect(found.address, _of_address(found.address)):
        raise ValueError("is an address that is never connected to")
    return f"{wildcard}{found}"


def network(text: str) -> str:
    """A private network in CIDR notation. Raises ValueError for any other."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("must be a network in CIDR notation, such as 10.1.0.0/16") from None
    if not any(found.version == one.version and found.subnet_of(one) for one in PRIVATE):  # type: ignore[arg-type]
        allowed = ", ".join(map(str, PRIVATE))
        raise ValueError(f"must lie within one of {allowed}; public addresses need not be named")
    return str(found)


def matches(allowed: str, endpoint: Endpoint) -> bool:
    """Whether a pattern, as `pattern` returns it, allows the endpoint."""
    if not allowed.startswith("*."):
        return allowed == str(endpoint)
    return endpoint.address is None and str(endpoint).endswith(allowed[1:]) and len(str(endpoint)) >= len(allowed)


def may_connect(address: Address, networks: Iterable[Network]) -> bool:
    """Whether the address is public, or in one of these private networks, and none that is never connected to."""
    plain = _embedded(address)
    if plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain == _PLATFORM:
        return False
    if any(plain in one for one in PRIVATE):  # no address is in a network of the other version
        return any(plain in one for one in networks)
    is_obsolete = plain.version == 6 and plain.is_site_local  # RFC 3879
    return plain.is_global and not is_obsolete


def networks_of(allowed: str, named: Iterable[str]) -> tuple[Network, ...]:
    """The private networks that a pattern opens: those that are named, and the address that the pattern is."""
    found = tuple(ipaddress.ip_network(one) for one in named)
    address = None if allowed.startswith("*.") else parse(allowed).address
    return found if address is None else found + _of_address(address)


def _of_address(address: Address) -> tuple[Network, ...]:
    return (ipaddress.ip_network(_embedded(address)),)


def _embedded(address: Address) -> Address:
    """The IPv4 address in an IPv6 one, if that is what it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
