"""The app in the sandbox, called as Azure would call it."""

import base64
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

# A test does not wait for the queue as long as Azure makes it wait. The host takes this as Azure does. With 0.2 seconds
# a sandbox that does nothing would cost three times as much.
PROMPT = {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.5"}


@dataclass
class App:
    """The running app, and the admin API of the vault under it."""

    settings: dict[str, str]
    client: httpx.Client
    number: int = 0

    def name(self) -> str:
        self.number += 1
        return f"accepted-{self.number}"

    def call(self, method: str, path: str, body: Any = None, key: str = "FUNCTION_KEY") -> httpx.Response:
        url = self.settings["APP_URL"] + path
        return self.client.request(method, url, json=body, headers={"x-functions-key": self.settings.get(key, "")})

    def certificate(self, name: str, rest: str = "", method: str = "GET", body: Any = None) -> httpx.Response:
        return self.call(method, f"/api/vaults/main/certificates/{name}{rest}", body)

    def create(self, name: str, **body: Any) -> httpx.Response:
        return self.certificate(name, "/create", "POST", {"authority": "openbao", **body})

    def ended(self, name: str, seconds: float = 300) -> dict[str, Any]:
        """How its operation ended; by then nothing is left to be done about it, in Key Vault neither."""
        found: dict[str, Any] = {}

        def has_ended() -> bool:
            found.update(self.certificate(name, "/pending").json())
            return bool(found.get("status") != "inProgress")

        until(has_ended, seconds)
        until(lambda: not self.is_open(name), seconds)
        return found

    def is_open(self, name: str) -> bool:
        """Whether its operation has a row: an ended one has until it is closed, a moment after its end can be read."""
        connection = self.settings["STORAGE_CONNECTION_STRING"]
        with TableServiceClient.from_connection_string(connection) as tables:
            return name in [row["name"] for row in tables.get_table_client("operations").list_entities()]

    def vault_requests(self) -> dict[str, Any]:
        """How many there were by now: `total`, and `counts` by operation."""
        answer: dict[str, Any] = self.client.get(self.settings["VAULT_ADMIN_URL"] + "/requests").json()
        return answer

    def run(self, function: str, value: Any = "") -> int:
        return self.call("POST", f"/admin/functions/{function}", {"input": value}, "MASTER_KEY").status_code

    def queue(self, text: str, name: str = "signing") -> None:
        queues = QueueServiceClient.from_connection_string(self.settings["STORAGE_CONNECTION_STRING"])
        with contextlib.suppress(ResourceExistsError):  # the app makes it at its first use
            queues.create_queue(name)
        queues.get_queue_client(name).send_message(base64.b64encode(text.encode()).decode())


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Look again and again, ever more rarely: a look costs the app and its servers as much as what is waited for."""
    deadline, pause = time.monotonic() + seconds, 0.05
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.5)
