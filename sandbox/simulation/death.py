"""Sudden death of a worker, before or after any of its effects."""

import random
from collections.abc import Callable
from typing import Any

LONGEST_LIFE = 12  # effects of one renewal, about


class Killed(BaseException):
    """The worker is gone: nothing in the app may catch this."""


class Life:
    """The worker that is at work now, and the effect at which it dies, if it does."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._effects = 0
        self._death: tuple[int, str] | None = None

    def begin(self, risk: float) -> None:
        """A new worker, which dies with this probability (0 to 1)."""
        self._effects = 0
        self._death = None
        if self._chance.random() < risk:
            self._death = self._chance.randrange(LONGEST_LIFE), self._chance.choice(("before", "after"))

    def end(self) -> None:
        """Nobody is at work: what is read now is read safely."""
        self._death = None

    def live(self, effect: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number = self._effects
        self._effects += 1
        if self._death == (number, "before"):
            raise Killed
        result = effect(*args, **kwargs)
        if self._death == (number, "after"):
            raise Killed
        return result


def mortal[T](thing: T, life: Life, *effects: str) -> T:
    """`thing`, whose named effects the worker may not survive."""

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: life.live(original, *args, **kwargs)

    for name in effects:
        setattr(thing, name, wrapped(getattr(thing, name)))
    return thing
