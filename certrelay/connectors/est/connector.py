"""Enrollment over Secure Transport, RFC 7030.

A server that needs time answers 202, and the same CSR is sent again later (section 4.2.3). A server that has issued
forgets the order: sending the same CSR once more gets another certificate.
"""

import base64
from typing import Any, ClassVar

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from requests.auth import HTTPBasicAuth

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
from certrelay.connectors.est.settings import EstSettings
from certrelay.connectors.http import (
    AuthoritySession,
    failure,
    retry_after,
    sentence,
    unavailable,
)
from certrelay.errors import Invalid
from certrelay.pki.certificate import loaded
from certrelay.pki.contents import read_certificates

DEFAULT_RETRY_AFTER = 60.0
MAX_CHAIN = 10
DENIED = (requests.codes.unauthorized, requests.codes.forbidden)


class Est:
    """Connector `est`. A pending order's reference is its operation id, since the CSR itself identifies the order."""

    Settings: ClassVar[type[ConnectorSettings]] = EstSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature) - {
        Feature.REQUESTED_VALIDITY,
        Feature.FINDS_EARLIER_ORDER,
        Feature.CERTIFICATE_AUTHORITY,
    }

    def __init__(self, settings: EstSettings, context: Context) -> None:
        self._settings = settings
        self._now = context.now
        label = f"/{settings.label}" if settings.label else ""
        self._base = f"{settings.url}/.well-known/est{label}"
        self._session = AuthoritySession(settings, settings.client_certificate)
        if settings.username is not None and settings.password is not None:
            password = settings.password.get_secret_value()
            self._session.auth = HTTPBasicAuth(settings.username.encode(), password.encode())

    def submit(self, request: SigningRequest) -> Outcome:
        return self._enroll(request)

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        return self._enroll(request)

    def check(self) -> None:
        """cacerts (section 4.1) checks the server, csrattrs (section 4.5) our login, if the server requires one."""
        try:
            self._authorities()
            attributes = self._ask("GET", "csrattrs")
        except _Unusable as error:
            raise ConnectorError(error.outcome.reason) from None
        if attributes.status_code in DENIED:
            raise ConnectorError(f"permission denied (HTTP {attributes.status_code})")

    def _enroll(self, request: SigningRequest) -> Outcome:
        """Fetch the chain first: once the server has issued, nothing may fail."""
        headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
        try:
            authorities = self._authorities()
            body = base64.encodebytes(request.csr)
            answer = self._ask("POST", self._operation(request), data=body, headers=headers)
        except _Unusable as error:
            return error.outcome
        match answer.status_code:
            case requests.codes.ok:
                return _issued(answer, authorities, request)
            case requests.codes.accepted:
                return Pending(request.operation_id, retry_after(answer.headers, self._now()) or DEFAULT_RETRY_AFTER)
            case requests.codes.bad_request:
                return Rejected(_reason(answer) or "the server refused the request (HTTP 400)")
            case status if status in DENIED:
                return Unavailable(f"permission denied (HTTP {status})")
            case _:
                return unavailable(answer, self._now())

    def _operation(self, request: SigningRequest) -> str:
        """simplereenroll is for the same subject and alternative names only (section 4.2.2)."""
        if self._settings.reenroll and request.replaces and _same_names(request.csr, request.replaces):
            return "simplereenroll"
        return "simpleenroll"

    def _authorities(self) -> list[x509.Certificate]:
        """Raises _Unusable."""
        answer = self._ask("GET", "cacerts")
        if answer.status_code != requests.codes.ok:
            raise _Unusable(unavailable(answer, self._now()))
        try:
            contents = read_certificates(answer.content)
            contents.require_certificates()
        except Invalid as fault:
            raise _Unusable(Unavailable(sentence(f"its cacerts cannot be read: {fault}"))) from None
        return contents.certificates

    def _ask(self, method: str, operation: str, **content: Any) -> requests.Response:
        """Raises _Unusable."""
        try:
            return self._session.request(method, f"{self._base}/{operation}", **content)
        except requests.RequestException as error:
            raise _Unusable(Unavailable(failure(error))) from None


class _Unusable(Exception):
    """There is no usable response; `outcome` says why."""

    def __init__(self, outcome: Unavailable) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def _same_names(csr: bytes, certificate: bytes) -> bool:
    """Whether subject and alternative names are the same; False if the certificate's cannot be read."""

    def alternatives(one: x509.Certificate | x509.CertificateSigningRequest) -> set[x509.GeneralName]:
        found = [extension.value for extension in one.extensions if extension.oid.dotted_string == "2.5.29.17"]
        return {name for value in found if isinstance(value, x509.SubjectAlternativeName) for name in value}

    try:
        old, new = loaded(certificate), x509.load_der_x509_csr(csr)
        return old.subject == new.subject and alternatives(old) == alternatives(new)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False


def _issued(answer: requests.Response, authorities: list[x509.Certificate], request: SigningRequest) -> Outcome:
    """The server has issued, unless its answer is a page for people. What is wrong with the answer is for the
    verification to say, once: sent again, the CSR would be another order."""
    try:
        certificates = read_certificates(answer.content).certificates
    except Invalid as fault:
        if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
            return Unavailable(sentence(f"it answered a web page in the place of a certificate: {fault}"))
        return Issued(answer.content)
    key = x509.load_der_x509_csr(request.csr).public_key()
    chain = [one for one in certificates if one.public_key() == key][:1]
    if not chain:
        return Issued(answer.content)
    while len(chain) < MAX_CHAIN and (issuer := _issuer(chain[-1], [*certificates, *authorities])):
        chain.append(issuer)
    return Issued(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain))


def _issuer(certificate: x509.Certificate, candidates: list[x509.Certificate]) -> x509.Certificate | None:
    """The issuer that expires last: cacerts may hold older and newer certificates of it (section 4.1.3)."""
    for candidate in sorted(candidates, key=lambda one: one.not_valid_after_utc, reverse=True):
        if candidate.subject == certificate.issuer and candidate != certificate:
            try:
                certificate.verify_directly_issued_by(candidate)
            except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                continue
            return candidate
    return None


def _reason(answer: requests.Response) -> str:
    """The server's error text (section 4.2.3), if it is meant for people."""
    if not answer.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    return sentence(answer.content.decode(errors="replace"))
