"""The application settings, read once into frozen values; every fault is named in one error.

    CERTRELAY_VAULTS          {"alias": {"url": "https://…"}}
    CERTRELAY_AUTHORITIES     {"name": {"connector": "vault_pki", …}}
    CERTRELAY_NOTIFICATIONS   {"name": {"kind": "webhook" | "teams" | "slack", "url": "@SETTING", …}}, optional
    CERTRELAY_APP_SERVICE_AUTHENTICATION  true: callers sign in with Microsoft Entra ID, and their roles decide
    CERTRELAY_FUNCTION_KEY_ROLE           the role of callers with a function key, by default Administrator
    CERTRELAY_GRANTS          [{"principal": "…", "role": "Requester", "certificates": ["shop-*"], …}, …], optional
    CERTRELAY_ENDPOINTS       [{"pattern": "*.contoso.example:443", "networks": ["10.1.0.0/16"]}, …], optional
    AzureWebJobsStorage       connection string, or AzureWebJobsStorage__accountName with the app's managed identity

A value "@NAME" anywhere inside CERTRELAY_AUTHORITIES stands for the setting NAME; secrets can be given in no other
way, so the JSON itself holds none. This is the only module that reads the environment.
"""

import difflib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from certrelay.connectors.registry import settings_class
from certrelay.connectors.settings import ConnectorSettings
from certrelay.errors import SettingsError
from certrelay.schedules import SCHEDULES, schedule_faults
from certrelay.setting_models import (
    ROLES,
    Authority,
    AuthoritySettings,
    EndpointRule,
    Grant,
    Settings,
    Target,
    VaultSettings,
)
from certrelay.setting_references import UNRESOLVED, is_unresolved, refuse_literal_secrets, resolved
from certrelay.validation import ALIAS, Twice, faults_of, unique

NAMES = (
    "CERTRELAY_VAULTS", "CERTRELAY_AUTHORITIES", "CERTRELAY_NOTIFICATIONS", "CERTRELAY_RENEWAL_BATCH",
    "CERTRELAY_APP_SERVICE_AUTHENTICATION", "CERTRELAY_FUNCTION_KEY_ROLE", "CERTRELAY_GRANTS", "CERTRELAY_ENDPOINTS",
    *SCHEDULES,
)  # fmt: skip
ENTRIES = '{"name": {…}}'
COMMON_FIELDS = ("connector", "rules", "deadline_hours", "default_validity_days", "fallback", "rate", "concurrency")


def load(environment: Mapping[str, str] | None = None, *, with_schedules: bool = False) -> Settings:
    """The settings in the environment (default: the process's own); `with_schedules` also checks the timers' schedules.

    Raises SettingsError naming every fault."""
    environment = os.environ if environment is None else environment
    faults = [*_unknown_names(environment), *(schedule_faults(environment) if with_schedules else ())]
    vaults = {
        alias: vault
        for alias, value in _json_object(environment, "CERTRELAY_VAULTS", faults).items()
        if (vault := _valid(f"CERTRELAY_VAULTS/{alias}", value, VaultSettings, faults)) is not None
    }
    written = _json_object(environment, "CERTRELAY_AUTHORITIES", faults)
    authorities = {
        name: authority
        for name, value in written.items()
        if (authority := _authority(name, value, environment, faults)) is not None
    }
    faults += [*_vault_faults(vaults, written), *_fallback_faults(written)]
    settings = Settings(
        vaults=vaults,
        authorities=authorities,
        notifications=_targets(environment, faults),
        storage=_storage(environment, faults),
        renewal_batch=_whole_number(environment, "CERTRELAY_RENEWAL_BATCH", 500, faults),
        app_service_authentication=_app_service_authentication(environment, faults),
        function_key_role=_function_key_role(environment, faults),
        grants=_grants(environment, vaults, authorities, faults),
        endpoints=_endpoints(environment, faults),
        schedules={name: environment.get(name, "").strip() or usual for name, usual in SCHEDULES.items()},
    )
    if faults:
        raise SettingsError(faults)
    return settings


def _vault_faults(vaults: Mapping[str, VaultSettings], authorities: Collection[str]) -> Iterator[str]:
    """Vaults that are configured twice, since both aliases would renew their certificates, or name no authority."""
    aliases: dict[str, str] = {}
    for alias, vault in vaults.items():
        if (other := aliases.setdefault(vault.url.lower().removesuffix(":443"), alias)) != alias:
            yield f"CERTRELAY_VAULTS/{alias}/url: the same vault is configured as {other} already"
        yield from _unknown_authorities(f"CERTRELAY_VAULTS/{alias}", vault.authorities, authorities)


