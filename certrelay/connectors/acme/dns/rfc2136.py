"""Challenge records by dynamic update, RFC 2136, signed with TSIG."""

from typing import Literal

import dns.exception
import dns.query
import dns.rcode
import dns.tsig
import dns.tsigkeyring
import dns.update

from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns.lookup import SECONDS, Lookup
from certrelay.connectors.acme.dns.settings import Rfc2136Dns, host_port

# What a server says of the signature (RFC 8945, section 5.3), and what to do.
_REFUSALS: dict[type[Exception], str] = {
    dns.tsig.PeerBadKey: "the server does not know key_name with this key_algorithm: correct them",
    dns.tsig.PeerBadSignature: "the server has another secret for the key: correct key_secret",
    dns.tsig.PeerBadTime: "the clock of the server is wrong, or ours: they may differ by five minutes",
}


class Rfc2136:
    """One primary server and one key."""

    def __init__(self, settings: Rfc2136Dns) -> None:
        self._settings = settings
        self._lookup = Lookup(settings)
        self._server = host_port(settings.server)
        try:
            self._keys = dns.tsigkeyring.from_text(
                {settings.key_name: (settings.key_algorithm, settings.key_secret.get_secret_value())}
            )
        except ValueError:
            raise DnsFailure("key_secret must be in base64") from None

    def publish(self, name: str, value: str) -> None:
        self._update("add", name, value)

    def is_visible(self, name: str, value: str) -> bool:
        return self._lookup.is_visible(name, value)

    def remove(self, name: str, value: str) -> None:
        self._update("delete", name, value)

    def _update(self, action: Literal["add", "delete"], name: str, value: str) -> None:
        """Adding an existing record, or deleting a missing one, changes nothing (section 3.4.2)."""
        target = self._lookup.target(name)
        zone = self._lookup.zone(target)
        update = dns.update.UpdateMessage(zone, keyring=self._keys)
        if action == "add":
            update.add(target, self._settings.ttl, "TXT", value)
        else:
            update.delete(target, "TXT", value)
        try:
            answer = dns.query.tcp(update, self._server[0], SECONDS, self._server[1])
        except (dns.exception.DNSException, OSError) as error:
            why = _REFUSALS.get(type(error), type(error).__name__)
            raise DnsFailure(f"the DNS update of {zone} failed ({why})") from None
        if answer.rcode() != dns.rcode.NOERROR:
            raise DnsFailure(f"the DNS server refused to update {zone} ({dns.rcode.to_text(answer.rcode())})")
