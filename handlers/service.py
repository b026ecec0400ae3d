"""HTTP: the service itself: vaults, authorities, health, and the OpenAPI document."""

from typing import Any

import azure.functions as func

from certrelay import authorities, health, rules
from certrelay.setting_models import Authority
from handlers import openapi, response_models, services
from handlers.http import Answer
from handlers.roles import Role
from handlers.routes import route

blueprint = func.Blueprint()


@route(blueprint, "GET", "vaults", Role.READER, answer=response_models.Vaults, errors=(401, 403))
def list_vaults(req: func.HttpRequest) -> Answer:
    """The vaults in the settings."""
    all_authorities = sorted(services().settings.authorities)
    vaults = [
        {"name": alias, "url": vault.url, "authorities": list(vault.authorities) or all_authorities}
        for alias, vault in services().settings.vaults.items()
    ]
    return Answer({"value": vaults})


@route(blueprint, "GET", "authorities", Role.READER, answer=response_models.Authorities, errors=(401, 403))
def list_authorities(req: func.HttpRequest) -> Answer:
    """The authorities in the settings, and what each can do."""
    return Answer({"value": [_authority(authority) for authority in services().settings.authorities.values()]})


@route(
    blueprint,
    "POST",
    "authorities/{authority}/account-key/rollover",
    Role.ADMINISTRATOR,
    answer=response_models.AccountKey,
)
def roll_over_account_key(req: func.HttpRequest) -> Answer:
    """Replace the key of the account at an ACME authority (RFC 8555, section 7.3.5)."""
    authority = req.route_params["authority"]
    return Answer({"authority": authority, "key_id": authorities.roll_over(services(), authority)})


@route(blueprint, "GET", "health", None, answer=response_models.Health, errors=())
def get_health(req: func.HttpRequest) -> Answer:
    """Whether the app runs."""
    return Answer({"status": "ok"})


@route(blueprint, "GET", "health/ready", Role.READER, answer=response_models.Readiness, errors=(401, 403, 503))
def get_readiness(req: func.HttpRequest) -> Answer:
    """Whether storage, vaults and authorities can be reached, and how long each took."""
    parts = health.check(services())
    good = all(part.ok for part in parts)
    listed = [{"what": p.what, "ok": p.ok, "milliseconds": p.milliseconds, "detail": p.detail} for p in parts]
    return Answer({"status": "ok" if good else "unavailable", "parts": listed}, 200 if good else 503)


@route(blueprint, "GET", "openapi.json", Role.READER, answer=response_models.Anything, errors=(401, 403))
def get_openapi(req: func.HttpRequest) -> Answer:
    """The OpenAPI 3.1 document of this API."""
    return Answer(openapi.document(), cached=True)


def _authority(authority: Authority) -> dict[str, Any]:
    connector = authority.connector_class
    return {
        "name": authority.name,
        "connector": authority.settings.connector,
        "features": sorted(connector.features),
        "abilities": authorities.abilities(connector),
        "default_validity_days": rules.default_days(authority.settings),
        "rules": authority.settings.rules.model_dump(mode="json", exclude_none=True),
    }
