"""How the last deliveries to each target went: one row for each target in the table `watch`.

Two workers may deliver to a target at once, so a row is merged and never read first: it has the last delivery that
succeeded and the last one that failed.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime

from certrelay.errors import NotReady
from certrelay.services import Services
from certrelay.storage.rows import Row
from certrelay.storage.watch import time_of

PARTITION = "delivery"
MAX_SUBJECT = 1000  # characters


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try to deliver one event, at `at` (UTC). `event`: its kind, such as `failed`. `subject`: what it is about.

    `status`: the HTTP status of the response; 0 without a response."""

    at: datetime
    event: str
    subject: str
    status: int

    @property
    def delivered(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Last:
    """The last delivery to a target that succeeded, and the last one that failed; None if there was none yet."""

    delivered: Delivery | None
    failed: Delivery | None


def remember(services: Services, target: str, delivery: Delivery) -> None:
    """Remember a delivery. Does not raise: what cannot be remembered is no reason to tell people twice."""
    prefix = "delivered" if delivery.delivered else "failed"
    columns: Row = {f"{prefix}_{part}": value for part, value in asdict(delivery).items()}
    columns |= {f"{prefix}_at": delivery.at.isoformat(), f"{prefix}_subject": delivery.subject[:MAX_SUBJECT]}
    with suppress(NotReady):
        services.storage.watch.merge(PARTITION, target, columns)


def last(services: Services) -> dict[str, Last]:
    """By target. Raises NotReady."""
    rows = services.storage.watch.rows(PARTITION)
    return {target: Last(_read(row, "delivered"), _read(row, "failed")) for target, row in rows.items()}


def _read(row: Row, prefix: str) -> Delivery | None:
    """The delivery in the columns with this prefix; None without one, or if it cannot be read."""
    at = time_of(row, f"{prefix}_at")
    if at is None:
        return None
    event, subject, status = (row.get(f"{prefix}_{part}") for part in ("event", "subject", "status"))
    return Delivery(at, str(event), str(subject), status if isinstance(status, int) else 0)
