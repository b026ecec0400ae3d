"""Look at the certificate that an endpoint serves: one TLS handshake, and no byte more.

Nothing is verified and nothing is trusted: the served leaf is only compared with the newest version.
docs/decisions/0011-last-mile.md has the reasons.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from certrelay.endpoints import Endpoint, Network, may_connect
from certrelay.keyvault.certificate import thumbprint
from certrelay.pki.certificate import loaded

MAX_ADDRESSES = 4  # of one name
CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a look: seconds to connect to one address, seconds in all, and octets of one handshake."""

    connect: float = 5.0
    seconds: float = 15.0
    octets: int = 256 * 1024


class Unreachable(Exception):
    """Nothing could be seen; the message says why, in a clause."""


def addresses_of(host: str) -> list[str]:
    """The addresses of a name, as the operating system finds them. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))


@dataclass(frozen=True, slots=True)
class Looker:
    """How to look. `resolve`: the addresses of a name. `clock`: seconds that only grow."""

    limits: Limits = Limits()
    resolve: Callable[[str], Sequence[str]] = addresses_of
    clock: Callable[[], float] = time.monotonic

    def look(self, endpoint: Endpoint, networks: Iterable[Network], newest: str) -> tuple[bytes, ...]:
        """The served leaves (DER): the newest version's if every address that answers serves it (`newest` is its
        thumbprint), else those of the first that does not. `networks`: which private ones may be connected to.

        Raises Unreachable."""
        until = self.clock() + self.limits.seconds
        reasons, served = [], b""
        for address in self._addresses(endpoint, tuple(networks)):
            try:
                leaves = self._served_at(address, endpoint, newest, until)
            except Unreachable as error:
                reasons.append(str(error))
                continue
            served = next((leaf for leaf in leaves if thumbprint(leaf) == newest), b"")
            if not served:
                return leaves
        if not served:
            raise Unreachable(reasons[0])
        return (served,)

    def _addresses(self, endpoint: Endpoint, networks: tuple[Network, ...]) -> list[str]:
        try:
            found = [endpoint.host] if endpoint.address is not None else self.resolve(endpoint.host)
        except (OSError, UnicodeError):
            raise Unreachable("its name cannot be resolved") from None
        allowed = [one for one in found if may_connect(ipaddress.ip_address(one), networks)]
        if not allowed:
            raise Unreachable("it has no address that the setting CERTRELAY_ENDPOINTS allows")
        return allowed[:MAX_ADDRESSES]

    def _served_at(self, address: str, endpoint: Endpoint, newest: str, until: float) -> tuple[bytes, ...]:
        """What one address serves: to a handshake of any kind and, if that is not the newest, one of the other kind."""
        first = self._handshake(address, endpoint, _context(), until)
        if thumbprint(first) == newest:
            return (first,)
        # A server with one kind of key refuses the other kind.
        with suppress(Unreachable, ValueError, UnsupportedAlgorithm):
            other = "aECDSA" if isinstance(_public_key(first), rsa.RSAPublicKey) else "aRSA"
            return (first, self._handshake(address, endpoint, _context(other), until))
        return (first,)

    def _handshake(self, address: str, endpoint: Endpoint, context: ssl.SSLContext, until: float) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=endpoint.host)
        try:
            connect = min(self.limits.connect, self._left(until))
            with socket.create_connection((address, endpoint.port), timeout=connect) as connection:
                self._exchange(tls, incoming, outgoing, connection, until)
        except (Unreachable, OSError) as error:  # an ssl.SSLError is an OSError
            if leaf := _leaf(tls):  # it may have been shown before, as by a server that wants a client certificate
                return leaf
            raise Unreachable(_reason(error)) from None
        if leaf := _leaf(tls):
            return leaf
        raise Unreachable("it showed no certificate")

    def _exchange(
        self,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        connection: socket.socket,
        until: float,
    ) -> None:
        received = 0
        while True:
            try:
                tls.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                is_done = False
            connection.settimeout(self._left(until))
            connection.sendall(outgoing.read())
            if is_done:
                return
            connection.settimeout(self._left(until))
            octets = connection.recv(CHUNK)
            received += len(octets)
            if received > self.limits.octets:
                raise Unreachable("it sent too much before its certificate could be read")
            if octets:
                incoming.write(octets)
            else:
                incoming.write_eof()

    def _left(self, until: float) -> float:
        left = until - self.clock()
        if left <= 0:
            raise TimeoutError
        return left


def _context(kind: str = "") -> ssl.SSLContext:
    """For a handshake of any kind; or with `aRSA` or `aECDSA` for a server's certificate of that kind, which only
    TLS 1.2 can ask for here. Weak keys and algorithms are no reason not to see what is served."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{kind or 'DEFAULT'}:@SECLEVEL=0")
    if kind:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def _leaf(tls: ssl.SSLObject) -> bytes:
    chain = tls.get_unverified_chain()
    return chain[0] if chain else b""


def _public_key(leaf: bytes) -> object:
    return loaded(leaf).public_key()


def _reason(error: Exception) -> str:
    match error:
        case Unreachable():
            return str(error)
        case TimeoutError():
            return "it does not answer in time"
        case ConnectionRefusedError():
            return "it refuses the connection"
        case ssl.SSLError(
            reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST" | "UNEXPECTED_MESSAGE" | "PACKET_LENGTH_TOO_LONG"
        ):
            return "it does not speak TLS"
        case ConnectionError() | ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "it closes the connection"
        case ssl.SSLError():
            return f"its TLS handshake fails ({str(error.reason or 'unknown').lower().replace('_', ' ')})"
        case _:
            return "it cannot be connected to"
