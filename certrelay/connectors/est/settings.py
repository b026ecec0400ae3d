"""The settings of an EST authority. Section numbers are those of RFC 7030."""

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from certrelay.connectors.http_settings import HttpSettings, certificate_and_key


class EstSettings(HttpSettings):
    """`url` is the server without `/.well-known/est`; `label` is the additional path segment (section 3.2.2), if any.

    `ca_certificates` are the explicit trust anchors (section 3.6.1). Log in with `username` and `password`, with
    `client_certificate` (chain and unencrypted key in one PEM), or with both. `reenroll = false` sends renewals to
    simpleenroll: for servers whose simplereenroll requires the old certificate's key in the TLS handshake.
    """

    label: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", examples=["web"])
    username: str | None = None
    password: SecretStr | None = None
    client_certificate: SecretStr | None = None
    reenroll: bool = True

    @field_validator("client_certificate")
    @classmethod
    def _certificate_and_key(cls, pem: SecretStr | None) -> SecretStr | None:
        return pem and certificate_and_key(pem)

    @model_validator(mode="after")
    def _some_login(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.username is None and self.client_certificate is None:
            raise ValueError("needs username and password, or client_certificate")
        return self
