"""HTTP: the service itself: vaults, authorities, health, and the OpenAPI document."""

from typing import Any

import azure.functions as func

from certrelay import authorities, health, rules
from certrelay.access import grants
from certrelay.errors import Fault, Invalid
from certrelay.services import Services
from certrelay.setting_models import Authority, AuthoritySettings, VaultSettings
from handlers import caller_models, openapi, render, response_models, roles, status_models
from handlers.http import Answer, query
from handlers.roles import Role, acting_for
from handlers.routes import Blueprint, every_route, route, text

blueprint: Blueprint = {}


@route(blueprint, Role.READER, answer=caller_models.Me, errors=(401,), any_role=True)
def get_me(req: func.HttpRequest) -> Answer:
    """Who you are, as CertRelay understands it, and what you may do in which vault."""
    return Answer(render.me_json(acting_for(req), roles.caller_of(req), every_route()))


@route(blueprint, Role.READER, answer=response_models.Vaults, errors=(401, 403))
def list_vaults(req: func.HttpRequest) -> Answer:
    """The vaults in the settings that you may read, and their rules."""
    acting = acting_for(req)
    vaults = [
        {
            "name": alias,
            "url": vault.url,
            "authorities": _usable(acting, alias, vault),
            "rules": vault.rules.model_dump(mode="json", exclude_none=True),
            "endpoints": [rule.pattern for rule in acting.settings.endpoints],
            **_limits(vault),
        }
        for alias, vault in acting.settings.vaults.items()
        if grants.may(acting, Role.READER, alias)
    ]
    return Answer({"value": vaults})


@route(blueprint, Role.READER, answer=response_models.Authorities, errors=(401, 403))
def list_authorities(req: func.HttpRequest) -> Answer:
    """The authorities in the settings that you may use, and what each can do."""
    acting = acting_for(req)
    usable = [one for name, one in acting.settings.authorities.items() if grants.may_use(acting, None, name)]
    return Answer({"value": [_authority(acting, authority) for authority in usable]})


@route(blueprint, Role.ADMINISTRATOR, answer=response_models.AccountKey)
def roll_over_account_key(req: func.HttpRequest) -> Answer:
    """Replace the key of the account at an ACME authority (RFC 8555, section 7.3.5)."""
    authority = req.route_params["authority"]
    return Answer({"authority": authority, "key_id": authorities.roll_over(acting_for(req), authority)})


@route(
    blueprint,
    Role.READER,
    answer=response_models.DnsPersist,
    query=(
        text("name", "The DNS name that the authority is to validate; *.NAME for wildcards too", 255),
        text("until", "When the record shall end (RFC 3339); never, if this is absent", 40),
    ),
)
def get_dns_persist(req: func.HttpRequest) -> Answer:
    """The TXT record that proves a name to an ACME authority for good (dns-persist-01), and whether it is published."""
    authority, name = req.route_params["authority"], query(req, "name")
    if name is None:
        raise Invalid([Fault("/name", "the query parameter name is missing")])
    record = authorities.standing_record(acting_for(req), authority, name, query(req, "until"))
    published = {"name": record.name, "type": "TXT", "value": record.value, "strings": list(record.strings)}
    return Answer(
        {
            "authority": authority,
            "format": record.format,
            "records": [published],
            "offered": record.offered,
            "published": not record.fault,
            "until": record.until.isoformat() if record.until else None,
            "detail": record.fault,
        }
    )


@route(blueprint, None, answer=status_models.Health, errors=())
def get_health(req: func.HttpRequest) -> Answer:
    """Whether the app runs."""
    return Answer({"status": "ok"})


@route(blueprint, Role.READER, answer=status_models.Readiness, errors=(401, 403, 503))
def get_readiness(req: func.HttpRequest) -> Answer:
    """Whether storage, vaults and authorities can be reached, and how long each took."""
    acting = acting_for(req)
    parts = [part for part in health.check(acting) if _may_see(acting, part.what)]
    good = all(part.ok for part in parts)
    listed = [{"what": p.what, "ok": p.ok, "milliseconds": p.milliseconds, "detail": p.detail} for p in parts]
    return Answer({"status": "ok" if good else "unavailable", "parts": listed}, 200 if good else 503)


@route(blueprint, Role.READER, answer=response_models.Anything, errors=(401, 403))
def get_openapi(req: func.HttpRequest) -> Answer:
    """The OpenAPI 3.1 document of this API."""
    return Answer(openapi.document(), cached=True)


def _usable(acting: Services, alias: str, vault: VaultSettings) -> list[str]:
    allowed = list(vault.authorities) or sorted(acting.settings.authorities)
    return [name for name in allowed if grants.may_use(acting, alias, name)]


def _may_see(acting: Services, what: str) -> bool:
    """Whether the caller may know of a part: `storage`, `vault NAME` or `authority NAME`."""
    kind, _, name = what.partition(" ")
    if kind == "vault":
        return grants.may(acting, Role.READER, name)
    return kind != "authority" or grants.may_use(acting, None, name)


def _authority(acting: Services, authority: Authority) -> dict[str, Any]:
    connector = authority.connector_class
    return {
        "name": authority.name,
        "connector": authority.settings.connector,
        "features": sorted(connector.features),
        "abilities": authorities.abilities(connector),
        "default_validity_days": rules.default_days(authority.settings),
        "fallback": [name for name in authority.settings.fallback if grants.may_use(acting, None, name)],
        "rules": authority.settings.rules.model_dump(mode="json", exclude_none=True),
        **_limits(authority.settings),
    }


def _limits(settings: AuthoritySettings | VaultSettings) -> dict[str, Any]:
    """The rate and the concurrency, where the settings have them."""
    rate = settings.rate.model_dump(exclude_none=True) if settings.rate else None
    found = {"rate": rate, "concurrency": settings.concurrency}
    return {name: value for name, value in found.items() if value is not None}
