"""What is wrong with an answer of an ACME server: a problem document (RFC 8555, section 6.7), or no ACME at all."""

from collections.abc import Iterable, Iterator
from typing import Any

import requests

from certrelay.connectors.http import sentence

PROBLEM_PREFIX, COMPOUND = "urn:ietf:params:acme:error:", "compound"
# Room for a URL that a person has to visit; those of Let's Encrypt hold a token.
MAX_DETAIL, MAX_URL_LENGTH = 1000, 600
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class UnusableAnswer(Exception):
    """The server answered something that is not ACME."""


class Problem(Exception):
    """A problem document: `code` is its type without the prefix, `detail` one bounded sentence, `status` the HTTP
    status (0: it is part of another answer), `wait` the Retry-After in seconds. `parts`: of a `compound` problem, which
    says nothing by itself (section 6.7), its subproblems that have a type."""

    def __init__(self, code: str, detail: str, status: int = 0, wait: float | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.status, self.wait = code, detail, status, wait
        self.parts: tuple[Problem, ...] = ()

    @property
    def reasons(self) -> "tuple[Problem, ...]":
        """What decides on the outcome: the parts, or the problem itself."""
        return self.parts or (self,)


def problem_of(document: Any, status: int = 0, wait: float | None = None, terms: Iterable[str] = ()) -> Problem:
    """From the JSON of a problem document, with what its subproblems say (section 6.7.1). Raises UnusableAnswer.

    Without a type it is `about:blank` (RFC 9457, section 3.1.1). `terms` are the URLs of the answer's Link headers with
    the relation `terms-of-service`."""
    if not isinstance(document, dict):
        raise UnusableAnswer(f"it answered HTTP {status}" if status else "it named no reason")
    kind = document.get("type")
    code = kind.removeprefix(PROBLEM_PREFIX) if isinstance(kind, str) else "about:blank"
    words = [str(document.get("detail") or document.get("title") or code), *_subproblems(document.get("subproblems"))]
    detail = sentence("; ".join(words), MAX_DETAIL - 100)
    if code == "userActionRequired":
        detail = _with_pages(detail, [*terms, document.get("instance")])
    problem = Problem(sentence(code, 100), detail, status, wait)
    if code == COMPOUND:
        problem.parts = tuple(_parts(document.get("subproblems"), status, wait))
    return problem


def _parts(found: Any, status: int, wait: float | None) -> Iterator[Problem]:
    for part in found if isinstance(found, list) else ():
        if isinstance(part, dict) and isinstance(part.get("type"), str):
            code = part["type"].removeprefix(PROBLEM_PREFIX)
            yield Problem(sentence(code, 100), sentence(part.get("detail") or code, MAX_DETAIL), status, wait)


def _subproblems(found: Any) -> Iterator[str]:
    for part in found if isinstance(found, list) else ():
        if isinstance(part, dict):
            identifier = part.get("identifier")
            name = identifier.get("value", "") if isinstance(identifier, dict) else ""
            yield f"{name}: {part.get('detail', part.get('type'))}"


def _with_pages(detail: str, urls: Iterable[object]) -> str:
    """The detail and the pages where a person has to agree (section 7.3.3)."""
    room, pages = MAX_URL_LENGTH, []
    for url in dict.fromkeys(url for url in urls if _is_web_page(url)):
        if len(str(url)) <= room:
            room -= len(str(url))
            pages.append(str(url))
    return f"{sentence(detail, 250)}; a person has to visit {' and '.join(pages)}" if pages else detail


def _is_web_page(url: object) -> bool:
    return isinstance(url, str) and url.startswith(("https://", "http://")) and url.isascii() and url.isprintable()


def json_object(answer: requests.Response) -> dict[str, Any]:
    """The answer's JSON object. Raises UnusableAnswer."""
    try:
        found = answer.json()
    except MALFORMED:
        found = None
    if not isinstance(found, dict):
        raise UnusableAnswer("it answered something other than a JSON object")
    return found


def text_of(order: dict[str, Any], member: str) -> str:
    """Raises UnusableAnswer if the order has no such member, or it is not a text."""
    found = order.get(member)
    if not isinstance(found, str):
        raise UnusableAnswer(f"it answered an order without {member}")
    return found
