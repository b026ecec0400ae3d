"""Others: an authority that is too busy to answer, and people at an authority, who sign."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from certrelay.connectors.base import Context, SigningRequest
from certrelay.pki.subject import SubjectNames
from tests.world import TestCa


@contextmanager
def busy_authority() -> Iterator[str]:
    """Answers everything with 503, and asks to come back tomorrow. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(503)
            self.send_header("Retry-After", "86400")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_POST  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def signed_in_pem(csr: str) -> str:
    """What people at an authority would send back for a CSR in PEM."""
    return signed(base64.b64decode("".join(csr.strip().splitlines()[1:-1]))).decode()


def signed(csr: bytes) -> bytes:
    """The certificate and its chain. PEM."""
    ca = TestCa(None, Context("by-hand", lambda: datetime.now(UTC), lambda: None))
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    return ca.signed(SigningRequest("by-hand", csr, SubjectNames(), ends))
