"""When to renew, as people write it: 30d (before expiry) or 67% (of the lifetime)."""

import re

type Trigger = tuple[str, int]

PATTERN = "^[0-9]{1,4}(d|%)$"


def from_text(text: str) -> Trigger:
    """The kind and number of a lifetime action's trigger in Key Vault. Raises ValueError."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"needs days before expiry (30d) or a share of the lifetime (67%), not {text!r}")
    return ("days_before_expiry" if text.endswith("d") else "lifetime_percentage", int(text[:-1]))


def to_text(trigger: Trigger | None) -> str:
    if trigger is None:
        return "default"
    return f"{trigger[1]}{'d' if trigger[0] == 'days_before_expiry' else '%'}"
