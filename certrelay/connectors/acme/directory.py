"""The directory of an ACME server (RFC 8555, section 7.1.1): where its resources are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from certrelay.connectors.acme.problem import Problem, UnusableAnswer

REQUIRED = ("newNonce", "newAccount", "newOrder")
LIFETIME, SHORTEST_INTERVAL = timedelta(days=1), timedelta(minutes=1)


class Directory:
    """A server may move its resources at any time, so the directory is read once a day and after a 404.

    `read` asks the server for the document. The methods raise what `read` raises, and UnusableAnswer."""

    def __init__(self, read: Callable[[], dict[str, Any]], now: Callable[[], datetime]) -> None:
        self._read, self._now = read, now
        self._document: dict[str, Any] | None = None
        self._stale_at = self._next_read = datetime.min.replace(tzinfo=UTC)

    def document(self) -> dict[str, Any]:
        """The directory, at most a day old if the server answers."""
        if self._document is None:
            self._document = self._checked()
            self._stale_at = self._now() + LIFETIME
        elif self._now() >= self._stale_at:
            self._refresh()
        return self._document

    def has_moved(self, name: str, url: str) -> bool:
        """Whether the directory names another URL for a resource that answered 404 at `url`. It is read again for
        that, but at most once a minute."""
        if self._now() >= self._next_read:
            self._refresh()
        return self.document().get(name) not in (None, url)

    def _refresh(self) -> None:
        """Read the directory again. The known one is kept while the server cannot answer."""
        self._next_read = self._now() + SHORTEST_INTERVAL
        try:
            self._document = self._checked()
            self._stale_at = self._now() + LIFETIME
        except (Problem, UnusableAnswer, requests.RequestException):
            self._stale_at = self._next_read

    def _checked(self) -> dict[str, Any]:
        document = self._read()
        if not all(isinstance(document.get(name), str) for name in REQUIRED):
            raise UnusableAnswer("it answered something other than an ACME directory")
        return document
