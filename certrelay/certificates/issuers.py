"""Key Vault's issuers, contacts and soft-deleted certificates. Issuer credentials are written but never returned.

https://learn.microsoft.com/rest/api/keyvault/certificates
"""

from typing import Any

from certrelay.access import grants
from certrelay.callers import Role
from certrelay.errors import Fault, Invalid, NotFound
from certrelay.services import Services
from certrelay.storage.operation import CERTIFICATE_NAME

type Json = dict[str, Any]


def issuers(services: Services, vault: str) -> list[Json]:
    """The vault's issuers that the caller may use, each with `name` and `provider`. Raises NotFound, NotReady."""
    services.vault_settings(vault)
    pages = services.vault(vault).pages("/certificates/issuers?maxresults=25")
    items = [_named(item) for page in pages for item in page]
    return [item for item in items if grants.may_use(services, vault, item["name"])]


def issuer(services: Services, vault: str, name: str, method: str, body: Json | None = None) -> Json:
    """GET, PUT, PATCH or DELETE one issuer. Returns Key Vault's IssuerBundle without the password.

    Raises NotFound, Invalid, NotPermitted, NotReady."""
    services.vault_settings(vault)
    if not CERTIFICATE_NAME.fullmatch(name):
        raise Invalid([Fault("", "an issuer's name must have 1 to 127 letters, digits and hyphens")])
    response = services.vault(vault).call(method, f"/certificates/issuers/{name}", body)
    (response.get("credentials") or {}).pop("pwd", None)
    return _named(response)


def contacts(services: Services, vault: str, method: str, body: Json | None = None) -> Json:
    """GET, PUT or DELETE the certificate contacts. Returns `{"contacts": [...]}`; the list is empty if there are none.

    Raises NotFound (DELETE without contacts), Invalid, NotPermitted, NotReady."""
    services.vault_settings(vault)
    try:
        response = services.vault(vault).call(method, "/certificates/contacts", body)
    except NotFound:
        if method != "GET":
            raise
        response = {}
    return {"contacts": response.get("contacts") or []}


def deleted(services: Services, vault: str) -> list[Json]:
    """The soft-deleted certificates that the caller may read.

    Each has `name`, `deletedDate`, `scheduledPurgeDate` and `tags`. Dates are in seconds since 1970.
    Raises NotFound, NotReady."""
    services.vault_settings(vault)
    keys = ("name", "deletedDate", "scheduledPurgeDate", "tags")
    pages = services.vault(vault).pages("/deletedcertificates?maxresults=25")
    items = [
        {**item, "name": str(item["id"]).split("/certificates/")[-1].split("/")[0]} for page in pages for item in page
    ]
    readable = [item for item in items if grants.may(services, Role.READER, vault, item["name"])]
    return [{key: item[key] for key in keys if key in item} for item in readable]


def _named(item: Json) -> Json:
    return {"name": str(item["id"]).rsplit("/", 1)[-1], **{key: value for key, value in item.items() if key != "id"}}
