"""Stands before a pebble and changes its answers: what a real ACME server may say, and pebble cannot be made to.

Its answers are not signed, and it makes its URLs from the Host that it is asked by; so all of them lead here.
"""

import json
import random
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import requests
import trustme

from tests.connectors.acme.pebble import Pebble

KEPT_HEADERS = ("Content-Type", "Location", "Link", "Replay-Nonce", "Retry-After")


@dataclass
class Answer:
    """`path` is what was asked: `/my-order/…`, `/authZ/…`, `/chalZ/…`, `/finalize-order/…`, `/certZ/…`; `request`
    is the body that came with it."""

    path: str
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    request: bytes = b""

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def say(self, document: Any, status: int | None = None) -> None:
        self.body, self.status = json.dumps(document).encode(), status or self.status

    def refuse(self, code: str, status: int, detail: str = "because") -> None:
        self.headers["Content-Type"] = "application/problem+json"
        self.say({"type": f"urn:ietf:params:acme:error:{code}", "detail": detail}, status)


type Change = Callable[[Answer], None]


class AcmeProxy:
    """`change` may be set at any time; it gets every answer to a POST. To the tests it looks like a Pebble."""

    def __init__(self, pebble: Pebble) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.tls_roots = authority.cert_pem.bytes().decode()
        self.change: Change = lambda answer: None
        self._pebble = pebble
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(self._tls)

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self._server.server_port}/dir"

    def __enter__(self) -> Self:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections are kept on both sides: a handshake costs more than a request
            disable_nagle_algorithm = True

            def handle(self) -> None:
                with requests.Session() as self.session:
                    self.session.trust_env = False
                    super().handle()

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = proxy.ask(self.session, self.command, self.path, body, self.headers["Host"])
                if self.command == "POST":
                    proxy.change(answer)
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        for method in ("GET", "HEAD", "POST"):
            setattr(Handler, f"do_{method}", Handler.pass_on)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def ask(self, session: requests.Session, method: str, path: str, body: bytes, host: str) -> Answer:
        url = self._pebble.directory.removesuffix("/dir") + path
        headers = {"Host": host, "Content-Type": "application/jose+json"}
        answer = session.request(method, url, data=body, headers=headers, verify=self._pebble.roots_file, timeout=60)
        kept = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
        return Answer(path, answer.status_code, answer.content, kept, body)


def shuffled(luck: random.Random) -> Change:
    """Every list in another order: identifiers, authorizations, challenges, links."""

    def change(answer: Answer) -> None:
        if "json" in answer.headers.get("Content-Type", "") and answer.body:
            answer.say(_shuffled(answer.document, luck))
        if links := answer.headers.get("Link", "").split(", "):
            luck.shuffle(links)
            answer.headers["Link"] = ", ".join(links)

    return change


def _shuffled(document: Any, luck: random.Random) -> Any:
    if isinstance(document, list):
        return luck.sample([_shuffled(one, luck) for one in document], len(document))
    if isinstance(document, dict):
        members = luck.sample(list(document), len(document))
        return {name: _shuffled(document[name], luck) for name in members}
    return document


def set_member(path: str, member: str, value: Any, **others: Any) -> Callable[[Answer], None]:
    def change(answer: Answer) -> None:
        if path in answer.path and answer.status == 200:
            answer.say({**answer.document, **others, member: value})

    return change
