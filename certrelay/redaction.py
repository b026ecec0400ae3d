"""Secrets of the settings are taken out of what is told: of errors, reasons, operations and log lines.

An authority may repeat what it was sent: raw, in base64 (a login's `user:password` too), percent-encoded, or escaped in
JSON or HTML. This is the one place that knows the secrets and these forms. What people or logs are told goes through
`redact` where it comes into being: errors, faults, failures, transitions, outcomes, and every log record.
"""

import base64
import contextlib
import html
import json
import logging
import math
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

REPLACEMENT = "[redacted]"
SHORTEST = 6  # characters; what is shorter is in every other word
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_LONGEST_LOGIN = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    """Literal forms, and the middle parts of base64, whose ends depend on what stands beside the secret."""

    literal: tuple[str, ...] = ()
    encoded: tuple[str, ...] = ()


_known = [_Known()]


def protect(secrets: Iterable[str]) -> None:
    """From now on take these secrets out, in place of those before; log records of every library included."""
    parts = {part for secret in secrets for part in _parts(secret) if len(part) >= SHORTEST}
    literal = {form for secret in parts for form in _forms(secret)}
    encoded = {core for secret in parts for core in _cores(secret) if len(core) >= SHORTEST}
    longest_first = (tuple(sorted(forms, key=len, reverse=True)) for forms in (literal, encoded))
    _known[0] = _Known(*longest_first)
    if not getattr(logging.getLogRecordFactory(), "redacts", False):
        logging.setLogRecordFactory(_Records(logging.getLogRecordFactory()))


def redact(text: str) -> str:
    """The text with `[redacted]` for each secret in it."""
    for form in _known[0].literal:
        if form in text:
            text = text.replace(form, REPLACEMENT)
    for core in _known[0].encoded:
        while (at := text.find(core)) >= 0:
            start, end = _run(text, at, at + len(core))
            text = text[:start] + REPLACEMENT + text[end:]
    return text


class _Records:
    """Makes log records whose text and traceback have no secret, whatever handles or exports them."""

    redacts = True

    def __init__(self, made: Any) -> None:
        self._made = made

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._made(*args, **kwargs)
        with contextlib.suppress(
            TypeError, ValueError, LookupError
        ):  # what cannot be formatted, logging reports itself
            text = record.getMessage()
            if (clean := redact(text)) != text:
                record.msg, record.args = clean, None
        if record.exc_info and record.exc_info[1] is not None:
            told = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
            if (clean := redact(told)) != told:
                record.exc_info, record.exc_text = None, clean
        return record


def _parts(secret: str) -> Iterator[str]:
    """The secret, and what of it may be repeated alone: a PEM's lines, a URL's path, a connection string's key."""
    yield secret
    yield secret.strip()
    if "\n" in secret.strip():
        yield " ".join(secret.split())
        yield from (line for line in secret.split("\n") if len(line) >= 4 * SHORTEST and "-----" not in line)
    if re.match("https?://", secret):
        yield urlsplit(secret)._replace(scheme="", netloc="").geturl()
    yield from re.findall(r"(?:AccountKey|SharedAccessSignature|sig)=([^;&]+)", secret)


def _forms(secret: str) -> Iterator[str]:
    percent = [quote(secret), quote(secret, safe=""), quote_plus(secret), "".join(f"%{o:02X}" for o in secret.encode())]
    yield from percent
    yield from (re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), form) for form in percent)
    for ascii_only in (True, False):
        escaped = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield from (escaped, escaped.replace("/", "\\/"))
    yield from (secret, repr(secret)[1:-1], html.escape(secret), html.escape(secret, quote=False))
    yield from (secret.encode().hex(), secret.encode().hex().upper())


def _cores(secret: str) -> Iterator[str]:
    """What base64 has of the secret, whatever stands before and after it: one form for each of the three alignments."""
    octets = secret.encode()
    for before in range(3):
        written = base64.b64encode(bytes(before) + octets).decode()
        core = written[math.ceil(before * 8 / 6) : (before + len(octets)) * 8 // 6]
        yield from {core, core.replace("+", "-").replace("/", "_")}


def _run(text: str, start: int, end: int) -> tuple[int, int]:
    """The whole base64 text around its middle part: with a login's name, and the padding."""
    for _ in range(_LONGEST_LOGIN):
        start -= start > 0 and text[start - 1] in _ALPHABET
        end += end < len(text) and text[end] in _ALPHABET
    return start, end
