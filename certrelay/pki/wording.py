"""Lists and messages of bounded length, which fit into a row, an answer and a log line."""

from collections.abc import Iterable, Sequence

MAX_ITEMS, MAX_LIST, MAX_SENTENCE, MAX_TEXT = 10, 300, 390, 2000


def listed(items: Iterable[str]) -> str:
    """`a, b, c`; of a long list the first ten at most, and `… and 97 more`."""
    every = list(items)
    shown: list[str] = []
    for item in every:
        if len(shown) == MAX_ITEMS or (shown and sum(map(len, shown)) + len(item) > MAX_LIST):
            break
        shown.append(cut(item, MAX_LIST))
    rest = len(every) - len(shown)
    return ", ".join(shown) + (f" … and {rest} more" if rest else "")


def bounded(sentences: Sequence[str], more: str = "more faults") -> list[str]:
    """The first ten sentences or 2,000 characters, without control characters, and the number of the others."""
    kept: list[str] = []
    for sentence in sentences:
        line = cut("".join(char if char.isprintable() else "?" for char in sentence), MAX_SENTENCE)
        if len(kept) == MAX_ITEMS or sum(map(len, kept)) + len(line) > MAX_TEXT:
            break
        kept.append(line)
    rest = len(sentences) - len(kept)
    return [*kept, f"… and {rest} {more}"] if rest else kept


def cut(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
