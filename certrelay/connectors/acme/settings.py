"""The settings of an ACME authority."""

import base64
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from certrelay.connectors.acme.dns.settings import DnsSettings, LookedUp, NoDns
from certrelay.connectors.http_settings import HttpSettings, authority_url


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
        raise ValueError("must be a mail address, such as certificates@contoso.example")
    return address


def _account_key(secret: SecretStr) -> SecretStr:
    from cryptography.exceptions import UnsupportedAlgorithm
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


def _directory_url(url: str) -> str:
    authority_url(url.partition("?")[0] + ("#" if "#" in url else ""))
    return url


def _issuer(name: str) -> str:
    issuer = _name(name)
    if "*" in issuer or "." not in issuer:
        raise ValueError("must be the domain name by which the CA calls itself, such as letsencrypt.org")
    return issuer


def _name(name: str) -> str:
    from certrelay.pki.names import dns_name

    try:
        return dns_name(name)
    except ValueError:
        raise ValueError("must be a DNS name, such as www.contoso.example") from None


class DnsPersist(LookedUp):
    """Standing records (dns-persist-01), on if this is set. `issuer` is the CA's own domain name, as in CAA records.

    `names`: the names whose records the readiness check looks up. Without `resolvers` and `name_servers` those of
    the setting `dns` apply."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    names: tuple[Annotated[str, AfterValidator(_name)], ...] = Field(default=(), max_length=100)


class AcmeSettings(HttpSettings):
    """`url` is the directory's, used exactly as given: a trailing slash and a query belong to it (RFC 8555, section
    7.1.1). The account key stays in Key Vault (`account_key_vault_url`, `account_key_name`; it is
    created at first use), or is given in PEM (`account_key_pem`). `preferred_chain` is the common name of the root
    that the chain leads to, or its subject key identifier in hex.
    """

    url: Annotated[str, AfterValidator(_directory_url)]
    contact: tuple[Annotated[str, AfterValidator(_mail_address)], ...] = ()
    eab_kid: str | None = Field(default=None, min_length=1)
    eab_hmac_key: SecretStr | None = None
    account_key_pem: SecretStr | None = None
    account_key_vault_url: str | None = Field(
        default=None, pattern=r"^https://[^/\s]+/?$", examples=["https://contoso.vault.azure.net"]
    )
    account_key_name: str | None = Field(default=None, pattern=r"^[0-9a-zA-Z-]{1,127}$", examples=["acme-account"])
    profile: str | None = Field(default=None, min_length=1)
    preferred_chain: str | None = Field(default=None, min_length=1)
    dns: DnsSettings = NoDns()
    dns_persist: DnsPersist | None = None

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
