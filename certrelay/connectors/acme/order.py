"""One ACME order, step by step (RFC 8555, section 7.4). The server's state decides on the next step."""

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import requests

from certrelay.connectors.acme.account import Account
from certrelay.connectors.acme.chain import NO_URL, AlternatesNotReady, download, fetched, issued, valid_order
from certrelay.connectors.acme.challenge import PERSIST, Challenge, challenge_of
from certrelay.connectors.acme.client import AcmeClient
from certrelay.connectors.acme.dns import DnsFailure, NoSolver, SilentServers, Solver
from certrelay.connectors.acme.faults import FinalizeFailed, OrderDead, failed_order
from certrelay.connectors.acme.patience import (
    ANSWER_AGAIN,
    CHAIN_WAIT,
    DEFAULT_WAIT,
    DNS_WAIT,
    LONGEST_WAIT,
    SILENCE,
    grown,
)
from certrelay.connectors.acme.problem import MALFORMED, Problem, UnusableAnswer, json_object, problem_of, text_of
from certrelay.connectors.acme.reference import OrderGone, Reference
from certrelay.connectors.acme.standing_records import StandingRecords, proof
from certrelay.connectors.base import Outcome, Pending, SigningRequest, Unavailable
from certrelay.connectors.http import retry_after, sentence
from certrelay.log import logger

PAUSES = (0, 0.05, 0.1, 0.2, 0.4, 0.8)
# functionTimeout is five minutes. After WORK_SECONDS no further step starts; all answers together may take MAX_SECONDS.
# Canceling has CANCEL_SECONDS, since no other call continues it.
WORK_SECONDS, MAX_SECONDS, CANCEL_SECONDS = 60.0, 90.0, 100.0
TAKEN, DEAD = ("processing", "valid"), ("invalid", "deactivated", "expired", "revoked")  # of orders, authorizations
CHAIN_TRIES = 3
GONE = ("accountDoesNotExist", "malformed", "unauthorized")

log = logger("acme")


class _TimeIsUp(DnsFailure):
    """The time is up; the next call, if there is one, continues."""


