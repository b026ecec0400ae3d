"""How long an ACME order waits, in seconds."""

DEFAULT_WAIT, DNS_WAIT = 2.0, 5.0
# An order that lasts is asked about at a tenth of its age: some servers take hours, and some never end.
LONGEST_PATIENCE = 300.0
# A challenge may stay pending while the server validates it, and each answer may start another validation.
ANSWER_AGAIN = 300.0
# Some servers ask to wait for a day and finish long before that; an operation has a day in all.
LONGEST_WAIT = 3600.0
# Until name servers that do not answer are left out, if the others agree.
SILENCE = 300.0
CHAIN_WAIT = 60.0


def grown(wait: float, since: float, now: float) -> float:
    """`wait`, or a tenth of the time since `since` if that is longer, but at most LONGEST_PATIENCE. Both moments are in
    seconds since 1970; 0 for `since` means that it has not begun."""
    return max(wait, min((now - since) / 10, LONGEST_PATIENCE)) if since else wait
