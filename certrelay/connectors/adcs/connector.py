"""Microsoft Active Directory Certificate Services over its web enrollment pages (`/certsrv`).

The pages are made for people. Links, the disposition's code and message, and the content type at the certificate's
address say what became of a request. The elements have the same ids in all languages. NTLM and Kerberos (RFC 4559)
authenticate a connection, bound to its TLS certificate (RFC 5929), as Extended Protection for Authentication requires.
"""

import base64
import binascii
import logging
from typing import Any, ClassVar

import requests
import spnego
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from spnego.channel_bindings import GssChannelBindings

from certrelay.connectors.adcs import pages
from certrelay.connectors.adcs.settings import AdcsSettings
from certrelay.connectors.base import (
    ConnectorError,
    ConnectorSettings,
    Context,
    Feature,
    Issued,
    Outcome,
    Pending,
    Rejected,
    SigningRequest,
    Unavailable,
)
from certrelay.connectors.http import (
    AuthoritySession,
    failure,
    tls_server_end_point,
    unavailable,
)
from certrelay.connectors.http_settings import origin

CERTIFICATE_TYPES = ("application/pkix-cert", "application/x-pkcs7-certificates", "application/x-x509-ca-cert")
MAX_LEGS = 4

# At DEBUG it logs NTLM messages, which allow offline guessing of the password.
logging.getLogger("spnego").setLevel(logging.INFO)