def _unknown_authorities(where: str, names: Iterable[str], authorities: Collection[str]) -> Iterator[str]:
    text = "issuers of Key Vault are written with a capital letter, such as Self or DigiCert"
    unknown = [name for name in names if ALIAS.fullmatch(name) and name not in authorities]
    yield from (f"{where}/authorities: there is no authority {name!r}; {text}" for name in unknown)


def _fallback_faults(authorities: Mapping[str, Any]) -> Iterator[str]:
    """Fall-backs that can never be asked: unknown ones, the authority itself, and those named before.

    `authorities`: as they are written, whatever else is wrong with them."""
    for name, written in authorities.items():
        fallback = written.get("fallback") if isinstance(written, dict) else None
        listed = fallback if isinstance(fallback, list) else []
        for index, other in enumerate(listed):
            where = f"CERTRELAY_AUTHORITIES/{name}/fallback/{index}"
            if not isinstance(other, str):
                continue  # which is a fault by itself
            if other not in authorities:
                yield f"{where}: there is no authority {other!r}; the settings have: {', '.join(sorted(authorities))}"
            elif other == name:
                yield f"{where}: an authority cannot be its own fall-back"
            elif other in listed[:index]:
                yield f"{where}: {other} is in the list already"


def _unknown_names(environment: Mapping[str, str]) -> list[str]:
    """A fault for each CERTRELAY_ setting that does not exist: it is probably mistyped, and would have no effect."""
    unknown = sorted(name for name in environment if name.startswith("CERTRELAY_") and name not in NAMES)
    near = {name: difflib.get_close_matches(name, NAMES, 1) for name in unknown}
    return [f"{name} is not a setting" + (f"; did you mean {near[name][0]}?" if near[name] else "") for name in unknown]


def _json_object(environment: Mapping[str, str], name: str, faults: list[str]) -> dict[str, Any]:
    text = environment.get(name, "")
    if not text.strip():
        faults.append(f"{name} is missing: a JSON object is expected, such as {ENTRIES}")
        return {}
    before, value = len(faults), _decoded(name, text, f"an object, such as {ENTRIES}", faults)
    if len(faults) > before:
        return {}
    if not isinstance(value, dict) or (not value and name == "CERTRELAY_VAULTS"):
        faults.append(f"{name} must be a JSON object with at least one entry, such as {ENTRIES}")
        return {}
    for alias in [alias for alias in value if not ALIAS.fullmatch(alias)]:
        faults.append(f"{name}/{alias}: a name has 2 to 24 lower-case letters, digits and hyphens")
        del value[alias]
    return value


def _decoded(name: str, text: str, wanted: str, faults: list[str]) -> Any:
    """The JSON in a setting; if it cannot be read, a fault that says what is `wanted`."""
    if is_unresolved(text):
        faults.append(f"{name} {UNRESOLVED}")
        return None
    try:
        return json.loads(text, object_pairs_hook=unique)
    except Twice as error:
        faults.append(f"{name} has {error.name!r} twice in one object, and only one of them could count")
    except (ValueError, RecursionError) as error:
        place = f": see line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        faults.append(f"{name} is not JSON{place}; write {wanted}")
    return None


def _valid[Model: BaseModel](where: str, value: Any, model: type[Model], faults: list[str]) -> Model | None:
    """The value as a model; None if it has faults, which are appended."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults += _sentences(where, error, model)
        return None


def _authority(name: str, value: Any, environment: Mapping[str, str], faults: list[str]) -> Authority | None:
    where = f"CERTRELAY_AUTHORITIES/{name}"
    if not isinstance(value, dict):
        faults.append(f"{where}: must be a JSON object")
        return None
    before = len(faults)
    common = {key: item for key, item in value.items() if key in COMMON_FIELDS}
    own = {key: item for key, item in value.items() if key not in COMMON_FIELDS}
    settings = _valid(where, common, AuthoritySettings, faults)
    connector_settings = _connector_settings(where, value.get("connector"), own, environment, faults)
    if len(faults) > before or settings is None or connector_settings is None:
        return None
    return Authority(name, settings, connector_settings)


def _connector_settings(
    where: str, connector: Any, own: dict[str, Any], environment: Mapping[str, str], faults: list[str]
) -> ConnectorSettings | None:
    """The connector's own settings; None if they have faults, or if there is no such connector."""
    if not isinstance(connector, str):
        return None  # which is a fault of what all authorities have
    try:
        model = settings_class(connector)
    except LookupError as error:
        faults.append(f"{where}/connector: {error}")
        return None
    refuse_literal_secrets(where, model, own, faults)
    return _valid(where, resolved(where, own, environment, faults), model, faults)


