"""What the sweep remembers of a certificate: failed renewals, its renewal window (RFC 9773), and alerts sent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

SWEEP_INTERVAL = timedelta(hours=1)
MAX_FAILURES = 10_000  # a row holds no more than 32 bits
LONGEST_REASON = 500  # characters
FIRST_DELAY, SHORTEST_DELAY, LONGEST_SHARE = timedelta(hours=1), timedelta(minutes=10), 1 / 8


@dataclass(frozen=True, slots=True)
class RenewalRecord:
    """One certificate's record. Times are UTC.

    It is about the version with this SHA-1 `thumbprint` (hex; empty: whichever is the newest). `failures` renewals of
    it failed in a row, the last one for the reason `last_failure`; the next one starts no sooner than
    `backed_off_until`. The authority's renewal information says
    to renew at `renew_at`, and is asked again at `ask_at`; for what Key Vault renews itself, `ask_at` is when to read
    its policy again. `alerted` is the last alert that was sent: its stage and version. `unfinished` is a change of tags
    and policy that was begun (certrelay.renewal.two_writes). `signer` is the authority that signed the version, if it
    was a fall-back of its own. `names` are those in the version, as JSON (certrelay.storage.shown_names).
    """

    vault: str
    name: str
    failures: int = 0
    backed_off_until: datetime | None = None
    thumbprint: str = ""
    window_start: datetime | None = None
    window_end: datetime | None = None
    renew_at: datetime | None = None
    ask_at: datetime | None = None
    explanation_url: str = ""
    alerted: str = ""
    unfinished: str = ""
    signer: str = ""
    names: str = ""
    last_failure: str = ""

    def about(self, thumbprint: str) -> "RenewalRecord":
        """The record as it holds for this version. What it says of an older one is dropped."""
        if self.thumbprint in ("", thumbprint):
            return replace(self, thumbprint=thumbprint)
        return RenewalRecord(self.vault, self.name, thumbprint=thumbprint, alerted=self.alerted)

    def due(self, by_dates: datetime) -> datetime:
        """When to renew: by the certificate's dates or its renewal window, and not before its back-off is over."""
        due = min(by_dates, self._suggested() or by_dates)
        return max(due, self.backed_off_until or due)

    def _suggested(self) -> datetime | None:
        """When to act on the renewal information: at the last sweep before its moment, if the window is open then
        (RFC 9773, section 4.2). Outside the window the order would not be exempt from rate limits."""
        start = self.window_start
        if self.renew_at is None or start is None or self.renew_at <= start:
            return self.renew_at
        return start if self.renew_at - start <= SWEEP_INTERVAL else self.renew_at - SWEEP_INTERVAL

    def backed_off(self, failures: int, why: str, failed_at: datetime, expires: datetime) -> "RenewalRecord":
        """Remember why, and back off for an hour, doubled with each failure, but at most an eighth of the time left."""
        doubled = FIRST_DELAY * 2.0 ** min(failures - 1, 10)
        left = max(expires - failed_at, timedelta(0)) * LONGEST_SHARE
        until = failed_at + max(min(doubled, left), SHORTEST_DELAY)
        counted, shown = min(failures, MAX_FAILURES), why[:LONGEST_REASON]
        return replace(self, failures=counted, last_failure=shown, backed_off_until=until)


_TIMES = ("backed_off_until", "window_start", "window_end", "renew_at", "ask_at")
_OTHERS = ("failures", "thumbprint", "explanation_url", "alerted", "unfinished", "signer", "names", "last_failure")
_ALWAYS = ("vault", "name", "thumbprint")


def to_entity(record: RenewalRecord, known: RenewalRecord | None = None) -> dict[str, Any]:
    """The record's row. With a `known` record only the columns that differ from it, to be merged into the row."""
    entity: dict[str, Any] = {name: getattr(record, name) for name in _OTHERS}
    entity |= {name: value.isoformat() if (value := getattr(record, name)) else "" for name in _TIMES}
    before = to_entity(known) if known else {}
    changed = {name: value for name, value in entity.items() if name not in before or before[name] != value}
    changed |= {name: getattr(record, name) for name in _ALWAYS}
    return changed | {"PartitionKey": record.vault, "RowKey": record.name.lower()}


def from_entity(entity: Mapping[str, Any]) -> RenewalRecord:
    """The reverse of `to_entity`. A row may lack columns; one that is unreadable counts as missing."""
    unreadable = unreadable_columns(entity)
    found = {name: _read(entity, name) for name in (*_TIMES, *_OTHERS) if name in entity and name not in unreadable}
    name = entity.get("name")
    key = str(entity["RowKey"])
    return RenewalRecord(
        str(entity["PartitionKey"]), name if isinstance(name, str) and name.lower() == key else key, **found
    )


def unreadable_columns(entity: Mapping[str, Any]) -> list[str]:
    """The columns of a row that hold something that was never written by `to_entity`."""
    unreadable = []
    for name in (*_TIMES, *_OTHERS):
        try:
            _read(entity, name)
        except (ValueError, TypeError, OverflowError):
            unreadable.append(name)
    return unreadable


def without(entity: Mapping[str, Any], columns: list[str]) -> dict[str, Any]:
    """What is to be merged into a row to empty these columns."""
    empty = to_entity(RenewalRecord(str(entity["PartitionKey"]), str(entity["RowKey"])))
    return {name: empty[name] for name in (*columns, "PartitionKey", "RowKey")}


def _read(entity: Mapping[str, Any], name: str) -> Any:
    """The value of a column. Raises ValueError, TypeError or OverflowError."""
    value = entity.get(name, "")
    if name in _TIMES:
        return datetime.fromisoformat(value).astimezone(UTC) if value != "" else None
    if name == "failures":
        if not isinstance(value or 0, int) or (value or 0) < 0:
            raise ValueError("no number of failures")
        return value or 0
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
