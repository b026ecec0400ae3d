"""DNS queries: where a challenge name leads, in which zone it lies, and whether its record is visible."""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from certrelay.connectors.acme.dns import DnsFailure, SilentServers
from certrelay.connectors.acme.dns.settings import LookedUp, host_port

MAX_ALIASES = 8
SECONDS, SILENCE_SECONDS = 5.0, 60.0
type Address = tuple[str, int]
type Texts = frozenset[bytes]


class Lookup:
    """All methods raise DnsFailure."""

    def __init__(self, settings: LookedUp) -> None:
        self._name_servers = [host_port(address) for address in settings.name_servers]
        self._resolver = dns.resolver.Resolver(configure=not settings.resolvers)
        own = [(str(server), self._resolver.port) for server in self._resolver.nameservers]
        self._recursive = [_Recursive(*address) for address in own or map(host_port, settings.resolvers)]
        self._resolver.lifetime, self._resolver.timeout = SECONDS, SECONDS * 2 / 5
        self._silent_until: dict[Address, float] = {}

    def target(self, name: str) -> dns.name.Name:
        """The name, or the end of its chain of aliases (CNAME), which RFC 8555, section 8.4, allows.

        The alias of a wildcard is meant for hosts; a record at the name itself overrides it (RFC 4592, section 4.3)."""
        current = dns.name.from_text(name)
        for _ in range(MAX_ALIASES):
            found = self._ask(current, "CNAME")
            if found is None or self._is_of_a_wildcard(current, found[0].target):
                return current
            current = found[0].target
        raise DnsFailure(f"{name} has a chain of more than {MAX_ALIASES} aliases")

    def _is_of_a_wildcard(self, name: dns.name.Name, target: dns.name.Name) -> bool:
        """Whether a wildcard above the name, below the top level, has the same alias."""
        while len((name := name.parent()).labels) > 2:
            found = self._ask(dns.name.Name(("*", *name.labels)), "CNAME")
            if found is not None and found[0].target == target:
                return True
        return False

    def zone(self, name: dns.name.Name) -> dns.name.Name:
        """The zone: the closest name, upwards, that has a SOA record (RFC 1034, section 4.2.1)."""
        current = name
        while current != dns.name.root:
            if self._ask(current, "SOA"):
                return current
            current = current.parent()
        raise DnsFailure(f"no zone was found for {name.to_text(omit_final_dot=True)}")

    def is_visible(self, name: str, value: str) -> bool:
        """Whether all authoritative servers have `value` in the TXT records of the name's target: see `all_have`."""
        return self.all_have(name, lambda texts: value.encode() in texts)

    def all_have(self, name: str, has: Callable[[Texts], bool]) -> bool:
        """Whether `has` is true for the TXT records of the name's target, at all authoritative servers.

        If some do not answer and it is at all others: raises SilentServers, or DnsFailure if fewer than half answer."""
        target = self.target(name)
        servers, silent = (self._name_servers, []) if self._name_servers else self._servers_of(self.zone(target))
        every = len(servers) + len(silent)
        for server in servers:
            gives = self._gives(server, target, has)
            if gives is False:
                return False
            if gives is None:
                silent.append(server[0])
        if not silent:
            return True
        text = f"the name server{'s'[: len(silent) > 1]} {', '.join(silent)} did not answer"
        raise SilentServers(text) if 2 * len(silent) <= every else DnsFailure(text)

    def _gives(self, server: Address, target: dns.name.Name, has: Callable[[Texts], bool]) -> bool | None:
        """Whether a server's records are right; None if it does not answer. It is then not asked again for a minute."""
        if monotonic() < self._silent_until.get(server, 0.0):
            return None
        try:
            # The servers in the settings may be resolvers, for networks that block queries to other servers.
            return has(_texts(server, target, recursive=bool(self._name_servers)))
        except DnsFailure:
            self._silent_until[server] = monotonic() + SILENCE_SECONDS
            return None

    def _servers_of(self, zone: dns.name.Name) -> tuple[list[Address], list[str]]:
        """The addresses of the zone's name servers, and the names of servers whose address cannot be looked up now."""
        addresses, unknown = [], []
        for server in self._ask(zone, "NS") or ():
            try:
                found = [(answer.address, 53) for answer in self._ask(server.target, "A") or ()]
                found = found or [(answer.address, 53) for answer in self._ask(server.target, "AAAA") or ()]
            except DnsFailure:
                unknown.append(server.target.to_text(omit_final_dot=True))
            else:
                addresses += found
        if not addresses:
            raise DnsFailure(f"no name server was found for {zone.to_text(omit_final_dot=True)}")
        return addresses, unknown

    def _ask(self, name: dns.name.Name, kind: str) -> dns.resolver.Answer | None:
        self._resolver.nameservers = [*sorted(self._recursive, key=_Recursive.is_silent)]
        try:
            answer = self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return None
        except (dns.exception.DNSException, OSError) as error:
            raise DnsFailure(f"the resolvers did not answer for {name} {kind} ({type(error).__name__})") from None
        # Resolvers follow aliases; only records at the name itself count.
        return answer if answer.rrset is not None and answer.rrset.name == name else None


class _Recursive(dns.nameserver.Do53Nameserver):
    """A resolver that is asked last for a minute after it has not answered. Each name of an order takes some ten
    queries, and each would wait for it."""

    _silent_until = 0.0

    def is_silent(self) -> bool:
        return monotonic() < self._silent_until

    def query(self, *arguments: Any, **options: Any) -> dns.message.Message:
        try:
            return super().query(*arguments, **options)
        except dns.exception.Timeout:
            self._silent_until = monotonic() + SILENCE_SECONDS
            raise


def _texts(server: Address, name: dns.name.Name, *, recursive: bool = False) -> Texts:
    """The TXT records that a server has at the name. Raises DnsFailure if it does not answer, or answers an error."""
    query = dns.message.make_query(name, dns.rdatatype.TXT)
    if not recursive:
        query.flags &= ~dns.flags.RD
    try:
        answer = _answer(server, query)
    except (dns.exception.DNSException, OSError) as error:
        raise DnsFailure(f"the name server {server[0]} did not answer ({type(error).__name__})") from None
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise DnsFailure(f"the name server {server[0]} answered {dns.rcode.to_text(answer.rcode())}")
    return frozenset(
        b"".join(record.strings)
        for rrset in answer.answer
        if rrset.rdtype == dns.rdatatype.TXT and rrset.name == name
        for record in rrset
    )


def _answer(server: Address, query: dns.message.QueryMessage) -> dns.message.Message:
    """Ask twice, since datagrams get lost."""
    with suppress(dns.exception.Timeout):
        return dns.query.udp_with_fallback(query, server[0], SECONDS / 2, server[1])[0]
    return dns.query.udp_with_fallback(query, server[0], SECONDS / 2, server[1])[0]
