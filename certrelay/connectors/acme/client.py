"""Signed requests to an ACME server (RFC 8555, section 6): josepy's signatures over our own bounded session.

certbot's own client waits in `sleep` and repeats a refused nonce only once, so only its messages are used.
"""

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests
from acme.jws import JWS
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.errors import Error as JoseError
from josepy.json_util import decode_b64jose
from josepy.jwa import ES256, ES384, ES512, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA

from certrelay.connectors.http import AuthoritySession, retry_after, sentence

MAX_NONCE_TRIES, MAX_NONCE_SECONDS = 40, 60.0
MAX_KEPT_NONCES = 32
PROBLEM_PREFIX = "urn:ietf:params:acme:error:"
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class UnusableAnswer(Exception):
    """The server answered something that is not ACME."""


class Problem(Exception):
    """A problem document (RFC 8555, section 6.7): `code` without its prefix; the text is one bounded sentence."""

    def __init__(self, code: str, detail: str, status: int = 0, wait: float | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.status, self.wait = code, detail, status, wait


def problem_of(document: Any, status: int = 0, wait: float | None = None) -> Problem:
    """From the JSON of a problem document, with what its subproblems say (section 6.7.1). Raises UnusableAnswer."""
    try:
        code = document["type"].removeprefix(PROBLEM_PREFIX)
        words = [str(document.get("detail") or document.get("title") or code)]
        for part in document.get("subproblems") or ():
            words.append(f"{part.get('identifier', {}).get('value', '')}: {part.get('detail', part.get('type'))}")
    except MALFORMED:
        raise UnusableAnswer(f"it answered HTTP {status}" if status else "it named no reason") from None
    return Problem(sentence(code, 100), sentence("; ".join(words)), status, wait)


def jwk_of(key: Any) -> tuple[JWK, JWASignature]:
    """The key for josepy, and the one algorithm (RFC 7518, section 3.1) it signs with. Raises ValueError."""
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key), RS256
    algorithms = {"secp256r1": ES256, "secp384r1": ES384, "secp521r1": ES512}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in algorithms:
        return JWKEC(key=key), algorithms[key.curve.name]
    raise ValueError("the account key must be RSA, or EC on P-256, P-384 or P-521")


def links(answer: requests.Response, relation: str) -> list[str]:
    """All of one relation: `Response.links` keeps only the last."""
    found = requests.utils.parse_header_links(answer.headers.get("Link", ""))
    return [link["url"] for link in found if link.get("rel") == relation]


class AcmeClient:
    """One server and one account key; shared by threads.

    All methods raise Problem, UnusableAnswer and requests.RequestException.
    """

    def __init__(self, session: AuthoritySession, url: str, key: Any, now: Callable[[], datetime]) -> None:
        self.key, self._algorithm = jwk_of(key)
        self.public_key = self.key.public_key()
        self._session, self._url, self._now = session, url, now
        self._directory: dict[str, Any] | None = None
        self._nonces: list[str] = []
        self._lock = threading.Lock()

    def directory(self) -> dict[str, Any]:
        """Section 7.1.1; asked for once."""
        if self._directory is None:
            found = json_object(self.fetch(self._url))
            for name in ("newNonce", "newAccount", "newOrder"):
                if not isinstance(found.get(name), str):
                    raise UnusableAnswer("it answered something else than an ACME directory")
            self._directory = found
        return self._directory

    def resource(self, name: str) -> str | None:
        """The URL of an optional resource of the directory."""
        found = self.directory().get(name)
        return found if isinstance(found, str) else None

    def fetch(self, url: str) -> requests.Response:
        """What needs no signature."""
        return self._checked(self._session.get(url))

    def post(self, url: str, payload: dict[str, Any] | None, account: str | None) -> requests.Response:
        """Signed in the name of `account` (a URL) or, without one, by the key itself; no payload is POST-as-GET."""
        new_nonce = self.directory()["newNonce"]
        body, begin = b"" if payload is None else json.dumps(payload).encode(), time.monotonic()
        for _ in range(MAX_NONCE_TRIES):
            nonce = self._nonce(new_nonce)
            signed = JWS.sign(body, self.key, self._algorithm, nonce, url, account)
            headers = {"Content-Type": "application/jose+json"}
            answer = self._session.post(url, data=signed.json_dumps(), headers=headers)
            try:
                return self._checked(answer)
            except Problem as problem:
                if problem.code != "badNonce" or time.monotonic() - begin > MAX_NONCE_SECONDS:
                    raise
                self._forget_nonces()
            finally:
                self._keep_nonce(answer)
        raise UnusableAnswer(f"it refused {MAX_NONCE_TRIES} nonces one after the other")

    def signed_by_itself(self, url: str, payload: dict[str, Any]) -> dict[str, Any]:
        """A signature that shows the public key, within a request that another key signs (section 7.3.5)."""
        signed: dict[str, Any] = JWS.sign(json.dumps(payload).encode(), self.key, self._algorithm, None, url).to_json()
        return signed

    def _nonce(self, url: str) -> bytes:
        with self._lock:
            nonce = self._nonces.pop() if self._nonces else None
        if nonce is None:
            nonce = self._checked(self._session.head(url)).headers.get("Replay-Nonce", "")
        try:
            decoded: bytes = decode_b64jose(nonce)
        except JoseError:
            decoded = b""
        if not decoded:
            raise UnusableAnswer("it answered without a nonce")
        return decoded

    def _forget_nonces(self) -> None:
        """One that is refused is mostly too old, and so are the others."""
        with self._lock:
            self._nonces.clear()

    def _keep_nonce(self, answer: requests.Response) -> None:
        nonce = answer.headers.get("Replay-Nonce")
        with self._lock:
            if nonce and len(self._nonces) < MAX_KEPT_NONCES:
                self._nonces.append(nonce)

    def _checked(self, answer: requests.Response) -> requests.Response:
        if requests.codes.ok <= answer.status_code < requests.codes.multiple_choices:
            return answer
        wait = retry_after(answer.headers, self._now())
        try:
            document = answer.json()
        except MALFORMED:
            raise Problem("", f"it answered HTTP {answer.status_code}", answer.status_code, wait) from None
        if not isinstance(document, dict) or not isinstance(document.get("type"), str):
            raise Problem("", f"it answered HTTP {answer.status_code}", answer.status_code, wait)
        raise problem_of(document, answer.status_code, wait)


def json_object(answer: requests.Response) -> dict[str, Any]:
    """Raises UnusableAnswer."""
    try:
        found = answer.json()
    except MALFORMED:
        found = None
    if not isinstance(found, dict):
        raise UnusableAnswer("it answered something else than a JSON object")
    return found
