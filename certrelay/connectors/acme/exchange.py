"""The signed requests that one call makes for one order; all their answers together may take MAX_SECONDS."""

import time
from typing import Any

import requests

from certrelay.connectors.acme.account import Account
from certrelay.connectors.acme.client import AcmeClient
from certrelay.connectors.acme.problem import Problem, UnusableAnswer
from certrelay.connectors.acme.reference import OrderGone

MAX_SECONDS = 90.0  # functionTimeout is five minutes
GONE = ("accountDoesNotExist", "malformed", "unauthorized")


class Exchange:
    """The methods raise what AcmeClient and Account raise, and UnusableAnswer when the time is over."""

    def __init__(self, client: AcmeClient, account: Account) -> None:
        self._client, self._account, self._seconds = client, account, 0.0

    @property
    def public_key(self) -> Any:
        """The account's JWK."""
        return self._client.public_key

    def post(self, url: str, payload: dict[str, Any] | None) -> requests.Response:
        """POST, signed for the account; without payload: POST-as-GET."""
        return self._ask(url, payload, self._account.url())

    def part(self, url: str) -> requests.Response:
        """Read the order or one of its authorizations. Raises OrderGone if it does not exist any more."""
        account = self._account.url()  # outside of `try`: a refusal here says nothing about the order
        try:
            return self._ask(url, None, account)
        except Problem as problem:
            if problem.status != requests.codes.not_found and problem.code not in GONE:
                raise
            raise OrderGone(f"the server does not know the order any more: {problem.detail}") from None

    def _ask(self, url: str, payload: dict[str, Any] | None, account: str) -> requests.Response:
        if self._seconds > MAX_SECONDS:
            raise UnusableAnswer("its answers take too long")
        begin = time.monotonic()
        try:
            return self._client.post(url, payload, account)
        finally:
            self._seconds += time.monotonic() - begin
