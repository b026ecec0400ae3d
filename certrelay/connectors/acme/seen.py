"""What the server has just told this process of its orders, so that the same step does not read it twice.

Only this process's memory, and for one use: whoever has failed, died or waited for long reads from the server."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certrelay.connectors.acme.challenge import Challenge

FRESH = timedelta(minutes=5)
MAX_ORDERS = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """An order's document, and its challenges that are to be answered; None: they were not read. `at`: when (UTC).

    `visible` are the records that were seen by a call that had no time for all."""

    order: dict[str, Any]
    at: datetime
    waiting: tuple[Challenge, ...] | None = None
    visible: frozenset[tuple[str, str]] = frozenset()


class SeenOrders:
    """By the URL of the order; shared by threads. The oldest are dropped where there are too many."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now, self._lock = now, threading.Lock()
        self._orders: dict[str, Seen] = {}

    def keep(self, url: str, seen: Seen) -> None:
        """Remember it for the next step."""
        with self._lock:
            self._orders.pop(url, None)
            self._orders[url] = seen
            if len(self._orders) > MAX_ORDERS:
                del self._orders[next(iter(self._orders))]

    def take(self, url: str) -> Seen | None:
        """What was seen, and forget it; None if it is not fresh."""
        with self._lock:
            seen = self._orders.pop(url, None)
        return seen if seen is not None and self._now() - seen.at < FRESH else None