def _targets(environment: Mapping[str, str], faults: list[str]) -> dict[str, Target]:
    name, found = "CERTRELAY_NOTIFICATIONS", {}
    written = _json_object(environment, name, faults) if environment.get(name, "").strip() else {}
    for alias, value in written.items():
        where, before = f"{name}/{alias}", len(faults)
        if not isinstance(value, dict):
            faults.append(f"{where}: must be a JSON object")
            continue
        refuse_literal_secrets(where, Target, value, faults)
        target = _valid(where, resolved(where, value, environment, faults), Target, faults)
        if target is not None and len(faults) == before:
            found[alias] = target
    return found


def _storage(environment: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    kinds = ("", "__accountName", "__tableServiceUri", "__queueServiceUri", "__clientId")
    names = [f"AzureWebJobsStorage{kind}" for kind in kinds]
    found = {name: environment[name] for name in names if environment.get(name)}
    faults += [f"{name} {UNRESOLVED}" for name, value in found.items() if is_unresolved(value)]
    identity = "AzureWebJobsStorage__accountName" in found or {names[2], names[3]} <= found.keys()
    if "AzureWebJobsStorage" not in found and not identity:
        faults.append("AzureWebJobsStorage is missing: a connection string, or AzureWebJobsStorage__accountName")
    return found


def _whole_number(environment: Mapping[str, str], name: str, default: int, faults: list[str]) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        faults.append(f"{name} must be a whole number from 1 to 999999999")
        return default
    return int(text)


def _app_service_authentication(environment: Mapping[str, str], faults: list[str]) -> bool:
    """Whether to trust the header about the caller: with the platform's authentication off, anybody can send it."""
    name = "CERTRELAY_APP_SERVICE_AUTHENTICATION"
    wanted = _flag(environment, name, faults)
    if wanted and environment.get("WEBSITE_AUTH_ENABLED", "").lower() != "true":
        faults.append(
            f"{name} is true, and App Service authentication is off (WEBSITE_AUTH_ENABLED is not true): anybody could "
            f"forge the header that identifies the caller. Turn it on for this app, or set {name} to false"
        )
    return wanted


def _function_key_role(environment: Mapping[str, str], faults: list[str]) -> str:
    name = "CERTRELAY_FUNCTION_KEY_ROLE"
    role = environment.get(name, "").strip() or ROLES[-1]
    if role not in ROLES:
        faults.append(f"{name} must be one of {', '.join(ROLES)}")
    return role


def _grants(
    environment: Mapping[str, str], vaults: Collection[str], authorities: Collection[str], faults: list[str]
) -> tuple[Grant, ...] | None:
    name, found = "CERTRELAY_GRANTS", []
    for index, value in enumerate(_json_list(environment, name, faults)):
        where = f"{name}/{index}"
        grant = _valid(where, value, Grant, faults)
        if grant is None:
            continue
        found.append(grant)
        unknown = [alias for alias in grant.vaults if alias not in vaults]
        faults += [f"{where}/vaults: there is no vault {alias!r}" for alias in unknown]
        faults += _unknown_authorities(where, grant.authorities, authorities)
    return tuple(found) if environment.get(name, "").strip() else None


def _endpoints(environment: Mapping[str, str], faults: list[str]) -> tuple[EndpointRule, ...]:
    name = "CERTRELAY_ENDPOINTS"
    written = enumerate(_json_list(environment, name, faults))
    rules = [_valid(f"{name}/{index}", value, EndpointRule, faults) for index, value in written]
    return tuple(rule for rule in rules if rule is not None)


def _json_list(environment: Mapping[str, str], name: str, faults: list[str]) -> list[Any]:
    """The list in an optional setting; empty without the setting."""
    text = environment.get(name, "").strip()
    if not text:
        return []
    before, value = len(faults), _decoded(name, text, "a list in JSON", faults)
    if len(faults) > before:
        return []
    if not isinstance(value, list) or not value:
        faults.append(f"{name} must be a JSON list with at least one entry; remove the setting to have none")
        return []
    return value


def _flag(environment: Mapping[str, str], name: str, faults: list[str]) -> bool:
    text = environment.get(name, "false").strip().lower()
    if text not in ("true", "false"):
        faults.append(f"{name} must be true or false")
    return text == "true"


def _sentences(where: str, error: ValidationError, model: type[BaseModel]) -> list[str]:
    return [f"{where}{fault.pointer}: {fault.detail}" for fault in faults_of(error, model)]
