"""Let's Encrypt's test server pebble and its test DNS pebble-challtestsrv, from Debian, on free ports of 127.0.0.1."""

import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import dns.message
import dns.query
import dns.rcode
import requests
import trustme
from cryptography import x509
from dns.exception import DNSException

from sandbox.ports import free_ports
from sandbox.processes import Processes
from tests.connectors.debian import unpacked

SUITE = "sid"  # 2.10: trixie's 2.6 has no profiles


class Program:
    """One child process, ended with the `with` block, or with this process. Its log is `log`, if one is given."""

    seconds = 300.0  # for the start

    def __init__(
        self, command: Sequence[str | Path], ready: Callable[[], bool], log: Path | None = None, **environment: str
    ) -> None:
        self.command, self.ready, self.log, self.environment = command, ready, log, environment
        self._running = ExitStack()

    def start(self) -> None:
        with ExitStack() as stack:
            log = self.log or Path(stack.enter_context(TemporaryDirectory()), "program.log")
            processes = stack.enter_context(Processes(log.parent))
            child = processes.start(log.stem, self.command, env={"PATH": os.environ["PATH"], **self.environment})
            child.wait_until(self.ready, self.seconds)
            self._running = stack.pop_all()

    def stop(self) -> None:
        self._running.close()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def resolves(host: str, port: int, name: str) -> bool:
    """Whether a name server answers over UDP, and not with an error: it listens before it has its zones."""
    with suppress(OSError, DNSException):
        return dns.query.udp(dns.message.make_query(name, "TXT"), host, 1, port).rcode() == dns.rcode.NOERROR
    return False


class TestDns:
    """pebble-challtestsrv: answers what its HTTP interface was told."""

    __test__ = False

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        [own, self.management] = free_ports(2)
        self.port = port or own
        off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]
        program = unpacked("pebble", ["pebble"], SUITE) / "usr/bin/pebble-challtestsrv"
        listen = ["-dnsserver", f"{host}:{self.port}", "-management", f"127.0.0.1:{self.management}"]
        self._program = Program(
            [program, *listen, *off], lambda: listens(self.management) and resolves(host, self.port, "x.example")
        )

    def __enter__(self) -> Self:
        self._program.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()

    def tell(self, path: str, **body: str) -> None:
        with closing(HTTPConnection("127.0.0.1", self.management, timeout=60)) as connection:
            connection.request("POST", f"/{path}", json.dumps(body))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()


class Pebble:
    """One pebble. `settings` go into its configuration, `knobs` (PEBBLE_…) into its environment."""

    def __init__(self, folder: Path, dns_port: int, settings: dict[str, Any] | None = None, **knobs: str) -> None:
        [self.port, self.management] = free_ports(2)
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        server = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
        folder.mkdir(parents=True, exist_ok=True)
        server.private_key_pem.write_to_path(str(folder / "tls.key"))
        server.cert_chain_pems[0].write_to_path(str(folder / "tls.pem"))
        self.tls_roots = authority.cert_pem.bytes().decode()
        configuration = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(folder / "tls.pem"),
            "privateKey": str(folder / "tls.key"),
            "httpPort": 5002,
            "tlsPort": 5001,
            "domainBlocklist": ["blocked.example.net"],
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {
                "default": {"description": "90 days", "validityPeriod": 7_776_000},
                "shortlived": {"description": "6 days", "validityPeriod": 518_400},
            },
            **(settings or {}),
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": configuration}))
        self._http = requests.Session()
        self._http.verify = self.roots_file = str(folder / "roots.pem")
        self._http.trust_env = False
        (folder / "roots.pem").write_text(self.tls_roots)
        program = unpacked("pebble", ["pebble"], SUITE) / "usr/bin/pebble"
        command: list[str | Path] = [program, "-config", folder / "pebble.json", "-dnsserver", f"127.0.0.1:{dns_port}"]
        environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", **knobs}
        self.log = folder / "pebble.log"
        self._program = Program(
            command, lambda: listens(self.port) and listens(self.management), self.log, **environment
        )

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def __enter__(self) -> Self:
        self._program.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()
        self._http.close()

    def restart(self) -> None:
        """It forgets all accounts and orders, and gets new roots."""
        self._program.stop()
        self._program.start()

    def roots(self) -> list[x509.Certificate]:
        """Of the first chain and of the alternate ones."""
        found, number = [], 0
        while (answer := self._management(f"roots/{number}")).ok and b"BEGIN" in answer.content:
            found += x509.load_pem_x509_certificates(answer.content)
            number += 1
        return found

    def is_revoked(self, certificate: x509.Certificate) -> bool:
        answer = self._management(f"cert-status-by-serial/{certificate.serial_number:x}")
        assert answer.ok, answer.text
        return bool(answer.json()["Status"] == "Revoked")

    def _management(self, path: str) -> requests.Response:
        return self._http.get(f"https://127.0.0.1:{self.management}/{path}", timeout=60)
