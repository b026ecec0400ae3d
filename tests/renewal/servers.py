"""TLS servers on loopback with certificates of the tests' own, and servers that are none."""

import contextlib
import hashlib
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.endpoints import Endpoint
from tests.pki.builders import NOW, ec_key, rsa_key, sign, subject
from tests.pki.files import of_version, pem_block, signed_again


class Served:
    """A certificate with its key, that a server serves."""

    def __init__(
        self,
        name: str = "www.contoso.example",
        *,
        of_rsa: bool = False,
        ends: datetime | None = None,
        version: int = 3,
    ) -> None:
        self.key, own = rsa_key() if of_rsa else ec_key(), subject(name)
        begins = (ends or NOW + timedelta(days=30)) - timedelta(days=90)
        self.certificate = sign(self.key, own, self.key.public_key(), own, begins=begins, days=90)
        self.der = self.certificate.public_bytes(Encoding.DER)
        if version != 3:
            self.der = signed_again(self.certificate, self.key, of_version(version))

    @property
    def thumbprint(self) -> str:
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()

    @property
    def pem(self) -> bytes:
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + pem_block("CERTIFICATE", self.der)


def context(*served: Served) -> ssl.SSLContext:
    """A server's, with one certificate of each kind."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.num_tickets = 0  # what a client leaves unread turns its close into a reset
    with tempfile.TemporaryDirectory() as directory:
        for number, one in enumerate(served):
            path = Path(directory, str(number))
            path.write_bytes(one.pem)
            found.load_cert_chain(path)
    return found


class Server:
    """Answers each connection, one after the other, with `answer`; `seen` has what clients sent after a handshake."""

    def __init__(self, answer: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> None:
        self.answer, self.connections, self.seen, self.names = answer, 0, list[bytes](), list[str | None]()
        self.context: ssl.SSLContext | None = None
        self._listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._ends = False
        self._thread.start()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                if self._ends:
                    return
                self.connections += 1
                with contextlib.suppress(OSError):
                    self.answer(connection)

    def close(self) -> None:
        self._ends = True
        with contextlib.suppress(OSError):
            socket.create_connection(self._listening.getsockname()[:2]).close()
        self._thread.join()
        self._listening.close()


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    server = Server(answer, host, port)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def tls(context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """A TLS server; its `context` may be replaced. It has what clients sent in `seen`, and the names that they asked
    for in `names`."""

    def answer(connection: socket.socket) -> None:
        assert server.context is not None
        with server.context.wrap_socket(connection, server_side=True) as secured:
            server.seen.append(secured.recv(100))

    with serving(answer, host, port) as server:
        server.context = context
        context.sni_callback = lambda _tls, name, _context: server.names.append(name)
        yield server


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def until_closed(connection: socket.socket) -> None:
    """Read until the client gives up."""
    while connection.recv(4096):
        pass
