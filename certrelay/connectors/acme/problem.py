"""What is wrong with an answer of an ACME server: a problem document (RFC 8555, section 6.7), or no ACME at all."""

from typing import Any

import requests

from certrelay.connectors.http import sentence

PROBLEM_PREFIX = "urn:ietf:params:acme:error:"
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class UnusableAnswer(Exception):
    """The server answered something that is not ACME."""


class Problem(Exception):
    """A problem document: `code` is its type without the prefix, `detail` one bounded sentence, `status` the HTTP
    status (0: it is part of another answer), `wait` the Retry-After in seconds."""

    def __init__(self, code: str, detail: str, status: int = 0, wait: float | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.status, self.wait = code, detail, status, wait


def problem_of(document: Any, status: int = 0, wait: float | None = None) -> Problem:
    """From the JSON of a problem document, with what its subproblems say (section 6.7.1). Raises UnusableAnswer."""
    try:
        code = document["type"].removeprefix(PROBLEM_PREFIX)
        words = [str(document.get("detail") or document.get("title") or code)]
        for part in document.get("subproblems") or ():
            words.append(f"{part.get('identifier', {}).get('value', '')}: {part.get('detail', part.get('type'))}")
    except MALFORMED:
        raise UnusableAnswer(f"it answered HTTP {status}" if status else "it named no reason") from None
    return Problem(sentence(code, 100), sentence("; ".join(words)), status, wait)


def json_object(answer: requests.Response) -> dict[str, Any]:
    """The answer's JSON object. Raises UnusableAnswer."""
    try:
        found = answer.json()
    except MALFORMED:
        found = None
    if not isinstance(found, dict):
        raise UnusableAnswer("it answered something other than a JSON object")
    return found
