"""What the pages of web enrollment say about a request: Microsoft's `certsrv` pages, in any language."""

import html
import re

from certrelay.connectors.http import sentence

NUMBER = r"([0-9]{1,10})(?![0-9])"  # a DWORD
ISSUED_LINK = re.compile(rf"certnew\.cer\?ReqID={NUMBER}", re.I)
REQUEST_ID = re.compile(rf"Request Id is\s+{NUMBER}|ReqID={NUMBER}", re.I)
DISPOSITION = re.compile(r'disposition message(?: is|:)[\s"]*([^"\n]+)', re.I)
# HRESULTs of facilities 9 and 11 (security, certificates): errors of the policy module, templates and chains.
POLICY_CODE = re.compile(r"0x800[9b][0-9a-f]{4}", re.I)
# CRYPT_E_NO_REVOCATION_CHECK, CRYPT_E_REVOCATION_OFFLINE, CERT_E_REVOCATION_FAILURE: the CA cannot check its own chain.
PASSING_CODE = re.compile(r"0x8009201[23]|0x800b010e", re.I)
# On an error page: the HRESULT of a failed call to the CA; CERTSRV_E_PROPERTY_EMPTY: the CA has no such request.
FAILED_CALL, NOT_KNOWN = re.compile(r"0x[89a-f][0-9a-f]{7}", re.I), re.compile("0x80094004", re.I)
ERROR, DENIED, REVOKED = 1, 2, 6  # CR_DISP_…, certcli.h
ELEMENT = 2000  # how many characters after an element's id are searched
DETAIL = r"(?s:.{0,200}?)<DD>\s*([^<]*)"


def request_id(page: str) -> str | None:
    """The request id that a page names."""
    found = REQUEST_ID.search(page) or _after(page, "locInfoReqID", rf"[^0-9]*{NUMBER}")
    return next(filter(None, found.groups())) if found else None


def disposition_code(page: str) -> int | None:
    """The disposition's code on an error page."""
    lower = page.lower()
    found = re.search(r"([0-9a-f]{1,8})\s*<[^<>]*$", lower[: max(lower.find("locdispspacer"), 0)][-100:])
    return int(found[1], 16) if found else None


def is_denied(page: str, code: int | None) -> bool:
    """Whether the CA denied the request or revoked its certificate; `code` is the disposition's."""
    lower = page.lower()
    marks = ("request was denied", "locdenied", "locissrev")
    return code in (DENIED, REVOKED) or any(mark in lower for mark in marks)


def message(page: str) -> str:
    """The disposition message, or the reason on the page of a denial."""
    labelled = _after(page, "locDispMsgLabel", DETAIL)
    text = None if labelled else DISPOSITION.search(html.unescape(re.sub(r"<[^<>]*>", "\n", page)))
    reason = _after(page, "locInfoReqIDandReason", r"[^>]*>([^<]*)")
    return sentence(
        next((html.unescape(found[1]) for found in (text, labelled, reason) if found and found[1].strip()), "")
    )


def failed_call(page: str) -> str:
    """The result of the pages' own call to the CA, unless it succeeded."""
    result = _after(page, "locResultLabel", DETAIL)
    return sentence(html.unescape(result[1])) if result and FAILED_CALL.search(result[1]) else ""


def _after(page: str, element: str, pattern: str) -> re.Match[str] | None:
    """`pattern` in the first characters after the id of an element."""
    found = re.search(element, page, re.I)
    return re.compile(pattern).match(page, found.end(), found.end() + ELEMENT) if found else None
