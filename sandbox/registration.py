"""The app as `dev.py up --sign-in` registers it: App Service authentication in the form of `authsettingsV2`."""

import json
from pathlib import Path

from sandbox.host.auth_settings import ACTIONS
from sandbox.identity import APP_AUDIENCE, APP_ISSUER, REGISTRATION

APP_ROLES = Path(__file__).absolute().parent.parent / "docs" / "app-roles.json"
# docs/sign-in.md excludes the first two. The third is what the platform itself calls; it needs the master key.
EXCLUDED = ("/runtime/webhooks/*", "/api/health", "/admin/*")

__all__ = ["ACTIONS", "APP_AUDIENCE", "write"]


def write(file: Path, action: str, identity: Path) -> None:
    """Write the host's `--sign-in` file. `action`: one of ACTIONS; `identity`: the identity endpoint's file."""
    settings = {
        "platform": {"enabled": True},
        "globalValidation": {
            "requireAuthentication": True,
            "unauthenticatedClientAction": action,
            "excludedPaths": EXCLUDED,
        },
        "identityProviders": {
            "azureActiveDirectory": {
                "enabled": True,
                "registration": {"openIdIssuer": APP_ISSUER, "clientId": REGISTRATION},
                "validation": {"allowedAudiences": [APP_AUDIENCE, REGISTRATION]},
            }
        },
        "login": {"tokenStore": {"enabled": True}},
    }
    paths = {"app_roles": str(APP_ROLES), "identity": str(identity)}
    file.write_text(json.dumps({"settings": settings, **paths}, indent=1))
