"""Faults on demand, throttling at Key Vault's published limits, and the count of every request."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.vault.errors import KeyVaultError

KINDS = ("error", "latency", "reset")
_WINDOW = 10.0  # seconds
# Per vault and region in ten seconds: https://learn.microsoft.com/azure/key-vault/general/service-limits
LIMITS = {"create-key": 20, "write": 300, "other": 4000}
_GROUPS = {"CreateCertificate": "create-key", "ImportCertificate": "write"}
_THROTTLED = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"


@dataclass
class Fault:
    """A fault to inject into an operation (`CreateCertificate`, …, or `*` for all), `times` times; None is for ever.

    `kind` is `error` (answer `status`), `reset` (drop the connection) or `latency` (wait `seconds`, then continue).
    `when` is `before` the effect or `after` it: then the work is done and the answer is lost.
    """

    kind: str = "error"
    operation: str = "*"
    status: int = 503
    when: str = "before"
    times: int | None = 1
    seconds: float = 0.0
    retry_after: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.when not in ("before", "after"):
            raise ValueError("kind must be error, latency or reset; when must be before or after")
        if not isinstance(self.status, int) or not 400 <= self.status <= 599:
            raise ValueError("status must be 400 to 599")
        if not isinstance(self.times, int | None) or not isinstance(self.retry_after, int | None):
            raise ValueError("times and retry_after must be whole numbers or null")
        if not isinstance(self.seconds, int | float) or not 0 <= self.seconds <= 3600:
            raise ValueError("seconds must be 0 to 3600")

    def error(self) -> KeyVaultError:
        """The error that this fault answers."""
        texts = {
            409: ("Conflict", "There was a conflict. Perform operations in a sequential manner."),
            429: ("Throttled", _THROTTLED),
            500: ("InternalServerError", "An unexpected error occurred."),
            503: ("ServiceUnavailable", "The service is temporarily unavailable."),
        }
        code, message = texts.get(self.status, ("BadParameter", "A fault injected by the sandbox."))
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return KeyVaultError(self.status, code, message, headers=headers)


class Faults:
    """The active faults and request limits. `now` is the clock (UNIX seconds) by which windows are counted."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._limits: dict[str, int] | None = None
        self._retry_after: int | None = None
        self._recent: dict[str, deque[float]] = {}

    def add(self, fault: Fault | None = None, **settings: Any) -> Fault:
        """Activate a fault. Raises ValueError if it is invalid."""
        fault = fault or Fault(**settings)
        with self._lock:
            self._faults.append(fault)
        return fault

    def throttle(self, limits: dict[str, int] | None = None, retry_after: int | None = None) -> None:
        """Enforce the published limits, or these (requests in ten seconds for `create-key`, `write`, `other`).

        Key Vault sends no Retry-After with its 429; `retry_after` (seconds) adds one.
        """
        chosen = {**LIMITS, **(limits or {})}
        if chosen.keys() != LIMITS.keys() or not all(isinstance(limit, int) for limit in chosen.values()):
            raise ValueError(f"limits must be whole numbers for {', '.join(LIMITS)}")
        with self._lock:
            self._limits = chosen
            self._retry_after = retry_after
            self._recent = {}

    def clear(self) -> None:
        """Remove all faults and limits."""
        with self._lock:
            self._faults = []
            self._limits = None

    def listed(self) -> dict[str, Any]:
        """The active faults and limits."""
        with self._lock:
            return {"faults": [asdict(fault) for fault in self._faults], "limits": self._limits}

    def take(self, operation: str, when: str) -> list[Fault]:
        """The faults that strike this request. Each one's `times` is counted down."""
        with self._lock:
            hit = [
                fault
                for fault in self._faults
                if fault.operation in ("*", operation) and fault.when == when and fault.times != 0
            ]
            for fault in hit:
                if fault.times is not None:
                    fault.times -= 1
            self._faults = [fault for fault in self._faults if fault.times != 0]
        return hit

    def check_limits(self, operation: str) -> None:
        """Raise 429 if this request exceeds a limit."""
        with self._lock:
            if self._limits is None:
                return
            group, now = _GROUPS.get(operation, "other"), self._now()
            recent = self._recent.setdefault(group, deque())
            while recent and recent[0] <= now - _WINDOW:
                recent.popleft()
            if len(recent) >= self._limits[group]:
                raise Fault(status=429, retry_after=self._retry_after).error()
            recent.append(now)


class Requests:
    """Counts requests by operation name. A request without a token counts as `Challenge`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._recent: deque[dict[str, Any]] = deque(maxlen=10_000)

    def count(self, operation: str, name: str, status: int) -> None:
        """Count one request; `status` is 0 if the connection was reset."""
        with self._lock:
            self._counts[operation] += 1
            self._recent.append({"operation": operation, "name": name, "status": status})

    def counts(self) -> dict[str, int]:
        """The number of requests by operation."""
        with self._lock:
            return dict(self._counts)

    def recent(self) -> list[dict[str, Any]]:
        """The latest requests: operation, name and status."""
        with self._lock:
            return list(self._recent)

    def total(self) -> int:
        """The number of requests without the challenges."""
        with self._lock:
            return sum(self._counts.values()) - self._counts["Challenge"]

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()
            self._recent.clear()
