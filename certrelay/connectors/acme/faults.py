"""What an ACME server's problem documents (RFC 8555, section 6.7) and other faults mean for an order."""

import requests
from azure.core.exceptions import AzureError

from certrelay.connectors.acme.account import BindingRefused
from certrelay.connectors.acme.account_key import KeyRefused
from certrelay.connectors.acme.dns import DnsFailure
from certrelay.connectors.acme.problem import Problem, UnusableAnswer
from certrelay.connectors.acme.reference import OrderGone, TooManyNames
from certrelay.connectors.base import Rejected, Unavailable
from certrelay.connectors.http import MAX_RETRY_AFTER, failure, sentence

FAULTS = (
    Problem, UnusableAnswer, BindingRefused, KeyRefused, OrderGone, TooManyNames, DnsFailure, requests.RequestException,
    AzureError,
)  # fmt: skip


FINAL = frozenset(
    {
        "badCSR", "badPublicKey", "caa", "externalAccountRequired", "invalidContact", "invalidProfile", "malformed",
        "rejectedIdentifier", "unauthorized", "unsupportedContact", "unsupportedIdentifier", "userActionRequired",
    }
)  # fmt: skip


NOT_OURS = "accountDoesNotExist"


def outcome_of(fault: Exception) -> Rejected | Unavailable:
    """What one of FAULTS means for the order."""
    match fault:
        case Problem() if fault.code == NOT_OURS:
            return Unavailable("the server does not know our account", restart=True)
        case Problem() if fault.code in FINAL and fault.status not in (429, 503):
            return Rejected(sentence(f"the server refused: {fault.detail} ({fault.code})"))
        case Problem():
            wait = None if fault.wait is None else min(fault.wait, MAX_RETRY_AFTER)
            return Unavailable(sentence(f"{fault.detail} ({fault.code})" if fault.code else fault.detail), wait)
        case BindingRefused() | TooManyNames():
            return Rejected(sentence(fault))
        case OrderGone():
            return Unavailable(sentence(fault), restart=True)
        case UnusableAnswer() | DnsFailure() | KeyRefused():
            return Unavailable(sentence(fault))
        case requests.RequestException():
            return Unavailable(failure(fault))
        case AzureError():
            return Unavailable(f"the account key in Key Vault cannot be used ({type(fault).__name__})")
    raise fault
