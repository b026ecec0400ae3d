"""How App Service authentication describes a caller to the app.

https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

_SCHEMAS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
_MICROSOFT = "http://schemas.microsoft.com/identity/claims/"
# The platform's claims mapping: these claims of a token get long names, the others keep theirs.
_MAPPED = {
    "oid": f"{_MICROSOFT}objectidentifier",
    "tid": f"{_MICROSOFT}tenantid",
    "sub": f"{_SCHEMAS}nameidentifier",
    "email": f"{_SCHEMAS}emailaddress",
}
SET_BY_THE_PLATFORM = ("x-ms-client-principal", "x-ms-token-")


def claims(token: Mapping[str, Any]) -> list[dict[str, str]]:
    """The claims of a token as `typ` and `val`; a list becomes one claim for each item."""
    return [
        {"typ": _MAPPED.get(name, name), "val": str(one)}
        for name, value in token.items()
        for one in (value if isinstance(value, list) else [value])
    ]


def headers(token: Mapping[str, Any], id_token: str | None = None) -> dict[str, str]:
    """The headers that describe the caller of this token. An application has no name."""
    principal = {
        "auth_typ": "aad",
        "claims": claims(token),
        "name_typ": f"{_SCHEMAS}emailaddress",
        # The role claims are called `roles` nevertheless, as in Azure.
        "role_typ": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
    }
    name = token.get("preferred_username")
    return {
        "x-ms-client-principal": base64.b64encode(json.dumps(principal).encode()).decode(),
        "x-ms-client-principal-id": str(token["oid"]),
        "x-ms-client-principal-idp": "aad",
        **({"x-ms-client-principal-name": name} if name else {}),
        **({"x-ms-token-aad-id-token": id_token} if id_token else {}),
    }


def without(received: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request without those that only the platform sets."""
    return {name: value for name, value in received.items() if not name.startswith(SET_BY_THE_PLATFORM)}
