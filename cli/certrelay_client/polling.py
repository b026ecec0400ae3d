"""How often to look at an operation that goes on."""

from collections.abc import Iterator

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0  # seconds


def pauses(timeout: float) -> Iterator[float]:
    """The seconds to wait before each look: longer and longer, `timeout` in all."""
    left, pause = timeout, FIRST_PAUSE
    while left > 0:
        yield min(pause, left)
        left, pause = left - pause, min(pause * 1.5, LONGEST_PAUSE)
