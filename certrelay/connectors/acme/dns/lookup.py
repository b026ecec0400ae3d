"""What the DNS itself says: where a challenge name really lies, and whether its record is there."""

from contextlib import suppress

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns.settings import LookedUp, host_port

MAX_ALIASES = 8
SECONDS = 5.0
type Address = tuple[str, int]


class Lookup:
    """The methods raise DnsFailure."""

    def __init__(self, settings: LookedUp) -> None:
        self._name_servers = [host_port(address) for address in settings.name_servers]
        self._resolver = dns.resolver.Resolver(configure=not settings.resolvers)
        if settings.resolvers:
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(*host_port(address)) for address in settings.resolvers
            ]
        self._resolver.lifetime = SECONDS

    def target(self, name: str) -> dns.name.Name:
        """`name`, or the end of its chain of aliases (RFC 8555, section 8.4, lets the record lie elsewhere).

        A wildcard's alias is meant for hosts, and gives way to a record of the name's own (RFC 4592, section 4.3)."""
        current = dns.name.from_text(name)
        for _ in range(MAX_ALIASES):
            found = self._ask(current, "CNAME")
            if found is None or self._is_of_a_wildcard(current, found[0].target):
                return current
            current = found[0].target
        raise DnsFailure(f"{name} leads through more than {MAX_ALIASES} aliases")

    def _is_of_a_wildcard(self, name: dns.name.Name, target: dns.name.Name) -> bool:
        """Whether a wildcard above the name, and below the top level, has the same alias."""
        while len((name := name.parent()).labels) > 2:
            found = self._ask(dns.name.Name(("*", *name.labels)), "CNAME")
            if found is not None and found[0].target == target:
                return True
        return False

    def zone(self, name: dns.name.Name) -> dns.name.Name:
        """The closest name above that has a start of authority (RFC 1034, section 4.2.1)."""
        current = name
        while current != dns.name.root:
            if self._ask(current, "SOA"):
                return current
            current = current.parent()
        raise DnsFailure(f"no zone was found for {name.to_text(omit_final_dot=True)}")

    def is_visible(self, name: str, value: str) -> bool:
        """Whether every authoritative server gives `value` in the TXT records of the name's target."""
        target = self.target(name)
        servers = self._name_servers or self._servers_of(self.zone(target))
        return all(_gives(server, target, value) for server in servers)

    def _servers_of(self, zone: dns.name.Name) -> list[Address]:
        addresses = []
        for server in self._ask(zone, "NS") or ():
            found = [(answer.address, 53) for answer in self._ask(server.target, "A") or ()]
            found = found or [(answer.address, 53) for answer in self._ask(server.target, "AAAA") or ()]
            addresses += found
        if not addresses:
            raise DnsFailure(f"no name server was found for {zone.to_text(omit_final_dot=True)}")
        return addresses

    def _ask(self, name: dns.name.Name, kind: str) -> dns.resolver.Answer | None:
        try:
            answer = self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return None
        except (dns.exception.DNSException, OSError) as error:
            raise DnsFailure(f"the resolvers did not answer for {name} {kind} ({type(error).__name__})") from None
        # A resolver gives the records that an alias leads to; asked for is what lies at the name itself.
        return answer if answer.rrset is not None and answer.rrset.name == name else None


def _gives(server: Address, name: dns.name.Name, value: str) -> bool:
    query = dns.message.make_query(name, dns.rdatatype.TXT)
    query.flags &= ~dns.flags.RD
    try:
        answer = _answer(server, query)
    except (dns.exception.DNSException, OSError) as error:
        raise DnsFailure(f"the name server {server[0]} did not answer ({type(error).__name__})") from None
    texts = {
        b"".join(record.strings)
        for rrset in answer.answer
        if rrset.rdtype == dns.rdatatype.TXT and rrset.name == name
        for record in rrset
    }
    return value.encode() in texts


def _answer(server: Address, query: dns.message.QueryMessage) -> dns.message.Message:
    """Datagrams get lost, so it is asked twice."""
    with suppress(dns.exception.Timeout):
        return dns.query.udp_with_fallback(query, server[0], SECONDS / 2, server[1])[0]
    return dns.query.udp_with_fallback(query, server[0], SECONDS / 2, server[1])[0]
