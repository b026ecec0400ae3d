"""Which authority is asked in place of an operation's own, as its row has it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self


@dataclass(frozen=True, slots=True)
class Fallback:
    """The authority that is asked in place of the request's own, since when (UTC), and why."""

    authority: str
    since: datetime
    why: str

    def text(self) -> str:
        """As a column of the row has it."""
        return json.dumps([self.authority, self.since.isoformat(), self.why])

    @classmethod
    def of(cls, text: str) -> Self | None:
        """The reverse of `text`; None if it is empty. Raises one of UNREADABLE of the ledger if it cannot be read."""
        if not text:
            return None
        authority, since, why = json.loads(text)
        return cls(str(authority), datetime.fromisoformat(since).astimezone(UTC), str(why))
