"""What the sweep remembers of a certificate: renewals that failed, and what its authority suggested (RFC 9773)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.base import RenewalWindow

FIRST_REST, SHORTEST_REST, SHARE_OF_REST = timedelta(hours=1), timedelta(minutes=10), 1 / 8


@dataclass(frozen=True, slots=True)
class Note:
    """One certificate's note. Times are UTC.

    It is about the version with this SHA-1 `thumbprint` (hex; empty: whichever is the newest). `failures` renewals of
    it failed in a row; none is started before `rest_until`. The authority's suggestion is to renew at `renew_at`, and
    to ask again at `ask_at`; for what Key Vault renews itself that is when to look at its policy again. `told` is the
    last alarm that was raised, and for which version.
    """

    vault: str
    name: str
    failures: int = 0
    rest_until: datetime | None = None
    thumbprint: str = ""
    window_start: datetime | None = None
    window_end: datetime | None = None
    renew_at: datetime | None = None
    ask_at: datetime | None = None
    explanation_url: str = ""
    told: str = ""

    def about(self, thumbprint: str) -> "Note":
        """What the note says of a version. What it says of an older one is worth nothing, whoever made the newer."""
        if self.thumbprint in ("", thumbprint):
            return replace(self, thumbprint=thumbprint)
        return Note(self.vault, self.name, thumbprint=thumbprint, told=self.told)

    def due(self, by_dates: datetime) -> datetime:
        """When to renew: by the certificate's dates or its authority's suggestion, and not before its rest is over."""
        due = min(by_dates, self.renew_at or by_dates)
        return max(due, self.rest_until or due)

    def rested(self, failures: int, failed_at: datetime, expires: datetime) -> "Note":
        """After so many failures: rest an hour, doubled each time, but never an eighth of what is left of the life."""
        doubled = FIRST_REST * 2.0 ** min(failures - 1, 10)
        left = max(expires - failed_at, timedelta(0)) * SHARE_OF_REST
        until = failed_at + max(min(doubled, left), SHORTEST_REST)
        return replace(self, failures=failures, rest_until=until)

    def suggested(self, window: RenewalWindow | None, chance: float, now: datetime) -> "Note":
        """With the authority's answer for the version. The moment in the window is drawn by `chance` (0 to 1) once, and
        kept as long as the window stays (RFC 9773, section 4.2)."""
        if window is None:
            return replace(self, window_start=None, window_end=None, renew_at=None, ask_at=now + timedelta(hours=24))
        same = (self.window_start, self.window_end) == (window.start, window.end)
        drawn = window.start + max(window.end - window.start, timedelta(0)) * chance
        return replace(
            self, window_start=window.start, window_end=window.end,
            renew_at=self.renew_at if same else drawn, explanation_url=window.explanation_url or "",
            ask_at=now + timedelta(seconds=min(max(window.retry_after, 60.0), 86_400.0)),
        )  # fmt: skip


_TIMES = ("rest_until", "window_start", "window_end", "renew_at", "ask_at")
_OTHERS = ("failures", "thumbprint", "explanation_url", "told")
_ALWAYS = ("vault", "name", "thumbprint")


def to_entity(note: Note, known: Note | None = None) -> dict[str, Any]:
    """The note's row; with what was `known` only the columns that differ, to be merged into the row."""
    entity: dict[str, Any] = {name: getattr(note, name) for name in _OTHERS}
    entity |= {name: value.isoformat() if (value := getattr(note, name)) else "" for name in _TIMES}
    before = to_entity(known) if known else {}
    changed = {name: value for name, value in entity.items() if name not in before or before[name] != value}
    changed |= {name: getattr(note, name) for name in _ALWAYS}
    return changed | {"PartitionKey": note.vault, "RowKey": note.name.lower()}


def from_entity(entity: Mapping[str, Any]) -> Note:
    """The reverse of `to_entity`; a row may lack columns."""
    times: dict[str, Any] = {
        name: datetime.fromisoformat(entity[name]).astimezone(UTC) for name in _TIMES if entity.get(name)
    }
    others = {name: entity[name] for name in _OTHERS if name in entity}
    return Note(entity["vault"], entity["name"], **others, **times)
