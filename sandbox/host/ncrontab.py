"""NCRONTAB, the Functions host's schedules: five or six fields, or a TimeSpan.

It is not cron: day of month AND day of week must match, weekdays are 0 to 6, `22-2` means 2-22, `5/15` means from 5 in
steps of 15, and L, W, # and ? are unknown (atifaziz/NCrontab, CrontabSchedule.cs and CrontabField.cs).
"""

import re
from datetime import datetime, timedelta

_MONTHS = "january february march april may june july august september october november december".split()  # noqa: SIM905
_DAYS = "sunday monday tuesday wednesday thursday friday saturday".split()  # noqa: SIM905
_FIELDS: list[tuple[str, int, int, list[str]]] = [
    ("second", 0, 59, []),
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 6, _DAYS),
]
HORIZON = timedelta(days=366 * 60)


class Schedule:
    """Raises ValueError for what the host would not take."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        span = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})", self.text)
        self.interval: timedelta | None = None
        self._sets: list[set[int]] = []
        self.is_monitored = True  # whether the host keeps a status: not for what comes several times in every minute
        if span:
            days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
            self.interval = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            if not self.interval:
                raise ValueError("a schedule of no time")
            self.is_monitored = self.interval >= timedelta(minutes=1)
            return
        fields = self.text.split()
        if len(fields) not in (5, 6):
            raise ValueError(f"{text!r} is neither an NCRONTAB expression nor a TimeSpan")
        fields = fields if len(fields) == 6 else ["0", *fields]
        self._sets = [_values(field, *rule) for field, rule in zip(fields, _FIELDS, strict=True)]
        self.is_monitored = fields[1:] != ["*"] * 5 or len(self._sets[0]) == 1  # ShouldDisableScheduleMonitor

    def next(self, after: datetime) -> datetime | None:
        """The first moment after `after`; None within sixty years."""
        if self.interval is not None:
            return after + self.interval
        seconds, minutes, hours, days, months, weekdays = self._sets
        moment = after.replace(microsecond=0) + timedelta(seconds=1)
        while moment - after < HORIZON:
            if moment.month not in months:
                first = moment.replace(day=1, hour=0, minute=0, second=0)
                moment = (first + timedelta(days=32)).replace(day=1)
            elif moment.day not in days or moment.isoweekday() % 7 not in weekdays:
                moment = moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif moment.hour not in hours:
                moment = moment.replace(minute=0, second=0) + timedelta(hours=1)
            elif moment.minute not in minutes:
                moment = moment.replace(second=0) + timedelta(minutes=1)
            elif moment.second not in seconds:
                moment += timedelta(seconds=1)
            else:
                return moment
        return None


def _values(field: str, name: str, lowest: int, highest: int, names: list[str]) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step_text = part.partition("/")
        step = int(step_text) if step_text.isdigit() else 0 if step_text else 1
        if step < 1:
            raise ValueError(f"{part!r} is no step of {name}")
        if span == "*":
            first, last = lowest, highest
        else:
            begin, _, end = span.partition("-")
            first = _number(begin, name, lowest, highest, names)
            last = _number(end, name, lowest, highest, names) if end else highest if step_text else first
        first, last = min(first, last), max(first, last)
        found |= set(range(first, last + 1, step))
    return found


def _number(text: str, name: str, lowest: int, highest: int, names: list[str]) -> int:
    if len(text) >= 3 and text.isalpha():
        for index, full in enumerate(names):
            if full.startswith(text.lower()):
                return index + lowest
    if not text.isdigit() or not lowest <= int(text) <= highest:
        raise ValueError(f"{text!r} is no {name}: {lowest} to {highest}")
    return int(text)
