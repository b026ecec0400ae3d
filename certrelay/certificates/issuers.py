"""Key Vault's issuer resources and contacts, passed through. Credentials go in and never come out."""

from typing import Any

from certrelay.errors import Fault, Invalid, NotFound
from certrelay.services import Services
from certrelay.storage.operation import CERTIFICATE_NAME

type Json = dict[str, Any]


def issuers(services: Services, vault: str) -> list[Json]:
    services.vault_settings(vault)
    pages = services.vault(vault).pages("/certificates/issuers?maxresults=25")
    return [_named(item) for page in pages for item in page]


def issuer(services: Services, vault: str, name: str, method: str, body: Json | None = None) -> Json:
    """GET, PUT, PATCH or DELETE one issuer resource. Raises NotFound, Invalid, NotPermitted, NotReady."""
    services.vault_settings(vault)
    if not CERTIFICATE_NAME.fullmatch(name):
        raise Invalid([Fault("", "an issuer's name has 1 to 127 letters, digits and hyphens")])
    answer = services.vault(vault).call(method, f"/certificates/issuers/{name}", body)
    (answer.get("credentials") or {}).pop("pwd", None)
    return _named(answer)


def contacts(services: Services, vault: str, method: str, body: Json | None = None) -> Json:
    """GET, PUT or DELETE the contacts; GET of none is an empty list."""
    services.vault_settings(vault)
    try:
        answer = services.vault(vault).call(method, "/certificates/contacts", body)
    except NotFound:
        if method != "GET":
            raise
        answer = {}
    return {"contacts": answer.get("contacts") or []}


def deleted(services: Services, vault: str) -> list[Json]:
    """The soft-deleted certificates."""
    services.vault_settings(vault)
    kept = ("name", "deletedDate", "scheduledPurgeDate", "tags")
    pages = services.vault(vault).pages("/deletedcertificates?maxresults=25")
    found = [
        {**item, "name": str(item["id"]).split("/certificates/")[-1].split("/")[0]} for page in pages for item in page
    ]
    return [{key: item[key] for key in kept if key in item} for item in found]


def _named(item: Json) -> Json:
    return {"name": str(item["id"]).rsplit("/", 1)[-1], **{key: value for key, value in item.items() if key != "id"}}
