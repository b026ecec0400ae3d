"""While the app works on the most expensive requests, it answers everybody else: no call keeps all threads waiting."""

import base64
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.app import App
from tests.pki import hostile

TRIES = 3  # what a single call holds up, it holds up each time; what the machine does is chance
LONGEST = 0.25  # seconds, on a machine that raises NOMINAL in its time
NOMINAL, NOMINAL_SECONDS = 2**2203 - 1, 0.03


def stored(data: bytes, password: str | None = None) -> dict[str, Any]:
    return {"value": base64.b64encode(data).decode(), **({"pwd": password} if password else {})}


REQUESTS: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
    "a large RSA key": lambda: ("import", stored(hostile.rsa_file(*hostile.rsa_numbers(2**4253 - 1, 2**3217 - 1)))),
    "the largest RSA key": lambda: ("import", stored(hostile.rsa_file(*hostile.rsa_numbers(2**2203 - 1, 2**1279 - 1)))),
    "hidden iterations": lambda: ("import", stored(hostile.hidden_iterations(), "x")),
    "scrypt": lambda: ("import", stored(hostile.scrypt(), "x")),
    **{
        kind: lambda kind=kind: ("import", stored(hostile.PKCS8 + hostile.HOSTILE[kind]()))  # type: ignore[misc]
        for kind in ("names and constraints", "directory names and constraints", "issuers of one name")
    },
    "names": lambda: ("create", {"dns_names": [f"a{number}.contoso.example" for number in range(30_000)]}),
    "nesting": lambda: ("create", {"tags": {str(number): "" for number in range(60_000)}}),
    "a subject": lambda: ("create", {"subject": "CN=a+" * 200_000}),
}


def slowness() -> float:
    """How much slower than an idle machine this one is now; at least 1."""
    started = time.monotonic()
    for _ in range(2):
        pow(3, NOMINAL - 1, NOMINAL)
    return max(1.0, (time.monotonic() - started) / 2 / NOMINAL_SECONDS)


def longest_delay(app: App, path: str, body: dict[str, Any]) -> float:
    """The longest time that GET /api/health took while the request was under way, in seconds of an idle machine."""
    answered = threading.Event()
    statuses: list[int] = []

    def send() -> None:
        try:
            statuses.append(app.certificate("www-hostile", path, "POST", body).status_code)
        finally:
            answered.set()

    sender, longest, begin = threading.Thread(target=send), 0.0, slowness()
    with httpx.Client(timeout=60, trust_env=False) as client:
        client.get(app.settings["APP_URL"] + "/api/health").raise_for_status()
        sender.start()
        while not answered.is_set():
            started = time.monotonic()
            client.get(app.settings["APP_URL"] + "/api/health").raise_for_status()
            longest = max(longest, time.monotonic() - started)
    sender.join()
    assert statuses in ([200], [400])
    return longest / max(begin, slowness())


@pytest.mark.parametrize("kind", REQUESTS)
def test_no_request_delays_the_health_probe(app: App, kind: str) -> None:
    path, body = REQUESTS[kind]()
    delays = []
    for _ in range(TRIES):
        delays.append(longest_delay(app, f"/{path}", body))
        if delays[-1] < LONGEST:
            return
    pytest.fail(f"GET /api/health took {delays} s")
