"""The settings of an authority that is a mount of the PKI secrets engine."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from certrelay.connectors.http_settings import HttpSettings

SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
PATH_PATTERN = rf"^{SEGMENT}(/{SEGMENT})*$"


class VaultPkiSettings(HttpSettings):
    """One role of one PKI mount, and one of three ways to log in:

    `token`, `role_id` with `secret_id` (AppRole), or `jwt_role` with `jwt_audience` (the app's managed identity:
    the audience is the application ID URI that the token is issued for). `auth_mount` is where the login method is
    mounted, if not under its own name. `verbatim` signs the CSR as it is, without the role's rules on names.
    `send_not_after = false` leaves the validity to the role, as `not_after_bound=forbid` requires.
    """

    mount: str = Field(default="pki", pattern=PATH_PATTERN, examples=["pki"])
    role: str = Field(pattern=rf"^{SEGMENT}$", examples=["web"])
    namespace: str | None = Field(default=None, pattern=PATH_PATTERN, examples=["team-a"])
    verbatim: bool = False
    send_not_after: bool = True
    token: SecretStr | None = None
    role_id: str | None = None
    secret_id: SecretStr | None = None
    jwt_role: str | None = None
    jwt_audience: str | None = None
    auth_mount: str | None = Field(default=None, pattern=PATH_PATTERN, examples=["approle"])

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> Self:
        given = {name for name in ("token", "role_id", "secret_id", "jwt_role", "jwt_audience") if getattr(self, name)}
        if given not in ({"token"}, {"role_id", "secret_id"}, {"jwt_role", "jwt_audience"}):
            raise ValueError("needs exactly one of: token; role_id and secret_id; jwt_role and jwt_audience")
        return self
