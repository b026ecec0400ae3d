"""One ACME order, step by step (RFC 8555, section 7.4). The server's state decides on the next step."""

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import requests

from certrelay.connectors.acme.authorizations import Authorizations
from certrelay.connectors.acme.chain import NO_URL, AlternatesNotReady, download, fetched, issued, valid_order
from certrelay.connectors.acme.challenge import PERSIST, Challenge
from certrelay.connectors.acme.dns import DnsFailure, NoSolver, Solver
from certrelay.connectors.acme.exchange import Exchange
from certrelay.connectors.acme.faults import FAULTS, FinalizeFailed, OrderDead, failed_order
from certrelay.connectors.acme.patience import (
    ANSWER_AGAIN,
    CHAIN_WAIT,
    DEFAULT_WAIT,
    DNS_WAIT,
    LONGEST_WAIT,
    SILENCE,
    grown,
)
from certrelay.connectors.acme.problem import Problem, UnusableAnswer, json_object, problem_of, text_of
from certrelay.connectors.acme.publication import Publication, TimeIsUp
from certrelay.connectors.acme.reference import OrderGone, Reference
from certrelay.connectors.acme.seen import Seen, SeenOrders
from certrelay.connectors.acme.standing_records import StandingRecords, proofs
from certrelay.connectors.base import Outcome, Pending, SigningRequest, Unavailable
from certrelay.connectors.http import retry_after, sentence

PAUSES = (0.05, 0.2, 0.75)  # seconds before each further look, once a step was taken: a fast server is done then
# functionTimeout is five minutes. After WORK_SECONDS no further step starts. Canceling has CANCEL_SECONDS, since no
# other call continues it.
WORK_SECONDS, CANCEL_SECONDS = 60.0, 100.0
TAKEN = ("processing", "valid")
CHAIN_TRIES = 3

type Waiting = tuple[Challenge, ...] | None


