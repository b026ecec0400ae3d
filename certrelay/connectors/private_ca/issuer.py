"""The CA certificate in Key Vault, and the key there that signs for it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.keyvault.certificates import CertificateClient
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from certrelay.connectors.base import Unavailable
from certrelay.connectors.http import retry_after, sentence
from certrelay.connectors.single_flight import SingleFlight
from certrelay.keyvault.remote_key import CLIENT_OPTIONS, Key, signature_hash, vault_key

CURRENT_FOR = timedelta(minutes=5)
ROLES = "Key Vault Reader and Key Vault Crypto User"


class Unusable(Exception):
    """The authority cannot sign now; the text says why."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """`version` is Key Vault's version of the certificate and of its key."""

    version: str
    certificate: x509.Certificate
    key: Key
    use_pss: bool = False

    def sign[T: (x509.CertificateBuilder, x509.CertificateRevocationListBuilder)](self, builder: T) -> Any:
        """Sign a certificate or a CRL with one request to Key Vault, and return it."""
        algorithm = signature_hash(self.key.public_key())
        if not (self.use_pss and isinstance(self.key, rsa.RSAPrivateKey)):
            return builder.sign(self.key, algorithm)
        chosen = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
        return builder.sign(self.key, algorithm, rsa_padding=chosen)

    def verify_can_sign(self, now: datetime) -> None:
        """Raises Unusable unless this is a CA certificate that is valid now (RFC 5280, section 6.1.4)."""
        extensions = self.certificate.extensions
        try:
            is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
            usage = extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            raise Unusable("the certificate in Key Vault is not a CA certificate; run the bootstrap") from None
        if not (is_ca and usage.key_cert_sign and usage.crl_sign):
            raise Unusable("the certificate in Key Vault may not sign certificates and CRLs")
        start, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        if not start <= now < end:
            raise Unusable(f"the authority's certificate is valid only from {start} to {end}")

    def issued(self, certificate: x509.Certificate) -> bool:
        """Whether this authority signed the certificate, and it is not the authority's own."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return certificate != self.certificate


class Issuers:
    """Reads issuers from Key Vault. The current one is cached for CURRENT_FOR. Raises AzureError and Unusable."""

    def __init__(
        self, vault_url: str, name: str, credential: Any, now: Callable[[], datetime], use_pss: bool = False
    ) -> None:
        self._client = CertificateClient(vault_url, credential, **CLIENT_OPTIONS)
        self._name, self._credential, self._now, self._use_pss = name, credential, now, use_pss
        self._known: dict[str, Issuer] = {}
        self._current: tuple[datetime, Issuer] | None = None
        self._flight, self._version_flight = SingleFlight(), SingleFlight()

    def current(self, fresh: bool = False) -> Issuer:
        def read() -> Issuer:
            now = self._now()
            if fresh or not self._current or not now - CURRENT_FOR < self._current[0] <= now:
                self._current = now, self._loaded(self._client.get_certificate(self._name))
            return self._current[1]

        return self._flight.do(read)

    def version(self, version: str) -> Issuer:
        if version not in self._known:
            get = self._client.get_certificate_version
            self._version_flight.do(lambda: self._loaded(get(self._name, version)))
        return self._known[version]

    def _loaded(self, found: Any) -> Issuer:
        version = str(found.properties.version)
        if not found.cer:
            raise Unusable("the authority's certificate is incomplete in Key Vault; run the bootstrap")
        if not found.properties.enabled:
            raise Unusable("the authority's certificate is disabled in Key Vault")
        if version not in self._known:
            certificate = x509.load_der_x509_certificate(bytes(found.cer))
            key = vault_key(found.key_id, certificate.public_key(), self._credential, **CLIENT_OPTIONS)  # type: ignore[arg-type]
            self._known[version] = Issuer(version, certificate, key, self._use_pss)
        return self._known[version]


def azure_unavailable(error: AzureError, now: datetime) -> Unavailable:
    """The outcome for an Azure error, with the Retry-After of a server that throttles."""
    response = getattr(error, "response", None)
    return Unavailable(azure_failure(error), retry_after(response.headers, now) if response is not None else None)


def azure_failure(error: AzureError) -> str:
    """One clause for people: which server answered what, without URL, header or body."""
    if isinstance(error, HttpResponseError) and error.status_code:
        code = getattr(error, "error_code", None) or getattr(error.error, "code", None) or error.reason or ""
        server = "storage" if hasattr(error, "error_code") else "Key Vault"
        answered = f"{server} answered {error.status_code} {getattr(code, 'value', code)}"
        lacks_role = error.status_code == 403 and server == "Key Vault"
        return sentence(answered + (f": the app needs the roles {ROLES} on the CA's vault" if lacks_role else ""))
    return f"Key Vault or storage could not be reached ({type(error).__name__})"
