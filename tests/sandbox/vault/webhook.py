"""A webhook that records what it receives and answers as configured."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Webhook:
    """`received` holds (headers, body) of every notification; `statuses` the next answers, then 200.

    `moved_to`: the URL to which an answer of 3xx, and every handshake, sends the caller on.
    """

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], Any]] = []
        self.handshakes: list[tuple[str, dict[str, str], Any]] = []
        self.statuses: list[int] = []
        self.validate = True
        self.moved_to = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {key.lower(): value for key, value in self.headers.items()}
                if headers["aeg-event-type"] == "SubscriptionValidation":
                    if outer.moved_to:
                        self._answer(307, {})
                        return
                    outer.handshakes.append(("POST", headers, body))
                    code = body[0]["data"]["validationCode"]
                    self._answer(200, {"validationResponse": code if outer.validate else "wrong"})
                    return
                outer.received.append((headers, body))
                self._answer(outer.statuses.pop(0) if outer.statuses else 200, {})

            def do_OPTIONS(self) -> None:
                if outer.moved_to:
                    self._answer(307, {})
                    return
                outer.handshakes.append(("OPTIONS", dict(self.headers.items()), None))
                self.send_response(200)
                if outer.validate:
                    self.send_header("WebHook-Allowed-Origin", "eventgrid.azure.net")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", outer.moved_to)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def types(self, subject: str) -> list[str]:
        """The event types that came for this subject, without the service's prefix."""
        events = [event for _, body in list(self.received) for event in (body if isinstance(body, list) else [body])]
        return [
            event.get("eventType", event.get("type")).removeprefix("Microsoft.KeyVault.Certificate")
            for event in events
            if event["subject"] == subject
        ]


def eventually(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
