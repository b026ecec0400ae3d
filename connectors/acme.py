"""The Automatic Certificate Management Environment, RFC 8555: Let's Encrypt and whoever speaks its protocol.

Names are proven over dns-01 only. What the CA says about an order is read again on every call, so that a crash at any
line loses at most an order that nobody finalizes.
"""

import base64
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from cryptography.exceptions import UnsupportedAlgorithm
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from connectors.base import (
    ConnectorError,
    ConnectorSettings,
    Context,
    Feature,
    Outcome,
    Pending,
    Rejected,
    RenewalWindow,
    RevocationReason,
    SigningRequest,
    Unavailable,
)
from connectors.dns import Solver
from connectors.dns.settings import DnsSettings, NoDns
from connectors.http import AuthoritySession, HttpSettings
from connectors.turns import Turns

if TYPE_CHECKING:
    from connectors.acme_session import AcmeSession

HOST_NAME = re.compile(r"^(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)+[a-z0-9-]*[a-z][a-z0-9-]*$")
REASON_CODES = {
    RevocationReason.UNSPECIFIED: 0,
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.CA_COMPROMISE: 2,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
    RevocationReason.CERTIFICATE_HOLD: 6,
    RevocationReason.PRIVILEGE_WITHDRAWN: 9,
}


def _base64url(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip().rstrip("=")
    try:
        if not base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True):
            raise ValueError
    except ValueError:
        raise ValueError("must be a key in base64url") from None
    return SecretStr(text)


def _mail_address(text: str) -> str:
    address = text.removeprefix("mailto:")
    if "@" not in address:
        raise ValueError("must be a mail address")
    return address


def _account_key(secret: SecretStr) -> SecretStr:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(secret.get_secret_value().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("must hold an unencrypted private key in PEM") from None
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    if not (isinstance(key, rsa.RSAPrivateKey) or getattr(key, "curve", None).__class__ in curves):
        raise ValueError("must hold an RSA key, or an EC key on P-256, P-384 or P-521")
    return secret


class AcmeSettings(HttpSettings):
    """`url` is the directory's. The account key stays in Key Vault (`account_key_vault_url`, `account_key_name`; it is
    made at its first use), or is given in PEM (`account_key_pem`). `preferred_chain` is the common name of the root
    that the chain leads to, or its subject key identifier in hex.
    """

    contact: tuple[Annotated[str, AfterValidator(_mail_address)], ...] = ()
    eab_kid: str | None = Field(default=None, min_length=1)
    eab_hmac_key: SecretStr | None = None
    account_key_pem: SecretStr | None = None
    account_key_vault_url: str | None = Field(default=None, pattern=r"^https://[^/\s]+/?$")
    account_key_name: str | None = Field(default=None, pattern=r"^[0-9a-zA-Z-]{1,127}$")
    profile: str | None = Field(default=None, min_length=1)
    preferred_chain: str | None = Field(default=None, min_length=1)
    dns: DnsSettings = NoDns()

    @field_validator("eab_hmac_key")
    @classmethod
    def _key_in_base64url(cls, secret: SecretStr | None) -> SecretStr | None:
        return secret and _base64url(secret)

    @field_validator("account_key_pem")
    @classmethod
    def _private_key_in_pem(cls, secret: SecretStr | None) -> SecretStr | None:
        return secret and _account_key(secret)

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        if (self.eab_kid is None) != (self.eab_hmac_key is None):
            raise ValueError("eab_kid and eab_hmac_key go together")
        given = {
            name
            for name in ("account_key_pem", "account_key_vault_url", "account_key_name")
            if getattr(self, name) is not None
        }
        if given not in ({"account_key_pem"}, {"account_key_vault_url", "account_key_name"}):
            raise ValueError("needs either account_key_pem, or account_key_vault_url and account_key_name")
        return self


class Acme:
    """Connector `acme`. A reference is the order's URL with its challenge records, in JSON."""

    Settings: ClassVar[type[ConnectorSettings]] = AcmeSettings
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.WILDCARD, Feature.RSA, Feature.EC})

    def __init__(self, settings: AcmeSettings, context: Context, solver: Solver | None = None) -> None:
        self._settings, self._context, self._solver = settings, context, solver
        self._http = AuthoritySession(settings)
        self._turns = Turns()
        self._known: AcmeSession | None = None

    def submit(self, request: SigningRequest) -> Outcome:
        names = identifiers(request)

        def place() -> Outcome:
            return Pending(self._session().new_order(names, request.replaces), 0.0)

        return self._outcome(place) if names else Rejected("an ACME order needs a DNS name")

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        def advance() -> Outcome:
            order = self._session().order(reference)
            return order.advance(request.csr, identifiers(request), self._settings.preferred_chain)

        return self._outcome(advance)

    def cancel(self, reference: str) -> None:
        self._or_raise(lambda: self._session().order(reference).withdraw())

    def revoke(self, certificate: bytes, reason: RevocationReason) -> None:
        """Signed by the account that ordered it (section 7.6)."""
        self._or_raise(lambda: self._session().revoke(certificate, REASON_CODES[reason]))

    def renewal_window(self, certificate: bytes) -> RenewalWindow | None:
        """RFC 9773."""
        return self._or_raise(lambda: self._session().renewal_window(certificate))

    def check(self) -> None:
        """The directory answers, and knows or takes our account."""
        self._or_raise(lambda: self._session().check())

    def roll_over_account_key(self) -> str:
        """Section 7.3.5."""
        try:
            return self._or_raise(lambda: self._session().roll_over())
        finally:
            self._forget_session()

    def _forget_session(self) -> None:
        self._known = None

    def _session(self) -> "AcmeSession":
        """Made at first use: it loads the libraries, and asks Key Vault for the public account key."""
        from connectors.acme_session import AcmeSession

        def made() -> AcmeSession:
            known = self._known
            if known is None:
                known = self._known = AcmeSession(self._settings, self._context, self._http, self._solver)
            return known

        return self._turns.take(made)

    def _ask[T](self, step: Callable[[], T]) -> T:
        """Once more after another process has rolled the account key over."""
        from connectors.acme_session import FAULTS

        try:
            return step()
        except FAULTS as fault:
            if not (self._known and self._known.has_lost_its_account(fault)):
                raise
        self._forget_session()
        return step()

    def _outcome(self, step: Callable[[], Outcome]) -> Outcome:
        from connectors.acme_session import FAULTS, outcome_of

        try:
            return self._ask(step)
        except FAULTS as fault:
            outcome = outcome_of(fault)
            if isinstance(outcome, Unavailable) and outcome.restart and self._known:
                self._known.forget_account()
            return outcome

    def _or_raise[T](self, ask: Callable[[], T]) -> T:
        from connectors.acme_session import FAULTS, outcome_of

        try:
            return self._ask(ask)
        except FAULTS as fault:
            outcome = outcome_of(fault)
            raise ConnectorError(outcome.reason) from None


def identifiers(request: SigningRequest) -> list[str]:
    """The DNS names of an order, the common name among them as CAs want it (CA/Browser Forum BR, 7.1.4.2.2)."""
    names = list(request.names.dns_names)
    common_name = (request.names.common_name or "").lower()
    if HOST_NAME.match(common_name) and common_name not in names:
        names.append(common_name)
    return names
