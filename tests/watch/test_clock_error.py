"""Whether the clock is wrong or a timer late is asked of Key Vault, by few requests."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from certrelay.errors import NotReady
from certrelay.watch import watchmen

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def services(**dates: datetime | None) -> tuple[Any, list[str]]:
    """Vaults with the dates that they tell; None: it is down. And which of them were asked."""
    asked: list[str] = []

    def vault(alias: str) -> Any:
        def call(*_: str) -> None:
            asked.append(alias)
            if dates[alias] is None:
                raise NotReady("down")

        return SimpleNamespace(call=call, date=dates[alias])

    known: Any = SimpleNamespace(settings=SimpleNamespace(vaults=dates), vault=vault, now=lambda: NOW)
    return known, asked


def test_the_first_vault_that_answers_tells_the_time_and_no_more_than_two_are_asked() -> None:
    known, asked = services(a=None, b=NOW - timedelta(hours=1), c=NOW)
    assert (watchmen._clock_error(known), asked) == (timedelta(hours=1), ["a", "b"])
    known, asked = services(a=None, b=None, c=NOW, d=NOW)
    assert (watchmen._clock_error(known), asked) == (timedelta(0), ["a", "b"]), "each takes half a minute"
