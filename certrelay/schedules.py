"""The timers' schedules, checked at start.

Azure disables a timer whose schedule is invalid and keeps the app running: renewals would stop silently. With a
missing schedule every route answers 503. NCRONTAB has six fields, in UTC:
https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import re
from collections.abc import Mapping

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


def _wrong_field(text: str) -> str:
    """What is wrong with an expression, or nothing."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"it has {len(fields)} fields"
    for field, (name, lowest, highest, names) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part, lowest, highest, names.split()) for part in field.split(",")):
            return f"{field!r} is not a {name} from {lowest} to {highest}"
    return ""


def _is_part(part: str, lowest: int, highest: int, names: list[str]) -> bool:
    span, slash, step = part.partition("/")
    if slash and not (re.fullmatch("[0-9]{1,4}", step) and int(step)):
        return False
    ends = span.split("-") if span != "*" else []
    return len(ends) <= 2 and all(_is_value(end, lowest, highest, names) for end in ends)


def _is_value(text: str, lowest: int, highest: int, names: list[str]) -> bool:
    if re.fullmatch("[A-Za-z]{3,}", text):
        return any(name.startswith(text.lower()) for name in names)
    return bool(re.fullmatch("[0-9]{1,4}", text)) and lowest <= int(text) <= highest
