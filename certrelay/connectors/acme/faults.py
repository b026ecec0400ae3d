"""What an ACME server's problem documents (RFC 8555, section 6.7) and other faults mean for an order."""

import re
from dataclasses import replace
from typing import Any

import requests
from azure.core.exceptions import AzureError

from certrelay.connectors.acme.account import BindingRefused
from certrelay.connectors.acme.account_key import KeyRefused
from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.dns_persist import NotUsable
from certrelay.connectors.acme.problem import MAX_DETAIL, Problem, UnusableAnswer
from certrelay.connectors.acme.reference import OrderElsewhere, OrderGone, TooManyNames
from certrelay.connectors.base import Rejected, Unavailable
from certrelay.connectors.http import MAX_RETRY_AFTER, failure, sentence

FAULTS = (
    Problem, UnusableAnswer, BindingRefused, KeyRefused, OrderElsewhere, OrderGone, TooManyNames, DnsFailure, NotUsable,
    requests.RequestException, AzureError,
)  # fmt: skip

FINAL = frozenset(
    {
        "badCSR", "badPublicKey", "caa", "externalAccountRequired", "invalidContact", "invalidProfile", "malformed",
        "rejectedIdentifier", "unauthorized", "unsupportedContact", "unsupportedIdentifier", "userActionRequired",
    }
)  # fmt: skip

NOT_OURS = "accountDoesNotExist"

# Look-ups of the server's own that failed. Let's Encrypt allows five failed authorizations an hour for a name, and none
# of its look-ups is repeated, so each gets a new order, after so many seconds.
LOOK_UPS = frozenset({"connection", "dns"})
NEW_ORDER_DELAYS = (600.0, 3600.0)
MAX_LOST_ORDERS = 4
FORBIDDEN = re.compile(r"prevent|forbid|prohibit|disallow|not (?:allow|permit|authori[sz])|unauthori[sz]", re.I)
PAUSED = re.compile(r"unpause|paused|temporarily prevented", re.I)


class FinalizeFailed(Exception):
    """The order is invalid since `problem` was the answer to finalize."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class OrderDead(Exception):
    """The order (a document) says that it is pending, and one of its authorizations can never be valid any more."""

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__()
        self.order = order


def is_passing(problem: Problem) -> bool:
    """Whether only look-ups of the server failed, which says nothing about the names: of a record (`dns`), of CAA
    records that do not forbid anything (RFC 8659), or only at some of its network perspectives."""
    return all(map(_is_look_up, problem.reasons))


def _is_look_up(problem: Problem) -> bool:
    look_up = problem.code in LOOK_UPS or (problem.code == "caa" and not FORBIDDEN.search(problem.detail))
    return look_up or "secondary validation" in problem.detail.lower()


def is_final(problem: Problem) -> bool:
    """Whether the same question would get the same answer, if only to one of its parts. Let's Encrypt pauses accounts
    until a person asks it not to, and then names no Retry-After. A URL that is gone may have moved: the directory is
    not read again at once."""
    return any(_is_refusal(one) and not _is_look_up(one) for one in problem.reasons)


def _is_refusal(problem: Problem) -> bool:
    if problem.code == "rateLimited" and problem.wait is None and PAUSED.search(problem.detail):
        return True
    return problem.code in FINAL and problem.status not in (404, 410, 429, 503)


def outcome_of(fault: Exception) -> Rejected | Unavailable:
    """What one of FAULTS means for the order."""
    match fault:
        case Problem() if fault.code == NOT_OURS:
            return Unavailable("the server does not know our account", restart=True)
        case Problem() if is_passing(fault):
            pause = min(fault.wait or NEW_ORDER_DELAYS[0], MAX_RETRY_AFTER)
            return Unavailable(_sentence(f"{fault.detail} ({fault.code})"), pause, everywhere=True)
        case Problem() if is_final(fault):
            return Rejected(_sentence(f"the server refused: {fault.detail} ({fault.code})"))
        case Problem():
            wait = None if fault.wait is None else min(fault.wait, MAX_RETRY_AFTER)
            return Unavailable(_sentence(f"{fault.detail} ({fault.code})" if fault.code else fault.detail), wait)
        case BindingRefused() | TooManyNames() | OrderElsewhere():
            return Rejected(_sentence(fault))
        case OrderGone():
            return Unavailable(_sentence(fault), restart=True)
        case UnusableAnswer() | DnsFailure() | KeyRefused() | NotUsable():
            return Unavailable(_sentence(fault), everywhere=isinstance(fault, DnsFailure))
        case requests.RequestException():
            return Unavailable(failure(fault))
        case AzureError():
            forbidden = getattr(fault, "status_code", None) == requests.codes.forbidden
            why = "the app lacks the role Key Vault Crypto User there" if forbidden else type(fault).__name__
            return Unavailable(f"the account key in Key Vault cannot be used ({why})")
    raise fault


def failed_order(problem: Problem, name: str, lost_orders: int) -> Rejected | Unavailable:
    """What the problem of an invalid order means, of which `name` is the identifier that failed, if it is known, after
    so many `lost_orders`."""
    prefix = f"{name}: " if name else ""
    reason = _sentence(f"the order failed: {prefix}{problem.detail} ({problem.code})")
    others = [one for one in problem.reasons if one.code not in ("serverInternal", "rateLimited")]
    if not others:
        return Unavailable(reason, restart=True)
    if all(map(_is_look_up, others)) and lost_orders < len(NEW_ORDER_DELAYS):
        return Unavailable(reason, NEW_ORDER_DELAYS[lost_orders], restart=True, everywhere=True)
    return Rejected(reason)


def after_losses(outcome: Unavailable, lost_orders: int) -> Rejected | Unavailable:
    """What is done when an order is lost, after so many others: the next one is placed later, or none any more."""
    if not lost_orders:
        return outcome
    if lost_orders >= MAX_LOST_ORDERS:
        return Rejected(_sentence(f"{lost_orders + 1} orders failed one after the other: {outcome.reason}"))
    pause = NEW_ORDER_DELAYS[min(lost_orders, len(NEW_ORDER_DELAYS)) - 1]
    return replace(outcome, retry_after=max(pause, outcome.retry_after or 0.0))


def _sentence(text: object) -> str:
    return sentence(text, MAX_DETAIL)