class Order:
    """The order that a reference names. Its methods raise what Exchange and Solver raise."""

    def __init__(
        self,
        exchange: Exchange,
        reference: Reference,
        solver: Solver,
        now: Callable[[], datetime],
        seen: SeenOrders,
        standing: StandingRecords | None = None,
    ) -> None:
        self._exchange, self._reference, self._solver, self._now = exchange, reference, solver, now
        self._authorizations = Authorizations(self._part, exchange, now)
        self._seen, self._standing, self._has_dns = seen, standing, not isinstance(solver, NoSolver)
        self._wait, self._answered, self._finalized = 0.0, False, False
        self._end = time.monotonic() + WORK_SECONDS
        self._publication = Publication(solver, self._end)

    def begin(self, request: SigningRequest, names: list[str]) -> Pending:
        """Read what a new order asks for, so that its records are stored together with it. Changes nothing; what fails
        is done by `advance`."""
        wait = 0.0
        try:
            seen = self._seen.take(self._reference.url)
            if seen and seen.order.get("status") == "pending":
                seen = self._with_challenges(seen, request, names)
                self._has_new_records(seen.waiting)
            if seen:
                self._keep(seen)
        except OrderDead:
            pass
        except FAULTS as fault:
            wait = (isinstance(fault, Problem) and fault.wait) or DEFAULT_WAIT
        return Pending(self._reference.text(), min(wait, LONGEST_WAIT))

    def advance(self, request: SigningRequest, names: list[str], preferred_chain: str | None) -> Outcome:
        """Take the next step, and all that follow without a wait. `names` are the identifiers that were ordered."""
        try:
            return self._advance(request, names, preferred_chain)
        except TimeIsUp:
            return Pending(self._reference.text(), 0.0)
        except OrderDead as dead:
            return self._failed(dead.order, request.lost_orders)
        except FinalizeFailed as failed:
            return failed_order(failed.problem, "", request.lost_orders)

    def _advance(self, request: SigningRequest, names: list[str], preferred_chain: str | None) -> Outcome:
        seen = self._seen.take(self._reference.url)
        pauses: Iterator[float] = iter(())
        while True:
            order, wait = (seen.order, None) if seen else self.poll()
            match order.get("status"):
                case "valid":
                    return self._download(order, request.csr, preferred_chain)
                case "invalid":
                    return self._failed(order, request.lost_orders)
                case "ready" if not self._finalized:
                    seen, wait, pauses = self._finalize(order, request.csr), None, iter(PAUSES)
                case "pending" if not self._is_answered():
                    if pending := self._proved(seen or Seen(order, self._now()), wait, request, names):
                        return pending
                    seen, wait, pauses = None, None, iter(PAUSES)
                case "pending" | "processing" | "ready":
                    seen = None
                case _:
                    raise UnusableAnswer("it answered an order without a known status")
            if not seen and (wait or not self._has_paused(pauses)):
                return self._later(wait or self._wait_of_challenges(order))

    def _proved(self, seen: Seen, wait: float | None, request: SigningRequest, names: list[str]) -> Pending | None:
        """Answer the challenges, or say what that has to wait for."""
        seen = self._with_challenges(seen, request, names)
        if self._has_new_records(seen.waiting):
            pending = Pending(self._reference.text(), 0.0)
        elif not self._are_visible(seen):
            pending = self._later(wait or self._wait)
        else:
            self._answer(seen)
            return None
        self._keep(seen)
        return pending

    def _keep(self, seen: Seen) -> None:
        """Remember it for the next step, unless that is the server's: then it is asked."""
        if seen.waiting or seen.order.get("status") != "pending":
            self._seen.keep(self._reference.url, seen)

    def _keep_rest(self, seen: Seen, waiting: Waiting) -> None:
        """Remember what the next call goes on with, since the time is up: else it would take as long for the same."""
        visible = frozenset(self._publication.visible)
        self._keep(replace(seen, at=self._now(), waiting=waiting, visible=visible))

    def _has_paused(self, pauses: Iterator[float]) -> bool:
        pause = None if time.monotonic() >= self._end else next(pauses, None)
        time.sleep(pause or 0)
        return pause is not None

    def _later(self, wait: float) -> Pending:
        wait = wait or grown(DEFAULT_WAIT, self._reference.answered or self._reference.stored, self._now().timestamp())
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
                kept = tuple(one for one in self._reference.records if one != record)
                self._reference = replace(self._reference, records=kept)
            if time.monotonic() >= self._end:
                break
        if left := ", ".join(dict.fromkeys(name for name, _ in self._reference.records)):
            if reason:
                raise DnsFailure(f"{reason}; challenge records are left behind at {left}")
            raise TimeIsUp(f"there was no time to remove the challenge records at {left}")

    def cancel(self) -> None:
        """Remove the records, even if the server is down, and deactivate pending authorizations (section 7.5.2)."""
        self._end = time.monotonic() + CANCEL_SECONDS
        self._seen.take(self._reference.url)  # what was seen is true no more
        self.clean()
        order, _ = self.poll()
        for challenge in self._authorizations.of(order):
            if challenge.status == "pending":
                self._exchange.post(challenge.authorization, {"status": "deactivated"})

    def _part(self, url: str) -> requests.Response:
        """Read the order or one of its authorizations."""
        try:
            return self._exchange.part(url)
        except OrderGone:
            self.clean()
            raise

    def _is_answered(self) -> bool:
        """Whether the server may still validate what was answered; it is not answered again so soon."""
        return self._answered or self._now().timestamp() < self._reference.answered + ANSWER_AGAIN

    def _wait_of_challenges(self, order: dict[str, Any]) -> float:
        """What the server says of challenges that it validates; 0 if it validates none."""
        return self._authorizations.wait(order) if order.get("status") == "pending" else 0.0

    def _with_challenges(self, seen: Seen, request: SigningRequest, names: list[str]) -> Seen:
        """With the challenges to answer, read from the server if they were not yet; the others are answered later where
        looks at standing records leave no time for all.

        Keeps the longest Retry-After, also of those that the server validates now."""
        if seen.waiting is not None:
            return seen
        unfinished = self._authorizations.unfinished(seen.order)
        self._wait = max((one.wait for one in unfinished), default=0.0)
        pending = [one for one in unfinished if one.status == "pending"]
        standing = None if request.lost_orders and self._has_dns else self._standing
        found = proofs(pending, names, standing, has_dns=self._has_dns)
        return replace(seen, waiting=tuple(self._publication.in_time(found)))

    def _has_new_records(self, waiting: Waiting) -> bool:
        """Add the records to the reference. Whether some are new: then the reference must be stored first."""
        wanted = [challenge.record for challenge in waiting or () if challenge.record]
        records = tuple(dict.fromkeys([*self._reference.records, *wanted]))
        if records == self._reference.records:
            return False
        self._reference = replace(self._reference, records=records, answered=0.0, stored=self._now().timestamp())
        return True

    def _are_visible(self, seen: Seen) -> bool:
        """Publish the records of the challenges. Returns whether there are challenges, and all records can be seen."""
        now = self._now().timestamp()
        records = [challenge.record for challenge in seen.waiting or () if challenge.record]
        self._publication.visible |= seen.visible
        try:
            is_silence_over = now >= self._reference.stored + SILENCE
            if self._publication.is_complete(records, without_silent=is_silence_over):
                return bool(seen.waiting)
        except TimeIsUp:
            self._keep_rest(seen, seen.waiting)
            raise
        self._wait = max(self._wait, grown(DNS_WAIT, self._reference.stored, now))
        return False

    def _answer(self, seen: Seen) -> None:
        """Answer the challenges, or as many as there is time for."""
        now, waiting = self._now().timestamp(), seen.waiting or ()
        for place, challenge in enumerate(waiting, 1):
            self._authorizations.answer(challenge)
            if place < len(waiting) and time.monotonic() >= self._end:
                self._keep_rest(seen, waiting[place:])
                raise TimeIsUp
        self._reference, self._answered = replace(self._reference, answered=now), True

    def _finalize(self, order: dict[str, Any], csr: bytes) -> Seen | None:
        """Remove the records, which are not needed any more, and finalize the order. It may be finalized already.

        Returns what was seen if the answer says that the certificate is there (section 7.4)."""
        self.clean()
        self._finalized = True
        answered = self._reference.answered or self._now().timestamp()
        self._reference = replace(self._reference, answered=answered)
        encoded = base64.urlsafe_b64encode(csr).rstrip(b"=").decode()
        if not order.get("finalize") and self._reference.finalize:
            order = {**order, "finalize": self._reference.finalize}
        try:
            valid = valid_order(self._exchange.post(text_of(order, "finalize"), {"csr": encoded}))
            return Seen(valid, self._now()) if valid else None
        except Problem as problem:
            status = self.poll()[0].get("status")
            if status == "invalid":
                raise FinalizeFailed(problem) from None
            if status not in TAKEN:
                raise
        return None

    def _failed(self, order: dict[str, Any], lost_orders: int) -> Outcome:
        self.clean()
        may_change = self._has_dns and not lost_orders  # from the standing record to dns-01
        failed = self._authorizations.failed(order, must_read=may_change and self._standing is not None)
        error, name = (failed.error, failed.identifier) if failed else (order.get("error"), "")
        if not isinstance(error, dict):
            # An order that expires becomes invalid without an error (section 7.1.6).
            return Unavailable("the order or an authorization expired, or failed without a reason", restart=True)
        identifier, problem = error.get("identifier"), problem_of(error)
        if failed and failed.failed == PERSIST and may_change:
            return Unavailable(sentence(f"{name}: its standing record failed: {problem.detail}"), restart=True)
        return failed_order(problem, name or (identifier if isinstance(identifier, str) else ""), lost_orders)

    def _download(self, order: dict[str, Any], csr: bytes, preferred_chain: str | None) -> Outcome:
        def post(url: str) -> requests.Response:
            return self._exchange.post(url, None)

        first, tries = fetched(post, text_of(order, "certificate")), self._reference.chain_tries + 1
        try:
            return issued(download(post, first, preferred_chain, wait=tries < CHAIN_TRIES), csr)
        except AlternatesNotReady:
            return Pending(replace(self._reference, chain_tries=tries).text(), CHAIN_WAIT)
