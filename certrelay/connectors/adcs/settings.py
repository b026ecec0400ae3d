"""The settings of an AD CS authority."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from certrelay.connectors.http_settings import HttpSettings


class AdcsSettings(HttpSettings):
    """`url` is the server, without `/certsrv`; `template` is the certificate template's name (not its display name).

    `login` is how `username` (`DOMAIN\\user` or `user@domain`) and `password` are presented. Without them, Kerberos
    uses the machine's own ticket cache or keytab; it needs the package `pyspnego[kerberos]`.
    `retry_after`: seconds between two polls of a request that waits for a certificate manager.
    """

    template: str = Field(pattern=r"^[A-Za-z0-9 ._-]+$", examples=["WebServer"])
    login: Literal["ntlm", "kerberos", "basic"] = "ntlm"
    username: str | None = None
    password: SecretStr | None = None
    retry_after: float = Field(default=300.0, gt=0, le=604_800)

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.username is None and self.login != "kerberos":
            raise ValueError(f"login {self.login} needs username and password")
        return self
