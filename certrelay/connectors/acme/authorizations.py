"""The authorizations of an order (RFC 8555, section 7.1.4), each read by one signed request."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import requests

from certrelay.connectors.acme.challenge import Challenge, challenge_of
from certrelay.connectors.acme.exchange import Exchange
from certrelay.connectors.acme.faults import OrderDead
from certrelay.connectors.acme.problem import MALFORMED, Problem, UnusableAnswer, json_object
from certrelay.connectors.acme.reference import OrderGone
from certrelay.connectors.http import retry_after

DEAD = ("invalid", "deactivated", "expired", "revoked")
UNFINISHED = ("pending", "processing")


class Authorizations:
    """`read` answers to the URL of an authorization. The methods raise what it and Exchange raise."""

    def __init__(
        self, read: Callable[[str], requests.Response], exchange: Exchange, now: Callable[[], datetime]
    ) -> None:
        self._read, self._exchange, self._now = read, exchange, now

    def of(self, order: dict[str, Any]) -> Iterator[Challenge]:
        """The challenges of an order (a document), read one after the other."""
        urls = order.get("authorizations")
        if not (isinstance(urls, list) and all(isinstance(url, str) for url in urls)):
            raise UnusableAnswer("it answered an order without authorizations")
        return map(self.read, urls)

    def read(self, url: str) -> Challenge:
        """The challenge of one authorization."""
        answer = self._read(url)
        authorization = json_object(answer)
        try:
            challenge = challenge_of(url, authorization, self._exchange.public_key)
        except MALFORMED:
            raise UnusableAnswer("it answered an authorization that cannot be read") from None
        return replace(challenge, wait=retry_after(answer.headers, self._now()) or 0.0)

    def unfinished(self, order: dict[str, Any]) -> list[Challenge]:
        """The challenges that are not valid yet. Raises OrderDead if one never will be."""
        every = list(self.of(order))
        if any(one.status in DEAD for one in every):  # the order follows them, at some servers never
            raise OrderDead(order)
        return [one for one in every if one.status in UNFINISHED]

    def failed(self, order: dict[str, Any], *, must_read: bool) -> Challenge | None:
        """The challenge that an invalid order failed for; None where the order says it itself, or nobody does.

        A valid challenge may have the error of an earlier try (section 8.2). If an authorization cannot be read any
        more, the order's own error has to do, unless all `must_read`."""
        other = None
        try:
            for one in self.of(order) if order.get("authorizations") else ():
                if one.error and one.status in DEAD:
                    return one
                other = other or (one if one.error and one.status != "valid" else None)
        except (OrderGone, UnusableAnswer):
            if must_read or not isinstance(order.get("error"), dict):
                raise
        return None if isinstance(order.get("error"), dict) else other

    def wait(self, order: dict[str, Any]) -> float:
        """The Retry-After of the first challenge that is not valid yet, in seconds. Raises OrderDead if it is dead."""
        first = next((one for one in self.of(order) if one.status != "valid"), None)
        if first and first.status in DEAD:
            raise OrderDead(order)
        return first.wait if first else 0.0

    def answer(self, challenge: Challenge) -> None:
        """Answer a challenge. A refusal is ignored if the challenge was answered before, whatever its code."""
        try:
            self._exchange.post(str(challenge.url), {})
        except Problem:
            if self.read(challenge.authorization).status == "pending":
                raise
