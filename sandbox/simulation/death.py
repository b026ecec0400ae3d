"""Kills a worker before or after any of its effects."""

import random
from collections.abc import Callable
from typing import Any

LONGEST_LIFE = 12  # roughly the effects of one renewal


class Killed(BaseException):
    """The worker died. A BaseException, so that nothing in the app catches it."""


class Life:
    """The current worker, and the effect at which it dies, if any."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._effects = 0
        self._death: tuple[int, str] | None = None

    def begin(self, risk: float) -> None:
        """Start a worker that dies with this probability (0 to 1)."""
        self._effects = 0
        self._death = None
        if self._chance.random() < risk:
            self._death = self._chance.randrange(LONGEST_LIFE), self._chance.choice(("before", "after"))

    def end(self) -> None:
        """End the worker: nothing dies until the next one begins."""
        self._death = None

    def live(self, effect: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `effect` and return its result. Raises Killed if the worker dies before or after it."""
        number = self._effects
        self._effects += 1
        if self._death == (number, "before"):
            raise Killed
        result = effect(*args, **kwargs)
        if self._death == (number, "after"):
            raise Killed
        return result


def mortal[T](thing: T, life: Life, *effects: str) -> T:
    """`thing` itself, with the named methods wrapped so that the worker may die before or after each call."""

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: life.live(original, *args, **kwargs)

    for name in effects:
        setattr(thing, name, wrapped(getattr(thing, name)))
    return thing
