"""The timers' schedules: checked at start, and when a timer is late.

Azure disables a timer whose schedule is invalid and keeps the app running: renewals would stop silently. With a
missing schedule every route answers 503. NCRONTAB has six fields, in UTC:
https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache

SCHEDULES = {
    "CERTRELAY_POLL_SCHEDULE": "0 * * * * *",
    "CERTRELAY_SWEEP_SCHEDULE": "0 7 * * * *",
    "CERTRELAY_DIGEST_SCHEDULE": "0 0 6 * * *",
}
_MONTHS = "january february march april may june july august september october november december"
_DAYS = "sunday monday tuesday wednesday thursday friday saturday"
_FIELDS = (
    ("second", 0, 59, ""), ("minute", 0, 59, ""), ("hour", 0, 23, ""), ("day", 1, 31, ""), ("month", 1, 12, _MONTHS),
    ("weekday", 0, 6, _DAYS),
)  # fmt: skip
HORIZON = timedelta(days=366 * 9)  # 29 February comes once in eight years, around the year 2100
SHORTEST_MARGIN, LONGEST_MARGIN = timedelta(minutes=8), timedelta(hours=2)


def schedule_faults(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each schedule in the settings that is missing, or that the Functions host would not take."""
    faults = []
    for name, example in SCHEDULES.items():
        text = environment.get(name, "").strip()
        wrong = _wrong_field(text)
        if not text:
            faults.append(f"{name} is missing: six NCRONTAB fields, in UTC, such as {example!r}")
        elif wrong:
            faults.append(f"{name} is {text!r}: {wrong}; write six NCRONTAB fields, in UTC, such as {example!r}")
    return faults


def next_run(schedule: str, after: datetime) -> datetime | None:
    """The first time (UTC) after `after` at which a timer with this schedule is due; None within nine years.

    Day of the month and weekday must both match, unlike in cron. Raises ValueError for no schedule."""
    seconds, minutes, hours, days, months, weekdays = _values_of(schedule)
    moment = after.replace(microsecond=0) + timedelta(seconds=1)
    while moment - after < HORIZON:
        if moment.month not in months:
            moment = (moment.replace(day=1, hour=0, minute=0, second=0) + timedelta(days=32)).replace(day=1)
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


def late_at(schedule: str, last_run: datetime) -> datetime | None:
    """When (UTC) a timer counts as late that ran last at `last_run`; None if it is not due within nine years.

    It may miss one run, and has 8 minutes to 2 hours for it: a minute's timer is late after 9 minutes, an hourly one
    after 2 hours, a daily one 2 hours after its time."""
    due = next_run(schedule, last_run)
    following = next_run(schedule, due) if due else None
    if due is None or following is None:
        return due and due + LONGEST_MARGIN
    return due + min(max(following - due, SHORTEST_MARGIN), LONGEST_MARGIN)


def _wrong_field(text: str) -> str:
    """What is wrong with an expression, or nothing."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"it has {len(fields)} fields"
    for field, (name, lowest, highest, names) in zip(fields, _FIELDS, strict=True):
        if not all(_part(part, lowest, highest, names.split()) for part in field.split(",")):
            return f"{field!r} is not a {name} from {lowest} to {highest}"
    return ""


@lru_cache(maxsize=16)
def _values_of(schedule: str) -> tuple[frozenset[int], ...]:
    """The values of each field. Raises ValueError."""
    if wrong := _wrong_field(schedule):
        raise ValueError(wrong)
    return tuple(
        frozenset(value for part in field.split(",") for value in _part(part, lowest, highest, names.split()))
        for field, (_, lowest, highest, names) in zip(schedule.split(), _FIELDS, strict=True)
    )


def _part(part: str, lowest: int, highest: int, names: list[str]) -> range:
    """The values of one part of a field; empty if it is none. `22-2` means 2-22, and `5/15` from 5 in steps of 15."""
    span, slash, step = part.partition("/")
    if slash and not (re.fullmatch("[0-9]{1,4}", step) and int(step)):
        return range(0)
    ends = [_value(end, lowest, highest, names) for end in span.split("-")] if span != "*" else [lowest, highest]
    known = [end for end in ends if end is not None]
    if len(known) != len(ends) or len(known) > 2:
        return range(0)
    if len(known) == 1 and slash:
        known.append(highest)
    return range(min(known), max(known) + 1, int(step or 1))


def _value(text: str, lowest: int, highest: int, names: list[str]) -> int | None:
    if re.fullmatch("[A-Za-z]{3,}", text):
        return next((number for number, name in enumerate(names, lowest) if name.startswith(text.lower())), None)
    return int(text) if re.fullmatch("[0-9]{1,4}", text) and lowest <= int(text) <= highest else None
