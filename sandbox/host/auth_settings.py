"""The settings of App Service authentication: `properties` of `Microsoft.Web/sites/config`, name `authsettingsV2`.

https://learn.microsoft.com/azure/templates/microsoft.web/sites/config-authsettingsv2
"""

from dataclasses import dataclass
from typing import Any

ACTIONS = ("RedirectToLoginPage", "Return401", "Return403", "AllowAnonymous")
_KNOWN = {
    "platform": {"enabled": True, "runtimeVersion": True},
    "globalValidation": {
        "requireAuthentication": True,
        "unauthenticatedClientAction": True,
        "redirectToProvider": True,
        "excludedPaths": True,
    },
    "identityProviders": {
        "azureActiveDirectory": {
            "enabled": True,
            "registration": {"openIdIssuer": True, "clientId": True, "clientSecretSettingName": True},
            "validation": {"allowedAudiences": True},
        }
    },
    "login": {"tokenStore": {"enabled": True}},
}


@dataclass(frozen=True)
class AuthSettings:
    """What the gate does: whom it believes, what it answers to others, and which paths it leaves alone."""

    client_id: str
    issuer: str
    audiences: frozenset[str]
    action: str
    excluded: tuple[str, ...]

    @classmethod
    def read(cls, properties: dict[str, Any]) -> "AuthSettings":
        """Raises ValueError for a member that this host does not know: ignoring one could open a door."""
        _check(properties, _KNOWN, "")
        validation = properties["globalValidation"]
        provider = properties["identityProviders"]["azureActiveDirectory"]
        action = "AllowAnonymous"
        if validation.get("requireAuthentication"):
            action = validation.get("unauthenticatedClientAction", ACTIONS[0])
        if action not in ACTIONS:
            raise ValueError(f"authsettingsV2: unauthenticatedClientAction must be one of {', '.join(ACTIONS)}")
        registration = provider["registration"]
        audiences = {registration["clientId"], *(provider.get("validation") or {}).get("allowedAudiences", ())}
        excluded = tuple(str(path).lower() for path in validation.get("excludedPaths", ()))
        return cls(registration["clientId"], registration["openIdIssuer"], frozenset(audiences), action, excluded)

    def excludes(self, path: str) -> bool:
        """Whether authentication leaves this path alone: an exact path, or `/folder/*`, without case."""
        path = path.lower()
        return any(path.startswith(one[:-1]) if one.endswith("/*") else path == one for one in self.excluded)


def _check(found: Any, known: Any, where: str) -> None:
    if known is True:
        return
    for name, value in found.items():
        if name not in known:
            raise ValueError(f"authsettingsV2: this host does not know {where}{name}")
        _check(value, known[name], f"{where}{name}.")
