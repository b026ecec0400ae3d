"""ACME Renewal Information (RFC 9773): a certificate's id, and the window that the server suggests for its renewal."""

import base64
import math
import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

import requests
from cryptography import x509

from certrelay.connectors.acme.problem import MALFORMED, Problem, UnusableAnswer, json_object
from certrelay.connectors.base import NoRenewalWindow, RenewalWindow
from certrelay.connectors.http import retry_after
from certrelay.connectors.http_settings import authority_url
from certrelay.pki.certificate import loaded

RETRY_AFTER = 21_600.0  # seconds; section 4.3.3
MAX_URL_LENGTH = 1000
LEAP_SECOND = re.compile(r"([T ]\d\d:\d\d):60")
NOT_NOW = (requests.codes.request_timeout, requests.codes.too_many_requests)
# What a server that is asked for an order with `replaces` refuses for other reasons than that.
OTHER_REASONS = frozenset(
    {
        "accountDoesNotExist", "badNonce", "externalAccountRequired", "invalidProfile", "rateLimited",
        "rejectedIdentifier", "unsupportedIdentifier", "userActionRequired",
    }
)  # fmt: skip


def certificate_id(certificate: bytes) -> str | None:
    """The id of a certificate (DER), section 4.1; None without an authority key identifier, or if it is unreadable."""
    try:
        parsed = loaded(certificate)
        extension = parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None
    serial = parsed.serial_number
    octets = serial.to_bytes(math.ceil((serial.bit_length() + 1) / 8), signed=True)
    identifier = extension.value.key_identifier
    return f"{_base64url(identifier)}.{_base64url(octets)}" if identifier else None


def is_about_replacing(problem: Problem) -> bool:
    """Whether a new order may have been refused for what it `replaces` (section 5): servers disagree about status and
    code. Pebble answers 500 for a serial number that begins with a zero octet."""
    refused = problem.status in (400, 403, 404, 409) and problem.code not in OTHER_REASONS
    return refused or problem.code in ("alreadyReplaced", "serverInternal")


def window_of(answer: requests.Response, now: datetime) -> RenewalWindow:
    """The window (UTC) of a renewal info object, section 4.2. Raises NoRenewalWindow where there is no usable one."""
    try:
        document = json_object(answer)
        start, end = (_moment(document["suggestedWindow"][edge]) for edge in ("start", "end"))
    except (UnusableAnswer, *MALFORMED, OverflowError):
        raise NoRenewalWindow("it answered no renewal window") from None
    if end <= start:
        raise NoRenewalWindow("it answered a renewal window that ends before it starts")
    wait = retry_after(answer.headers, now)
    return RenewalWindow(start, end, wait or RETRY_AFTER, _explanation(document.get("explanationURL")))


def refusal(problem: Problem) -> Exception:
    """What a problem means that a question for renewal info was answered with (section 4.3.3): NoRenewalWindow for
    a refusal, which is about the one certificate; the problem itself if the server cannot answer now."""
    if 400 <= problem.status < 500 and problem.status not in NOT_NOW:
        return NoRenewalWindow(problem.detail)
    return problem


def _moment(text: str) -> datetime:
    """Raises ValueError, TypeError, AttributeError or OverflowError: some moments of RFC 3339 are none in UTC. Its `T`
    and `Z` may be in lower case, and a leap second is the second before (section 5.6)."""
    moment = datetime.fromisoformat(LEAP_SECOND.sub(r"\1:59", text.upper()))
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC)


def _explanation(url: object) -> str | None:
    if not isinstance(url, str) or len(url) > MAX_URL_LENGTH or not url.isprintable():
        return None
    try:
        authority_url(urlsplit(url)._replace(query="", fragment="").geturl())
    except ValueError:
        return None
    return url


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
