"""A simulation of AD CS web enrollment: pages of our own behind a real NTLM acceptor (`pyspnego`), over TLS.

Nobody's AD CS: it shows that `adcs` reads pages of the known form and logs in, not that Microsoft's server agrees.
Templates: `WebServer` issues, `Approved` waits for `approve`, `Closed` does not exist. Names outside example.com are
denied by the policy module.
"""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import spnego
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from spnego.channel_bindings import GssChannelBindings

from tests.connectors.estserver import make_certificate
from tests.connectors.signing_requests import PrivateKey, private_key

ACCEPTORS = {"NTLM": "ntlm", "Negotiate": "kerberos"}
DOMAIN, USER, PASSWORD = "EXAMPLE", "relay", "correct horse battery"

START = "<html><a href=certrqus.asp>Request a certificate</a></html>"
ISSUED = (
    "<html><p id=locPageTitle><b>Certificate Issued</b></p><a href='certnew.cer?ReqID={id}&amp;Enc=b64'>Download"
    " certificate</a><a href='certnew.p7b?ReqID={id}&amp;Enc=b64'>Download certificate chain</a></html>"
)
PENDING = (
    "<html><p id=locPageTitle><b>Certificate Pending</b></p><p>Your certificate request has been received. However,"
    " you must wait for an administrator to issue the certificate you requested.</p><p>Your Request Id is {id}.</p>"
)
DENIED = (
    "<html><p id=locPageTitle><b>Certificate Request Denied</b></p><p>Your certificate request was denied.</p>"
    "<p>Your Request Id is {id}. The disposition message is &quot;{message}&quot;.</p>"
)
NOT_ISSUED = (
    "<html><p><b>Error</b></p><table><tr><td>Request Id:</td><td>{id}</td></tr><tr><td>Disposition message:</td>"
    "<td>\t\t{message}\r\n</td></tr></table></html>"
)
TAKEN = "Taken Under Submission"


@dataclass
class Page:
    status: int
    body: bytes
    content_type: str = "text/html; charset=utf-8"


@dataclass
class Pages:
    """The state of the simulated authority."""

    ca_key: PrivateKey
    root: x509.Certificate
    url: str = ""
    ca_certificates: str = ""
    p7b: bool = True
    requests: list[tuple[str, x509.CertificateSigningRequest, str]] = field(default_factory=list)
    dispositions: dict[int, str] = field(default_factory=dict)
    leaves: dict[int, x509.Certificate] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def approve(self, request_id: str) -> None:
        self.dispositions[int(request_id)] = "Issued"

    def deny(self, request_id: str, message: str) -> None:
        self.dispositions[int(request_id)] = message

    def answer(self, method: str, path: str, form: dict[str, list[str]]) -> Page:
        self.seen.append(f"{method} {path}")
        parts = urlsplit(path)
        page, query = parts.path.rpartition("/")[2], parse_qs(parts.query)
        match page:
            case "":
                return Page(200, START.encode())
            case "certfnsh.asp":
                return self._request(form)
            case "certnew.cer" | "certnew.p7b":
                return self._certificate(int(query["ReqID"][0]), query["Enc"][0], page.endswith("p7b"))
        return Page(404, b"")

    def _request(self, form: dict[str, list[str]]) -> Page:
        template = dict(part.split(":", 1) for part in form["CertAttrib"][0].split())["CertificateTemplate"]
        try:
            csr = x509.load_pem_x509_csr(form["CertRequest"][0].encode())
        except ValueError:
            return Page(200, DENIED.format(id=0, message="ASN1 bad tag value met. 0x8009310b").encode())
        with self.lock:
            self.requests.append((template, csr, form["Mode"][0]))
            number = len(self.requests)
        message = self._policy(template, csr)
        self.dispositions[number] = message
        if message == "Issued":
            return Page(200, ISSUED.format(id=number).encode())
        return Page(200, (PENDING if message == TAKEN else DENIED).format(id=number, message=message).encode())

    def _policy(self, template: str, csr: x509.CertificateSigningRequest) -> str:
        if template == "Closed":
            return (
                "Denied by Policy Module  0x80094800, The request was for a certificate template that is not supported"
                " by the Active Directory Certificate Services policy: Closed. "
            )
        names = [str(attribute.value) for attribute in csr.subject]
        if not csr.is_signature_valid:
            return "Error Verifying Request Signature or Signing Certificate  0x80090006 Invalid Signature."
        if any(name.endswith("example.net") for name in names):
            return "Denied by Policy Module"
        return TAKEN if template == "Approved" else "Issued"

    def _certificate(self, number: int, encoding: str, chain: bool) -> Page:
        message = self.dispositions.get(number, "The request was not found")
        if message != "Issued":
            return Page(200, NOT_ISSUED.format(id=number, message=message).encode())
        with self.lock:
            leaf = self.leaves[number] = self.leaves.get(number) or self._sign(number)
        if not chain:
            der = leaf.public_bytes(Encoding.DER)
            body = der if encoding == "bin" else leaf.public_bytes(Encoding.PEM)
            return Page(200, body, "application/pkix-cert")
        if not self.p7b:
            return Page(500, b"")
        der = pkcs7.serialize_certificates([leaf, self.root], Encoding.DER)
        pem = b"-----BEGIN CERTIFICATE-----\r\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\r\n"
        return Page(200, der if encoding == "bin" else pem, "application/x-pkcs7-certificates")

    def _sign(self, number: int) -> x509.Certificate:
        csr, now = self.requests[number - 1][1], datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(self.root.subject)
            .public_key(csr.public_key())
            .serial_number(1000 + number)
            .not_valid_before(now - timedelta(minutes=10))
            .not_valid_after(now + timedelta(days=365))
        )
        for extension in csr.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return builder.sign(self.ca_key, hashes.SHA256())