class Order:
    """The order that a reference names. Its methods raise what AcmeClient, Account and Solver raise."""

    def __init__(
        self,
        client: AcmeClient,
        account: Account,
        reference: Reference,
        solver: Solver,
        now: Callable[[], Any],
        standing: StandingRecords | None = None,
    ) -> None:
        self._client, self._account, self._reference, self._solver, self._now = client, account, reference, solver, now
        self._standing, self._has_dns = standing, not isinstance(solver, NoSolver)
        self._wait, self._seconds = 0.0, 0.0
        self._end = time.monotonic() + WORK_SECONDS

    def advance(self, request: SigningRequest, names: list[str], preferred_chain: str | None) -> Outcome:
        """Take the next step, and all that follow without a wait. `names` are the identifiers that were ordered."""
        try:
            return self._advance(request, names, preferred_chain)
        except _TimeIsUp:
            return Pending(self._reference.text(), 0.0)
        except OrderDead as dead:
            return self._failed(dead.order, request.lost_orders)
        except FinalizeFailed as failed:
            return failed_order(failed.problem, "", request.lost_orders)

    def _advance(self, request: SigningRequest, names: list[str], preferred_chain: str | None) -> Outcome:
        wait: float | None = None
        finalized: dict[str, Any] | None = None
        for pause in PAUSES:
            time.sleep(0 if finalized else pause)
            order, wait = (finalized, None) if finalized else self.poll()
            match order.get("status"):
                case "valid":
                    return self._download(order, request.csr, preferred_chain)
                case "invalid":
                    return self._failed(order, request.lost_orders)
                case "ready":
                    finalized = self._finalize(order, request.csr)
                    continue
                case "processing":
                    pass
                case "pending":
                    waiting = self._chosen(self._waiting(order), names, request.lost_orders)
                    if self._has_new_records(waiting):
                        return Pending(self._reference.text(), 0.0)
                    if self._authorize(waiting):
                        continue
                    wait = wait or self._wait
                case _:
                    raise UnusableAnswer("it answered an order without a known status")
            if wait or time.monotonic() >= self._end:
                break
        wait = wait or grown(DEFAULT_WAIT, self._reference.answered, self._now().timestamp())
        return Pending(self._reference.text(), min(wait, LONGEST_WAIT))

    def poll(self) -> tuple[dict[str, Any], float | None]:
        """The order's document, and the server's Retry-After in seconds."""
        try:
            answer = self._part(self._reference.url)
        except NO_URL:
            self.clean()
            raise OrderGone("the order was placed with another authority") from None
        order = json_object(answer)
        if order.get("status") in TAKEN:
            self.clean()  # another worker may have finished before our records were published
        return order, retry_after(answer.headers, self._now())

    def clean(self) -> None:
        """Remove all records, as far as there is time. If some cannot be removed, raises DnsFailure at the end."""
        reason = ""
        for record in self._reference.records:
            try:
                self._solver.remove(*record)
            except DnsFailure as failure:
                reason = str(failure)
            else:
                self._without(record)
            if time.monotonic() >= self._end:
                break
        if left := ", ".join(dict.fromkeys(name for name, _ in self._reference.records)):
            if reason:
                raise DnsFailure(f"{reason}; challenge records are left behind at {left}")
            raise _TimeIsUp(f"there was no time to remove the challenge records at {left}")

    def cancel(self) -> None:
        """Remove the records, even if the server is down, and deactivate pending authorizations (section 7.5.2)."""
        self._end = time.monotonic() + CANCEL_SECONDS
        self.clean()
        order, _ = self.poll()
        for challenge in self._challenges(order):
            if challenge.status == "pending":
                self._post(challenge.authorization, {"status": "deactivated"})

    def _without(self, record: tuple[str, str]) -> None:
        kept = tuple(one for one in self._reference.records if one != record)
        self._reference = replace(self._reference, records=kept)

    def _check_time(self) -> None:
        if time.monotonic() >= self._end:
            raise _TimeIsUp

    def _part(self, url: str) -> requests.Response:
        """Read the order or one of its authorizations. Raises OrderGone if it does not exist any more."""
        account = self._account.url()  # outside of `try`: a refusal here says nothing about the order
        try:
            return self._ask(url, None, account)
        except Problem as problem:
            if problem.status != requests.codes.not_found and problem.code not in GONE:
                raise
            self.clean()
            raise OrderGone(f"the server does not know the order any more: {problem.detail}") from None

    def _post(self, url: str, payload: dict[str, Any] | None) -> requests.Response:
        return self._ask(url, payload, self._account.url())

    def _ask(self, url: str, payload: dict[str, Any] | None, account: str) -> requests.Response:
        if self._seconds > MAX_SECONDS:
            raise UnusableAnswer("its answers take too long")
        begin = time.monotonic()
        try:
            return self._client.post(url, payload, account)
        finally:
            self._seconds += time.monotonic() - begin

    def _waiting(self, order: dict[str, Any]) -> list[Challenge]:
        """The challenges to answer. Keeps the longest Retry-After, also of those that the server validates now."""
        every = list(self._challenges(order))
        if any(one.status in DEAD for one in every):  # the order follows them, at some servers never
            raise OrderDead(order)
        found = [one for one in every if one.status in ("pending", "processing")]
        self._wait = max((one.wait for one in found), default=0.0)
        return [one for one in found if one.status == "pending"]

    def _chosen(self, waiting: list[Challenge], names: list[str], lost_orders: int) -> list[Challenge]:
        """The challenges to answer, for names that were asked. After a lost order dns-01 is preferred."""
        asked = {name.removeprefix("*.") for name in names}
        standing = None if lost_orders and self._has_dns else self._standing
        for challenge in waiting:
            if challenge.identifier.removeprefix("*.").lower() not in asked:
                raise UnusableAnswer(
                    f"it wants proof of {sentence(challenge.identifier, 100)}, which was not requested"
                )
        return [proof(standing, challenge, has_dns=self._has_dns) for challenge in waiting]

    def _has_new_records(self, waiting: list[Challenge]) -> bool:
        """Add the records to the reference. Whether some are new: then the reference must be stored first."""
        wanted = [challenge.record for challenge in waiting if challenge.record]
        records = tuple(dict.fromkeys([*self._reference.records, *wanted]))
        if records == self._reference.records:
            return False
        self._reference = replace(self._reference, records=records, answered=0.0, stored=self._now().timestamp())
        return True

    def _authorize(self, waiting: list[Challenge]) -> bool:
        """Publish all records, since they take effect at the same time; answer the challenges once all are visible.

        Returns whether challenges were answered."""
        now = self._now().timestamp()
        if not waiting or now < self._reference.answered + ANSWER_AGAIN:
            return False
        records = [challenge.record for challenge in waiting if challenge.record]
        unseen = [record for record in records if not self._is_visible(record, now)]
        for record in unseen:
            self._solver.publish(*record)
            self._check_time()
        if not all(self._is_visible(record, now) for record in unseen):
            self._wait = max(self._wait, grown(DNS_WAIT, self._reference.stored, now))
            return False
        for challenge in waiting:
            self._answer(challenge)
            self._check_time()
        self._reference = replace(self._reference, answered=now)
        return True

    def _is_visible(self, record: tuple[str, str], now: float) -> bool:
        try:
            return self._solver.is_visible(*record)
        except SilentServers as silent:
            if now < self._reference.stored + SILENCE:
                raise
            log.warning("%s: %s; the order goes on without them", record[0], silent)
            return True

    def _answer(self, challenge: Challenge) -> None:
        """Answer a challenge. A refusal is ignored if the challenge was answered before, whatever its code."""
        try:
            self._post(str(challenge.url), {})
        except Problem:
            if self._read(challenge.authorization).status == "pending":
                raise

    def _finalize(self, order: dict[str, Any], csr: bytes) -> dict[str, Any] | None:
        """Remove the records, which are not needed any more, and finalize the order. It may be finalized already.

        Returns its document if the answer says that the certificate is there (section 7.4)."""
        self.clean()
        answered = self._reference.answered or self._now().timestamp()
        self._reference = replace(self._reference, answered=answered)
        encoded = base64.urlsafe_b64encode(csr).rstrip(b"=").decode()
        if not order.get("finalize") and self._reference.finalize:
            order = {**order, "finalize": self._reference.finalize}
        try:
            return valid_order(self._post(text_of(order, "finalize"), {"csr": encoded}))
        except Problem as problem:
            status = self.poll()[0].get("status")
            if status == "invalid":
                raise FinalizeFailed(problem) from None
            if status not in TAKEN:
                raise
        return None

    def _failed(self, order: dict[str, Any], lost_orders: int) -> Outcome:
        self.clean()
        challenges = self._challenges(order) if order.get("authorizations") else ()
        failed = next((one for one in challenges if one.error), None)
        error, name = (failed.error, failed.identifier) if failed else (order.get("error"), "")
        if not isinstance(error, dict):
            # An order that expires becomes invalid without an error (section 7.1.6).
            return Unavailable("the order or an authorization expired, or failed without a reason", restart=True)
        identifier, problem = error.get("identifier"), problem_of(error)
        if failed and failed.failed == PERSIST and self._has_dns and not lost_orders:
            return Unavailable(sentence(f"{name}: its standing record failed: {problem.detail}"), restart=True)
        return failed_order(problem, name or (identifier if isinstance(identifier, str) else ""), lost_orders)

    def _challenges(self, order: dict[str, Any]) -> Iterator[Challenge]:
        urls = order.get("authorizations")
        if not (isinstance(urls, list) and all(isinstance(url, str) for url in urls)):
            raise UnusableAnswer("it answered an order without authorizations")
        return (self._read(url) for url in urls)

    def _read(self, url: str) -> Challenge:
        answer = self._part(url)
        authorization = json_object(answer)
        try:
            challenge = challenge_of(url, authorization, self._client.public_key)
        except MALFORMED:
            raise UnusableAnswer("it answered an authorization that cannot be read") from None
        return replace(challenge, wait=retry_after(answer.headers, self._now()) or 0.0)

    def _download(self, order: dict[str, Any], csr: bytes, preferred_chain: str | None) -> Outcome:
        def post(url: str) -> requests.Response:
            return self._post(url, None)

        first, tries = fetched(post, text_of(order, "certificate")), self._reference.chain_tries + 1
        try:
            return issued(download(post, first, preferred_chain, wait=tries < CHAIN_TRIES), csr)
        except AlternatesNotReady:
            return Pending(replace(self._reference, chain_tries=tries).text(), CHAIN_WAIT)
