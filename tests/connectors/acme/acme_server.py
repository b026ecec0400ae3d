"""An ACME server of the tests' own (RFC 8555, RFC 9773), for what pebble cannot be made to do.

It verifies no signature and asks no DNS: answering a dns-01 challenge makes its authorization valid. Everything else is
as in the RFC, over plain HTTP on loopback, and `change` may alter every answer.
"""

import base64
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from josepy.json_util import decode_b64jose

from tests.connectors.acme.acme_proxy import Answer

RESOURCES = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo")


@dataclass
class Request:
    """`target` is path and query as they were sent; `payload` is the JWS's, None for POST-as-GET and for GET."""

    method: str
    target: str
    payload: Any = None
    account: str = ""
    key: str = ""


@dataclass
class Order:
    identifiers: list[dict[str, str]]
    replaces: str | None
    answered: set[int] = field(default_factory=set)
    certificate: x509.Certificate | None = None


class AcmeServer:
    """`directory_target` is the directory's path, with its query if it has one; all other resources lie below
    `prefix`, which may change while the server runs. `windows` maps a certificate id to its renewal info."""

    def __init__(self, directory_target: str = "/directory") -> None:
        self.directory_target, self.prefix = directory_target, "/acme"
        self.change: Callable[[Request, Answer], None] = lambda request, answer: None
        self.requests: list[Request] = []
        self.accounts: dict[str, list[str]] = {}
        self.orders: list[Order] = []
        self.renewal_info: Callable[[str], Any] = lambda certificate_id: None
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = _self_signed(self._key)
        self._lock = threading.Lock()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def directory(self) -> str:
        return self.origin + self.directory_target

    def count(self, resource: str) -> int:
        """How many requests went to a resource."""
        return sum(f"/{resource}" in request.target for request in self.requests)

    def refuse(self, resource: str, code: str, status: int, detail: str = "because") -> None:
        """Refuse every request to a resource from now on."""

        def change(request: Request, answer: Answer) -> None:
            if f"/{resource}" in request.target:
                answer.refuse(code, status, detail)

        self.change = change

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with server._lock:
                    request = _read(self.command, self.path, body)
                    server.requests.append(request)
                    answer = server._answer(request)
                    server.change(request, answer)
                self.send_response(answer.status)
                headers = {"Replay-Nonce": secrets.token_urlsafe(12), "Content-Length": str(len(answer.body))}
                for name, value in {**headers, **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        for method in ("GET", "HEAD", "POST"):
            setattr(Handler, f"do_{method}", Handler.answer)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, *parts: object) -> str:
        return "/".join([self.origin + self.prefix, *map(str, parts)])

    def _answer(self, request: Request) -> Answer:
        answer = Answer(request.target, 404, b"")
        if request.target == self.directory_target:
            answer.say({name: self.url(name) for name in RESOURCES}, 200)
            return answer
        if not request.target.startswith(f"{self.prefix}/"):
            answer.refuse("malformed", 404, "there is no such page")
            return answer
        resource, *rest = request.target.removeprefix(f"{self.prefix}/").split("/")
        match resource, rest:
            case "newNonce", []:
                answer.status = 200
            case "newAccount", []:
                self._new_account(request, answer)
            case "account", [_]:
                self._account(request, answer)
            case "keyChange", []:
                self._change_key(request, answer)
            case "newOrder", []:
                self._new_order(request, answer)
            case "renewalInfo", [certificate_id]:
                info = self.renewal_info(certificate_id)
                answer.refuse("malformed", 404, "no such certificate") if info is None else answer.say(info, 200)
            case (("order" | "authorization" | "challenge" | "finalize" | "certificate"), [number, *index]):
                self._of_order(resource, int(number), int(index[0]) if index else 0, request, answer)
            case _:
                answer.refuse("malformed", 404, "there is no such page")
        return answer

    def _new_account(self, request: Request, answer: Answer) -> None:
        known = request.key in self.accounts
        if not known and request.payload.get("onlyReturnExisting"):
            answer.refuse("accountDoesNotExist", 400)
            return
        self.accounts.setdefault(request.key, request.payload.get("contact", []))
        answer.headers["Location"] = self.url("account", list(self.accounts).index(request.key))
        answer.say({"status": "valid"}, 200 if known else 201)

    def _account(self, request: Request, answer: Answer) -> None:
        owner = list(self.accounts)[int(request.target.rsplit("/", 1)[1])]
        if request.payload and "contact" in request.payload:
            self.accounts[owner] = request.payload["contact"]
        answer.say({"status": "valid"}, 200)  # without the contacts, as Let's Encrypt answers

    def _change_key(self, request: Request, answer: Answer) -> None:
        new = json.loads(decode_b64jose(request.payload["protected"]))["jwk"]
        old = json.loads(decode_b64jose(request.payload["payload"]))["oldKey"]
        before, after = (json.dumps(key, sort_keys=True) for key in (old, new))
        self.accounts = {after if key == before else key: contacts for key, contacts in self.accounts.items()}
        answer.say({"status": "valid"}, 200)

    def _new_order(self, request: Request, answer: Answer) -> None:
        self.orders.append(Order(request.payload["identifiers"], request.payload.get("replaces")))
        number = len(self.orders) - 1
        answer.headers["Location"] = self.url("order", number)
        answer.say(self._order(number), 201)

    def _order(self, number: int) -> dict[str, Any]:
        order = self.orders[number]
        every = range(len(order.identifiers))
        status = "ready" if order.answered == set(every) else "pending"
        document: dict[str, Any] = {
            "status": "valid" if order.certificate else status,
            "identifiers": order.identifiers,
            "authorizations": [self.url("authorization", number, one) for one in every],
            "finalize": self.url("finalize", number),
        }
        if order.certificate:
            document["certificate"] = self.url("certificate", number)
        return document

    def _of_order(self, resource: str, number: int, index: int, request: Request, answer: Answer) -> None:
        order = self.orders[number]
        match resource:
            case "authorization":
                answer.say(self._authorization(number, index), 200)
            case "challenge":
                order.answered.add(index)
                answer.say({"status": "valid"}, 200)
            case "certificate" if order.certificate:
                answer.body = b"".join(one.public_bytes(Encoding.PEM) for one in (order.certificate, self.root))
                answer.status = 200
            case "finalize" | "order":
                if resource == "finalize":
                    order.certificate = self._issue(x509.load_der_x509_csr(decode_b64jose(request.payload["csr"])))
                answer.say(self._order(number), 200)

    def _authorization(self, number: int, index: int) -> dict[str, Any]:
        order = self.orders[number]
        status = "valid" if index in order.answered else "pending"
        challenge = {
            "type": "dns-01",
            "url": self.url("challenge", number, index),
            "status": status,
            "token": f"token-{number}-{index}",
        }
        return {"identifier": order.identifiers[index], "status": status, "challenges": [challenge]}

    def _issue(self, csr: x509.CertificateSigningRequest) -> x509.Certificate:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        now = datetime.now(UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = x509.CertificateBuilder().subject_name(csr.subject).issuer_name(self.root.subject)
        builder = builder.public_key(csr.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=90))
        builder = builder.add_extension(names.value, critical=False).add_extension(issuer, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _read(method: str, target: str, body: bytes) -> Request:
    if not body:
        return Request(method, target)
    envelope = json.loads(body)
    protected, payload = json.loads(decode_b64jose(envelope["protected"])), decode_b64jose(envelope["payload"])
    key = json.dumps(protected.get("jwk", ""), sort_keys=True)
    return Request(method, target, json.loads(payload) if payload else None, protected.get("kid", ""), key)


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Tests' Own {base64.b16encode(secrets.token_bytes(4))!r}")]
    )
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())


class MemorySolver:
    """Keeps the challenge records in memory; the server above asks for none."""

    def __init__(self) -> None:
        self.records: set[tuple[str, str]] = set()

    def publish(self, name: str, value: str) -> None:
        self.records.add((name, value))

    def is_visible(self, name: str, value: str) -> bool:
        return (name, value) in self.records

    def remove(self, name: str, value: str) -> None:
        self.records.discard((name, value))


def failed_orders(error: Any, member: str) -> Callable[[Request, Answer], None]:
    """A change with which every order fails when its challenges were answered; its `member` (order, challenge) has the
    error."""

    def change(request: Request, answer: Answer) -> None:
        if "/order/" in request.target and answer.document["status"] in ("ready", "valid"):
            answer.say({**answer.document, "status": "invalid", **({"error": error} if member == "order" else {})})
        if "/authorization/" in request.target and answer.document["status"] == "valid" and member == "challenge":
            challenge = {**answer.document["challenges"][0], "status": "invalid", "error": error}
            answer.say({**answer.document, "status": "invalid", "challenges": [challenge]})

    return change
