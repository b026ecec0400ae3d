"""The settings of authorities that are reached over HTTP (certrelay.connectors.http sends the requests)."""

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from certrelay.connectors.settings import ConnectorSettings


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454, section 4). Raises ValueError."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").rstrip("."), parts.port or {"https": 443, "http": 80}.get(scheme, 0)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def authority_url(url: str) -> str:
    """The URL of an authority without a slash at its end. Raises ValueError."""
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        scheme = host = ""
    if not (host and host.isascii()) or not (scheme == "https" or (scheme == "http" and _is_loopback(host))):
        raise ValueError(
            "must be an https URL (http only for a loopback address), its host in ASCII (xn--…), such as https://ca.contoso.example"
        )
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must have neither credentials nor query nor fragment, such as https://ca.contoso.example")
    return url.rstrip("/")


def certificates_pem(pem: str) -> str:
    """Validate a settings field that holds certificates in PEM. Raises ValueError."""
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError("must hold certificates in PEM, such as -----BEGIN CERTIFICATE-----…") from None
    return pem


def certificate_and_key(pem: SecretStr) -> SecretStr:
    """Validate a settings field that holds a client certificate, its chain and its key in PEM. Raises ValueError."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = pem.get_secret_value().encode()
    try:
        certificate, key = x509.load_pem_x509_certificates(text)[0], load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("must hold a certificate, its chain and its unencrypted key in PEM") from None
    if certificate.public_key() != key.public_key():
        raise ValueError("must start with the certificate of its key")
    return pem


AuthorityUrl = Annotated[str, AfterValidator(authority_url)]
CertificatesPem = Annotated[str, AfterValidator(certificates_pem)]


class HttpSettings(ConnectorSettings):
    """Settings that all connectors with HTTP share.

    `ca_certificates` are the only roots (PEM) that the server's TLS certificate may chain to; default: public roots.
    `timeout` in seconds: the longest wait for a byte, and the longest time for a whole response.
    """

    url: AuthorityUrl
    ca_certificates: CertificatesPem | None = None
    timeout: float = Field(default=30.0, gt=0, le=120)
