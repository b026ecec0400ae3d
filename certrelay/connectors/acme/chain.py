"""The chains that an ACME server offers for one certificate (RFC 8555, section 7.4.2)."""

from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import requests
from cryptography import x509
from cryptography.x509.oid import NameOID
from requests import exceptions

from certrelay.connectors.acme.client import links
from certrelay.connectors.acme.problem import Problem, UnusableAnswer, json_object
from certrelay.connectors.base import Issued, Outcome, Unavailable
from certrelay.connectors.http import ForeignOrigin
from certrelay.errors import Invalid
from certrelay.log import logger
from certrelay.pki.contents import read_certificates

MAX_ALTERNATES = 10
NO_URL = (ForeignOrigin, exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema)

log = logger("acme")


class AlternatesNotReady(Exception):
    """The server could not answer an alternate chain now."""


def download(
    fetch: Callable[[str], requests.Response], first: requests.Response, root: str | None, *, wait: bool
) -> bytes:
    """The alternate chain that leads to `root`, or the first chain: an alternate is optional.

    `fetch` raises Problem and requests.RequestException. Raises UnusableAnswer where the first answer holds no
    certificates and, as long as `wait` is set, AlternatesNotReady instead of giving up an alternate that may come."""
    if root is None or leads_to(first, root):
        return checked(first)
    missing = False
    for url in islice(links(first, "alternate"), MAX_ALTERNATES):
        try:
            answer = fetch(url)
            if leads_to(answer, root):
                return answer.content
        except (UnusableAnswer, *NO_URL):
            continue
        except (Problem, requests.RequestException) as fault:
            missing = missing or not _is_refusal(fault)
    if missing and wait:
        raise AlternatesNotReady
    log.warning("no chain that the server offers leads to the preferred root; the first one is taken")
    return checked(first)


def _is_refusal(fault: Exception) -> bool:
    return isinstance(fault, Problem) and 400 <= fault.status < 500 and fault.status != 429


def checked(answer: requests.Response) -> bytes:
    """The answer's certificates. Raises UnusableAnswer."""
    leads_to(answer, "")
    return answer.content


def issued(chain: bytes, csr: bytes) -> Outcome:
    """The outcome for a downloaded chain. Some servers give all requests for the same names one order, and only the
    request that finalizes it first gets the certificate."""
    contents = read_certificates(chain)
    ours = x509.load_der_x509_csr(csr).public_key()
    # The verification says what is wrong with a chain whose leaf may be the one that cannot be read.
    if contents.unreadable or ours in [one.public_key() for one in contents.certificates]:
        return Issued(chain)
    return Unavailable("the server gave one order to two requests, and the other request was faster", restart=True)


def leads_to(answer: requests.Response, root: str) -> bool:
    """Whether the issuer of the topmost certificate has this common name, or this subject key identifier in hex.

    What cannot be read does not count: perhaps nobody needs it. Raises UnusableAnswer if nothing can be read."""
    try:
        contents = read_certificates(answer.content)
        contents.require_certificates()
    except Invalid as fault:
        raise UnusableAnswer(f"it answered something other than certificates in PEM or PKCS#7: {fault}") from None
    top = contents.certificates[-1]
    names = [name.value for name in top.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)]
    keys = [one.value for one in top.extensions if isinstance(one.value, x509.AuthorityKeyIdentifier)]
    digest = root.replace(":", "").lower()
    return root in names or any(key.key_identifier and key.key_identifier.hex() == digest for key in keys)


def fetched(post: Callable[[str], requests.Response], url: str) -> requests.Response:
    """Download the certificate. A problem loses its code, and so is not final: the certificate was issued."""
    try:
        return post(url)
    except Problem as problem:
        detail = f"the certificate was issued but cannot be fetched: {problem.detail}"
        raise Problem("", detail, problem.status, problem.wait) from None


def valid_order(answer: requests.Response) -> dict[str, Any] | None:
    """The order in the answer to finalize, if it says that the certificate is there: nothing is asked again then."""
    with suppress(UnusableAnswer):
        order = json_object(answer)
        if order.get("status") == "valid" and order.get("certificate"):
            return order
    return None