class Adcs:
    """Connector `adcs`. An order's reference is AD CS's request id."""

    Settings: ClassVar[type[ConnectorSettings]] = AdcsSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature) - {
        Feature.REQUESTED_VALIDITY,
        Feature.FINDS_EARLIER_ORDER,
        Feature.CERTIFICATE_AUTHORITY,
    }
    default_deadline_hours: ClassVar[float] = 7 * 24  # a certificate manager may have to approve

    def __init__(self, settings: AdcsSettings, context: Context) -> None:
        self._settings = settings
        self._now = context.now

    def submit(self, request: SigningRequest) -> Outcome:
        form = {
            "Mode": "newreq",
            "CertRequest": x509.load_der_x509_csr(request.csr).public_bytes(Encoding.PEM).decode(),
            "CertAttrib": f"CertificateTemplate:{self._settings.template}\r\n",
            "TargetStoreFlags": "0",
            "SaveCert": "yes",
            "ThumbPrint": "",
        }
        try:
            with AuthoritySession(self._settings) as session:
                answer = self._ask(session, "POST", "certfnsh.asp", data=form)
                if answer.status_code != requests.codes.ok:
                    return self._unavailable(answer)
                page = answer.content.decode(errors="replace")
                if issued := pages.ISSUED_LINK.search(page):
                    # From here on there is an order: return its id whatever fails.
                    outcome = self._fetch(session, issued[1])
                    return Pending(issued[1]) if isinstance(outcome, Unavailable) else outcome
                return self._disposition(page)
        except requests.RequestException as error:
            return Unavailable(_failure(error))

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        with AuthoritySession(self._settings) as session:
            return self._fetch(session, reference)

    def check(self) -> None:
        try:
            with AuthoritySession(self._settings) as session:
                answer = self._ask(session, "GET", "")
        except requests.RequestException as error:
            raise ConnectorError(_failure(error)) from None
        if answer.status_code != requests.codes.ok:
            raise ConnectorError(self._unavailable(answer).reason)
        if b"certrqus.asp" not in answer.content.lower():
            raise ConnectorError("its start page is not a web enrollment page")

    def _fetch(self, session: AuthoritySession, request_id: str) -> Outcome:
        """The certificate with its chain, or what became of the request."""
        number = str(int(request_id))
        try:
            certificate = self._ask(session, "GET", f"certnew.cer?ReqID={number}&Enc=b64")
            if certificate.status_code != requests.codes.ok:
                return self._unavailable(certificate)
            if not _is_certificate(certificate):
                return self._disposition(certificate.content.decode(errors="replace"), number)
            chain = self._ask(session, "GET", f"certnew.p7b?ReqID={number}&Enc=bin")
        except requests.RequestException as error:
            return Unavailable(_failure(error))
        if chain.status_code == requests.codes.ok and _is_certificate(chain):
            return Issued(chain.content)
        return Issued(certificate.content)

    def _disposition(self, page: str, request_id: str | None = None) -> Outcome:
        """The outcome of a page without a certificate. Without `request_id` the order is new: notify people."""
        is_new = request_id is None
        request_id = request_id or pages.request_id(page)
        words, code, failed = pages.message(page), pages.disposition_code(page), pages.failed_call(page)
        if pages.PASSING_CODE.search(words):
            return Unavailable(words, restart=not is_new)
        if pages.is_denied(page, code) or "denied" in words.lower() or pages.POLICY_CODE.search(words):
            return Rejected(words or "the request was denied, or its certificate revoked")
        if failed or code == pages.ERROR:
            is_lost = not is_new and (code == pages.ERROR or pages.NOT_KNOWN.search(failed) is not None)
            return Unavailable(words or failed or "the request failed", restart=is_lost)
        if request_id:
            awaits = f"a certificate manager decides on request {request_id}" if is_new else ""
            return Pending(request_id, self._settings.retry_after, awaits)
        return Unavailable(words or "its answer is not a web enrollment page")

    def _unavailable(self, answer: requests.Response) -> Unavailable:
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            return Unavailable(f"permission denied (HTTP {answer.status_code})")
        return unavailable(answer, self._now())

    def _ask(self, session: AuthoritySession, method: str, page: str, **content: Any) -> requests.Response:
        """Raises requests.RequestException."""
        url, settings = f"{self._settings.url}/certsrv/{page}", self._settings
        request = session.prepare_request(requests.Request(method, url, **content))
        if settings.login == "basic" and settings.username and settings.password:
            name_and_password = f"{settings.username}:{settings.password.get_secret_value()}".encode()
            request.headers["Authorization"] = f"Basic {base64.b64encode(name_and_password).decode()}"
        answer = session.send(request)
        if answer.status_code != requests.codes.unauthorized or settings.login == "basic":
            return answer
        return self._log_in(session, request, answer)

    def _log_in(
        self, session: AuthoritySession, request: requests.PreparedRequest, answer: requests.Response
    ) -> requests.Response:
        """RFC 4559, section 5. The session belongs to one thread, so all legs use one connection."""
        scheme = "NTLM" if self._settings.login == "ntlm" else "Negotiate"
        challenge: bytes | None = None
        try:
            initiator = self._initiator(answer)
            for _ in range(MAX_LEGS):
                token = initiator.step(challenge)
                if token is None:
                    break
                request.headers["Authorization"] = f"{scheme} {base64.b64encode(token).decode()}"
                answer = session.send(request)
                challenge = _challenge(answer, scheme)
                if answer.status_code != requests.codes.unauthorized or not challenge:
                    break
        except ImportError:
            raise _LoginFailed("login kerberos needs the package pyspnego[kerberos], which is not installed") from None
        except requests.RequestException:
            raise
        except Exception as error:  # pyspnego's errors, and those of the Kerberos library below it
            raise _LoginFailed(f"login failed ({type(error).__name__})") from None
        return answer

    def _initiator(self, answer: requests.Response) -> Any:
        settings, binding = self._settings, tls_server_end_point(answer)
        return spnego.client(
            settings.username,
            settings.password.get_secret_value() if settings.password else None,
            hostname=origin(settings.url)[1],
            service="HTTP",
            protocol=settings.login,
            channel_bindings=GssChannelBindings(application_data=binding) if binding else None,
        )


class _LoginFailed(requests.RequestException):
    """The text is fit for the caller."""


def _challenge(answer: requests.Response, scheme: str) -> bytes | None:
    for offer in answer.headers.get("WWW-Authenticate", "").split(","):
        name, _, token = offer.strip().partition(" ")
        if name.lower() == scheme.lower() and token:
            try:
                return base64.b64decode(token, validate=True)
            except binascii.Error:
                return None
    return None


def _failure(error: requests.RequestException) -> str:
    return str(error) if isinstance(error, _LoginFailed) else failure(error)


def _is_certificate(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower() in CERTIFICATE_TYPES
