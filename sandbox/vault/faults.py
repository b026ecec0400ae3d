"""Faults on demand, throttling at Key Vault's published limits, and the count of every request."""

import threading
import time
from collections import Counter, deque
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
    """What goes wrong. `operation` is a name such as `CreateCertificate`, or `*`; `times` None means for ever.

    `kind` error answers `status`; reset drops the connection; latency waits `seconds` and goes on.
    `when` before the effect, or after it: then the work is done and the answer lost.
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
            raise ValueError("kind is error, latency or reset; when is before or after")
        if not isinstance(self.status, int) or not 400 <= self.status <= 599:
            raise ValueError("status is 400 to 599")
        if not isinstance(self.times, int | None) or not isinstance(self.retry_after, int | None):
            raise ValueError("times and retry_after are whole numbers or null")
        if not isinstance(self.seconds, int | float) or not 0 <= self.seconds <= 3600:
            raise ValueError("seconds is 0 to 3600")

    def error(self) -> KeyVaultError:
        """The answer of an error."""
        texts = {
            409: ("Conflict", "There was a conflict. Perform operations in a sequential manner."),
            429: ("Throttled", _THROTTLED),
            500: ("InternalServerError", "An unexpected error occurred."),
            503: ("ServiceUnavailable", "The service is temporarily unavailable."),
        }
        code, message = texts.get(self.status, ("BadParameter", "A fault of the sandbox."))
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return KeyVaultError(self.status, code, message, headers=headers)


class Faults:
    """The faults in force. `throttle(…)` switches Key Vault's limits on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._limits: dict[str, int] | None = None
        self._retry_after: int | None = None
        self._recent: dict[str, deque[float]] = {}

    def add(self, fault: Fault | None = None, **settings: Any) -> Fault:
        """Put a fault in force. Raises ValueError for an impossible one."""
        fault = fault or Fault(**settings)
        with self._lock:
            self._faults.append(fault)
        return fault

    def throttle(self, limits: dict[str, int] | None = None, retry_after: int | None = None) -> None:
        """Enforce the published limits, or these (`create-key`, `write`, `other`, for ten seconds).

        Key Vault sends no Retry-After with its 429; `retry_after` (seconds) adds one.
        """
        chosen = {**LIMITS, **(limits or {})}
        if chosen.keys() != LIMITS.keys() or not all(isinstance(limit, int) for limit in chosen.values()):
            raise ValueError(f"limits are whole numbers for {', '.join(LIMITS)}")
        with self._lock:
            self._limits = chosen
            self._retry_after = retry_after
            self._recent = {}

    def clear(self) -> None:
        """No more faults and no throttling."""
        with self._lock:
            self._faults = []
            self._limits = None

    def listed(self) -> dict[str, Any]:
        """What is in force."""
        with self._lock:
            return {"faults": [asdict(fault) for fault in self._faults], "limits": self._limits}

    def take(self, operation: str, when: str) -> list[Fault]:
        """The faults that hit this request now, each counted down."""
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
        """Raise 429 when this request is one too many."""
        with self._lock:
            if self._limits is None:
                return
            group, now = _GROUPS.get(operation, "other"), time.monotonic()
            recent = self._recent.setdefault(group, deque())
            while recent and recent[0] <= now - _WINDOW:
                recent.popleft()
            if len(recent) >= self._limits[group]:
                raise Fault(status=429, retry_after=self._retry_after).error()
            recent.append(now)


class Requests:
    """Counts of the requests, by operation name; a request without a token counts as `Challenge`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._recent: deque[dict[str, Any]] = deque(maxlen=10_000)

    def count(self, operation: str, name: str, status: int) -> None:
        """Note one request; `status` is 0 when the connection was reset."""
        with self._lock:
            self._counts[operation] += 1
            self._recent.append({"operation": operation, "name": name, "status": status})

    def counts(self) -> dict[str, int]:
        """Number of requests by operation."""
        with self._lock:
            return dict(self._counts)

    def recent(self) -> list[dict[str, Any]]:
        """The last requests: operation, name and status."""
        with self._lock:
            return list(self._recent)

    def total(self) -> int:
        """All requests but the challenges."""
        with self._lock:
            return sum(self._counts.values()) - self._counts["Challenge"]

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()
            self._recent.clear()
