"""What the routes of each noun have in common: the connection, and the JSON of an answer."""

from typing import Any

from certrelay_client.transport import Transport


class Routes:
    """The base of all routes."""

    _transport: Transport

    def _json(self, method: str, path: str, **more: Any) -> Any:
        return self._transport.json(method, path, **more)
