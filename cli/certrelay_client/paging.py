"""Read lists that come in pages."""

from collections.abc import Callable, Iterator
from typing import TypedDict


class Page(TypedDict):
    continuation: str | None


def pages[Found: Page](ask: Callable[[str | None], Found]) -> Iterator[Found]:
    """Page after page, each when it is needed. `ask` gets the continuation of the page before; None at first."""
    continuation = None
    while True:
        page = ask(continuation)
        yield page
        continuation = page["continuation"]
        if continuation is None:
            return
