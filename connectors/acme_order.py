"""One ACME order, step by step (RFC 8555, section 7.4). What to do next is read from the server, never remembered."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests
from cryptography import x509
from cryptography.x509.oid import NameOID

from connectors.acme_client import MALFORMED, AcmeClient, Problem, UnusableAnswer, json_object, links, problem_of
from connectors.base import Issued, Outcome, Pending, Rejected, Unavailable
from connectors.dns import Solver
from connectors.http import retry_after

PAUSES = (0, 0.05, 0.1, 0.2, 0.4, 0.8)
DEFAULT_WAIT = 2.0
DNS_WAIT = 5.0
GONE = ("accountDoesNotExist", "malformed", "unauthorized")


class OrderGone(Exception):
    """The order's URL leads nowhere, or to another account's order."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A dns-01 challenge (section 8.4) and the record that answers it. `record` is None where there is no such one."""

    authorization: str
    identifier: str
    status: str
    url: str | None
    record: tuple[str, str] | None
    error: Any


class Order:
    """The order at `url`, seen by the account at `account`; the methods raise what AcmeClient and Solver raise."""

    def __init__(self, client: AcmeClient, account: str, url: str, solver: Solver, now: Callable[[], Any]) -> None:
        self._client, self._account, self._url, self._solver, self._now = client, account, url, solver, now
        self._wait = 0.0

    def advance(self, csr: bytes, preferred_chain: str | None, reference: str) -> Outcome:
        """The next step, and those after it that can be taken at once; a wait that the server asks for is obeyed."""
        wait: float | None = None
        for pause in PAUSES:
            time.sleep(pause)
            order, wait = self.look()
            match order.get("status"):
                case "valid":
                    return Issued(self._download(order, preferred_chain))
                case "invalid":
                    return self._failed(order)
                case "ready":
                    self._finalize(order, csr)
                    continue
                case "processing":
                    pass
                case "pending":
                    if self._authorize(order):
                        continue
                    wait = wait or self._wait
                case _:
                    raise UnusableAnswer("it answered an order without a known status")
            if wait:
                break
        return Pending(reference, wait or DEFAULT_WAIT)

    def look(self) -> tuple[dict[str, Any], float | None]:
        """The order, and how long the server wants us to wait."""
        try:
            answer = self._client.post(self._url, None, self._account)
        except Problem as problem:
            if problem.status != requests.codes.not_found and problem.code not in GONE:
                raise
            raise OrderGone(f"the server does not know the order any more: {problem.detail}") from None
        return json_object(answer), retry_after(answer.headers, self._now())

    def withdraw(self) -> None:
        """Remove the records, and deactivate what is still open (section 7.5.2)."""
        order, _ = self.look()
        for challenge in self._challenges(order):
            if challenge.record:
                self._solver.remove(*challenge.record)
            if challenge.status == "pending":
                self._client.post(challenge.authorization, {"status": "deactivated"}, self._account)

    def _authorize(self, order: dict[str, Any]) -> bool:
        """Whether challenges were answered. All records are published first, for they take their time together."""
        self._wait = 0.0
        waiting = [challenge for challenge in self._challenges(order) if challenge.status == "pending"]
        for challenge in waiting:
            if challenge.url is None or challenge.record is None:
                raise UnusableAnswer(f"it offers no dns-01 challenge for {challenge.identifier}")
            self._solver.publish(*challenge.record)
        for challenge in waiting:
            if not (challenge.record and self._solver.is_visible(*challenge.record)):
                self._wait = DNS_WAIT
                return False
        for challenge in waiting:
            self._client.post(str(challenge.url), {}, self._account)
        return bool(waiting)

    def _finalize(self, order: dict[str, Any], csr: bytes) -> None:
        """Before it no record may be left, for after it nobody looks at the authorizations any more."""
        self._clean(order)
        encoded = base64.urlsafe_b64encode(csr).rstrip(b"=").decode()
        self._client.post(_text(order, "finalize"), {"csr": encoded}, self._account)

    def _clean(self, order: dict[str, Any]) -> Any:
        """Remove all records. Answers the error of an authorization that failed."""
        error = None
        for challenge in self._challenges(order):
            if challenge.record:
                self._solver.remove(*challenge.record)
            error = error or (challenge.error and {**challenge.error, "identifier": challenge.identifier})
        return error

    def _failed(self, order: dict[str, Any]) -> Outcome:
        error = self._clean(order) or order.get("error")
        if not isinstance(error, dict):
            # An order that was left alone too long becomes invalid without an error (section 7.1.6).
            return Unavailable("the order expired before it was complete", restart=True)
        problem = problem_of(error)
        if problem.code in ("serverInternal", "rateLimited"):
            return Unavailable(problem.detail, restart=True)
        name = error.get("identifier")
        prefix = f"{name}: " if isinstance(name, str) else ""
        return Rejected(f"the order failed: {prefix}{problem.detail} ({problem.code})")

    def _challenges(self, order: dict[str, Any]) -> Iterator[Challenge]:
        for url in order.get("authorizations") or ():
            answer = self._client.post(url, None, self._account)
            self._wait = max(self._wait, retry_after(answer.headers, self._now()) or 0.0)
            authorization = json_object(answer)
            try:
                yield self._challenge(url, authorization)
            except MALFORMED:
                raise UnusableAnswer("it answered an authorization that cannot be read") from None

    def _challenge(self, url: str, authorization: dict[str, Any]) -> Challenge:
        """The status is the authorization's; a challenge that was answered is no longer `pending` though it is."""
        identifier = str(authorization["identifier"]["value"])
        status = str(authorization["status"])
        found = next((one for one in authorization["challenges"] if one["type"] == "dns-01"), None)
        error = next((one["error"] for one in authorization["challenges"] if one.get("error")), None)
        if found is None:
            return Challenge(url, identifier, status, None, None, error)
        if status == "pending":
            status = str(found["status"])
        name = f"_acme-challenge.{identifier.removeprefix('*.')}"
        return Challenge(url, identifier, status, str(found["url"]), (name, self._digest(found["token"])), error)

    def _digest(self, token: str) -> str:
        """Sections 8.1 and 8.4."""
        thumbprint = base64.urlsafe_b64encode(self._client.public_key.thumbprint()).rstrip(b"=").decode()
        digest = hashlib.sha256(f"{token}.{thumbprint}".encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _download(self, order: dict[str, Any], preferred_chain: str | None) -> bytes:
        """The first chain, or the one whose topmost issuer has the preferred common name (section 7.4.2)."""
        first = self._client.post(_text(order, "certificate"), None, self._account)
        if preferred_chain is None or _issuer(first) == preferred_chain:
            return _checked_chain(first)
        for url in links(first, "alternate"):
            other = self._client.post(url, None, self._account)
            if _issuer(other) == preferred_chain:
                return other.content
        return _checked_chain(first)


def _text(document: dict[str, Any], member: str) -> str:
    found = document.get(member)
    if not isinstance(found, str):
        raise UnusableAnswer(f"it answered an order without {member}")
    return found


def _checked_chain(answer: requests.Response) -> bytes:
    _issuer(answer)
    return answer.content


def _issuer(answer: requests.Response) -> str:
    try:
        top = x509.load_pem_x509_certificates(answer.content)[-1]
    except ValueError:
        raise UnusableAnswer("it answered something else than certificates in PEM") from None
    names = top.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
