"""The authentication challenge and the access policies."""

from collections.abc import Mapping
from typing import Any

from sandbox.identity import TENANT, Identities, InvalidTokenError
from sandbox.vault.errors import KeyVaultError, forbidden
from sandbox.vault.vault import Settings

PUBLIC_AUDIENCE = "https://vault.azure.net"
_ISSUER_PERMISSIONS = {"getissuers", "listissuers", "setissuers", "deleteissuers"}


class Gate:
    """Authenticates and authorises requests. Raises 401 and 403.

    `resource` is the audience that the challenge names. The SDKs require that the vault's host ends with `.` and the
    resource's host.
    """

    def __init__(self, identities: Identities, resource: str, settings: Settings) -> None:
        self.identities = identities
        self.resource = resource
        self._settings = settings

    def claims(self, authorization: str) -> dict[str, Any]:
        """The claims of the bearer token in this header value. Raises 401 with the challenge."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in ("bearer", "pop") or not token.strip():
            raise self._challenge("AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token.")
        try:
            return self.identities.claims(token.strip(), {self.resource, PUBLIC_AUDIENCE})
        except InvalidTokenError as error:
            raise self._challenge(str(error), ', error="invalid_token"') from None

    def _challenge(self, message: str, suffix: str = "") -> KeyVaultError:
        challenge = (
            f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{self.resource}"{suffix}'
        )
        return KeyVaultError(401, "Unauthorized", message, headers={"WWW-Authenticate": challenge})

    def permit(self, claims: Mapping[str, Any], permission: str) -> None:
        """Check `kind/operation`, e.g. `certificates/import`. Raises 403."""
        granted = self.identities.permissions.get(claims["appid"], {})
        kind, _, operation = permission.partition("/")
        if granted is None:
            return
        allowed = {item.lower() for item in granted.get(kind, [])}
        if "manageissuers" in allowed:
            allowed |= _ISSUER_PERMISSIONS
        if operation in allowed or "all" in allowed:
            return
        raise forbidden(
            f"The user, group or application 'appid={claims['appid']};oid={claims['oid']};iss={claims['iss']}' does "
            f"not have {kind} {operation} permission on key vault '{self._settings.name};"
            f"location={self._settings.region}'. "
            "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
            "ForbiddenByPolicy",
        )