class _Server(ThreadingHTTPServer):
    def __init__(self, pages: Pages, binding: bytes) -> None:
        self.pages, self.binding = pages, binding
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    acceptor: spnego.ContextProxy | None = None
    logged_in = False

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.logged_in and not self.log_in():
            return
        page = self.server.pages.answer(self.command, self.path, parse_qs(body.decode()))
        self.reply(page.status, page.body, {"Content-Type": page.content_type})

    def log_in(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            expected = base64.b64encode(f"{DOMAIN}\\{USER}:{PASSWORD}".encode()).decode()
            return token == expected or self.refuse("Basic")
        if scheme not in ACCEPTORS:
            return self.refuse("Negotiate", "NTLM", 'Basic realm="example"')
        if self.acceptor is None:
            bindings = GssChannelBindings(application_data=self.server.binding)
            self.acceptor = spnego.server(protocol=ACCEPTORS[scheme], channel_bindings=bindings)
        try:
            challenge = self.acceptor.step(base64.b64decode(token))
        except spnego.exceptions.SpnegoError:
            self.acceptor = None
            return self.refuse(scheme)
        if not self.acceptor.complete:
            return self.refuse(f"{scheme} {base64.b64encode(challenge or b'').decode()}")
        self.logged_in = True
        return True

    def refuse(self, *offers: str) -> bool:
        self.reply(401, b"<html>not you</html>", {"WWW-Authenticate": ", ".join(offers)})
        return False

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


for method in ("GET", "POST"):
    setattr(_Handler, f"do_{method}", _Handler.handle_any)


@contextmanager
def adcs_pages() -> Iterator[Pages]:
    """The pages, running. NTLM_USER_FILE must name a file with the line DOMAIN:USER:PASSWORD."""
    ca_key = private_key("rsa-2048", "AD CS")
    pages = Pages(ca_key, make_certificate("Example Issuing CA", ca_key, None, ca_key, is_ca=True))
    web_root = trustme.CA()
    certificate = web_root.issue_cert("127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(tls)
    served = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    digest = served.fingerprint(served.signature_hash_algorithm or hashes.SHA256())
    with _Server(pages, b"tls-server-end-point:" + digest) as http:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
        pages.url = f"https://127.0.0.1:{http.server_port}"
        pages.ca_certificates = web_root.cert_pem.bytes().decode()
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield pages
        finally:
            http.shutdown()
            thread.join()
