"""Signed requests to an ACME server (RFC 8555, section 6): josepy's signatures over our own bounded session.

certbot's own client waits in `sleep` and repeats a refused nonce only once, so only its messages are used.
"""

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from acme.jws import JWS
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.errors import Error as JoseError
from josepy.json_util import decode_b64jose
from josepy.jwa import ES256, ES384, ES512, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA

from certrelay.connectors.acme.directory import Directory
from certrelay.connectors.acme.problem import MALFORMED, Problem, UnusableAnswer, json_object, problem_of
from certrelay.connectors.http import AuthoritySession, retry_after, sentence

MAX_NONCE_TRIES, MAX_NONCE_SECONDS = 40, 60.0
MAX_KEPT_NONCES = 32
GONE = (requests.codes.not_found, requests.codes.gone)


def jwk_of(key: Any) -> tuple[JWK, JWASignature]:
    """The key for josepy, and the algorithm (RFC 7518, section 3.1) that it signs with. Raises ValueError."""
    if isinstance(key, rsa.RSAPrivateKey):
        return JWKRSA(key=key), RS256
    algorithms = {"secp256r1": ES256, "secp384r1": ES384, "secp521r1": ES512}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in algorithms:
        return JWKEC(key=key), algorithms[key.curve.name]
    raise ValueError("the account key must be RSA, or EC on P-256, P-384 or P-521")


def links(answer: requests.Response, relation: str) -> list[str]:
    """The URLs of all Link headers with this relation; `Response.links` keeps only the last."""
    found = requests.utils.parse_header_links(answer.headers.get("Link", ""))
    return [_resolved(answer.url, link["url"]) for link in found if relation in link.get("rel", "").lower().split()]


def location(answer: requests.Response) -> str | None:
    """The URL of the Location header, which may be relative (RFC 9110, section 10.2.2); None without one."""
    found = answer.headers.get("Location")
    return _resolved(answer.url, found) if found else None


def _redirected(answer: requests.Response) -> str:
    """Without the path and the query, which may hold a secret."""
    try:
        where = "{0.scheme}://{0.hostname}".format(urlsplit(location(answer) or ""))
    except ValueError:
        where = "nowhere"
    step = "redirects are not followed: correct the url in the settings"
    return sentence(f"it answered HTTP {answer.status_code}, to {where}; {step}")


def _resolved(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference) if reference else reference
    except ValueError:  # a request to it will say what is wrong
        return reference


class AcmeClient:
    """One server and one account key; shared by threads.

    All methods raise Problem, UnusableAnswer and requests.RequestException.
    """

    def __init__(self, session: AuthoritySession, url: str, key: Any, now: Callable[[], datetime]) -> None:
        self.key, self._algorithm = jwk_of(key)
        self.public_key = self.key.public_key()
        self._session, self._now, self._url = session, now, url
        self._directory = Directory(self._read_directory, now)
        self._nonces: list[str] = []
        self._lock = threading.Lock()

    def _read_directory(self) -> dict[str, Any]:
        """Its URLs may be relative (RFC 3986, section 4.2), as those in all other documents."""
        found = json_object(self.fetch(self._url))
        return {name: _resolved(self._url, value) if isinstance(value, str) else value for name, value in found.items()}

    def resource(self, name: str) -> str | None:
        """The URL of a resource in the directory; None where the server does not have it."""
        found = self._directory.document().get(name)
        return found if isinstance(found, str) else None

    def meta(self) -> dict[str, Any]:
        """The directory's `meta`; empty where it has none."""
        found = self._directory.document().get("meta")
        return found if isinstance(found, dict) else {}

    def at[T](self, name: str, ask: Callable[[str], T]) -> T:
        """Call `ask` with the URL of a resource, and once more if it answers 404 and the directory has a new URL.

        Raises UnusableAnswer where the server does not have the resource."""
        url = self._url_of(name)
        try:
            return ask(url)
        except Problem as problem:
            if problem.status not in GONE or not self._directory.has_moved(name, url):
                raise
        return ask(self._url_of(name))

    def _url_of(self, name: str) -> str:
        if (url := self.resource(name)) is None:
            raise UnusableAnswer(f"its directory has no {name}")
        return url

    def fetch(self, url: str) -> requests.Response:
        """GET a resource that needs no signature."""
        return self._checked(self._session.get(url))

    def post(self, url: str, payload: dict[str, Any] | None, account: str | None) -> requests.Response:
        """POST, signed for `account` (a URL) or, without one, by the key itself. Without payload: POST-as-GET."""
        url = _resolved(self._url, url)
        body, begin = b"" if payload is None else json.dumps(payload).encode(), time.monotonic()
        for _ in range(MAX_NONCE_TRIES):
            nonce = self._nonce()
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
        """A JWS with the public key in it, to be sent within a request that another key signs (section 7.3.5)."""
        signed: dict[str, Any] = JWS.sign(json.dumps(payload).encode(), self.key, self._algorithm, None, url).to_json()
        return signed

    def _nonce(self) -> bytes:
        with self._lock:
            nonce = self._nonces.pop() if self._nonces else None
        if nonce is None:
            answer = self.at("newNonce", lambda url: self._checked(self._session.head(url)))
            nonce = answer.headers.get("Replay-Nonce", "")
        try:
            decoded: bytes = decode_b64jose(nonce)
        except JoseError:
            decoded = b""
        if not decoded:
            raise UnusableAnswer("it answered without a nonce")
        return decoded

    def _forget_nonces(self) -> None:
        """A nonce is mostly refused because it is too old, and then the others are too."""
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
        if answer.is_redirect:
            raise Problem("", _redirected(answer), answer.status_code, wait)
        try:
            document = answer.json()
        except MALFORMED:
            raise Problem("", f"it answered HTTP {answer.status_code}", answer.status_code, wait) from None
        if not isinstance(document, dict) or not isinstance(document.get("type"), str):
            raise Problem("", f"it answered HTTP {answer.status_code}", answer.status_code, wait)
        raise problem_of(document, answer.status_code, wait, links(answer, "terms-of-service"))
