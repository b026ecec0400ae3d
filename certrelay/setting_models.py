"""The settings as frozen values."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from certrelay import endpoints as endpoint_rules
from certrelay.connectors.registry import connector_class
from certrelay.connectors.settings import ConnectorSettings
from certrelay.endpoints import Endpoint, Network
from certrelay.pki.purposes import oid_of
from certrelay.schedules import SCHEDULES

if TYPE_CHECKING:
    from certrelay.connectors.base import Connector

PIN = "0123456789abcdef" * 4  # an example: SHA-256
ServiceEvent = Literal[
    "sweep-late", "poll-late", "vault-unreadable", "authority-down", "poison", "clock-wrong", "recovered"
]
CertificateEvent = Literal["completed", "failed", "waiting", "expiring", "expired", "not-deployed", "digest"]
NotificationEvent = CertificateEvent | ServiceEvent
ALL_BUT_COMPLETED: tuple[NotificationEvent, ...] = tuple(
    event for event in (*get_args(CertificateEvent), *get_args(ServiceEvent)) if event != "completed"
)
RoleName = Literal["Reader", "Requester", "Operator", "Administrator"]
ROLES: tuple[RoleName, ...] = get_args(RoleName)  # each includes the ones before it


def _https(url: str) -> str:
    if not re.fullmatch(r"https://([^/?#@\s:\\\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", url):
        raise ValueError("must be https://HOST without a path, such as https://contoso.vault.azure.net")
    return url.rstrip("/")


def _target_address(secret: SecretStr) -> SecretStr:
    """An https address or, beside a receiver on the same machine, one of it with its port."""
    url = secret.get_secret_value()
    try:
        parts = urlsplit(url if url.isprintable() else "")
        here = parts.scheme == "http" and parts.hostname == "127.0.0.1" and parts.port
        if here or (parts.scheme == "https" and parts.hostname and parts.port != 0):
            return secret
    except ValueError:
        pass
    raise ValueError("must be an https address, such as https://contoso.example/hook")


def signing_key(secret: SecretStr) -> bytes:
    """The key of a webhook's secret: base64 after `whsec_`, else the text itself. Raises ValueError."""
    written = secret.get_secret_value()
    if not written.startswith("whsec_"):
        return written.encode()
    try:
        return base64.b64decode(written.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise ValueError("must be base64 after whsec_") from None


def _signing_secret(secret: SecretStr) -> SecretStr:
    signing_key(secret)
    return secret


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


class Rules(_Frozen):
    """What may be requested from an authority or for a vault. An empty list of `names` allows every name.

    `names` are patterns: `www.contoso.example` (that name), `*.contoso.example` (any name below, wildcards too).
    IP addresses, e-mail addresses and URIs are matched as text, `*` for any; a URI by one with a `:`, its host apart.
    A name with an `@` needs a pattern with an `@`. `extended_key_usages`: which may be asked, by name or OID.
    `extra_names` lets an authority add `www.`, or the name without it; `requires_extended_key_usage` refuses a
    certificate without that extension (RFC 5280, section 4.2.1.12: it may then be used for anything). Without
    `certificate_authority` CA certificates can be imported, and not requested.
    """

    names: tuple[str, ...] = ()
    key_types: tuple[Literal["RSA", "EC"], ...] = ("RSA", "EC")
    minimum_rsa_size: int = Field(default=2048, ge=2048, le=4096)
    exportable: bool | None = None
    max_validity_days: int | None = Field(default=None, ge=1, le=3650)
    keep_root: bool = True
    issuer_pins: tuple[
        Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$", examples=[PIN])], ...
    ] = ()
    public_trust: bool = False
    certificate_authority: bool | None = None
    extra_names: bool | None = None
    requires_extended_key_usage: bool = False
    extended_key_usages: tuple[Annotated[str, AfterValidator(oid_of)], ...] = ()


class VaultRate(_Frozen):
    """At most `requests` new operations within any `seconds` (see certrelay.storage.limits)."""

    requests: int = Field(ge=1, le=1_000_000)
    seconds: int = Field(ge=1, le=604_800)


class Rate(VaultRate):
    """`burst` new operations at once (by default `requests`), then one each `seconds / requests`."""

    burst: int | None = Field(default=None, ge=1, le=1_000_000)


class VaultSettings(_Frozen):
    """One Key Vault. `client_id` picks a user-assigned managed identity.

    `authorities`: who may issue; empty means everybody. An entry with a capital letter (`Self`, `DigiCert`) is one of
    Key Vault's own issuers, compared regardless of case."""

    url: Annotated[str, AfterValidator(_https)]
    client_id: str | None = None
    authorities: tuple[str, ...] = ()
    rules: Rules = Rules()
    rate: VaultRate | None = None  # else Key Vault's own limits
    concurrency: int | None = Field(default=None, ge=1, le=1_000_000)


class AuthoritySettings(_Frozen):
    """What is common to all authorities; the connector's own settings are in `connector_settings`.

    `fallback`: the authorities that are asked, in this order, when this one is unavailable for too long."""

    connector: str
    rules: Rules = Rules()
    deadline_hours: float | None = Field(default=None, gt=0, le=24 * 90)  # else the connector's, or up to a day
    default_validity_days: int = Field(default=90, ge=1, le=3650)
    fallback: tuple[str, ...] = ()
    rate: Rate | None = None
    concurrency: int | None = Field(default=None, ge=1, le=1_000_000)


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority of the settings. `connector_class` is its connector's code, imported at first use."""

    name: str
    settings: AuthoritySettings
    connector_settings: ConnectorSettings

    @property
    def connector_class(self) -> "type[Connector]":
        return connector_class(self.settings.connector)

    @property
    def deadline_hours(self) -> float | None:
        """How long an order may take: by the settings, else by the connector; None if neither says."""
        return self.settings.deadline_hours or getattr(self.connector_class, "default_deadline_hours", None)


def _principal(text: str) -> str:
    if text not in ROLES and not re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.IGNORECASE):
        known = ", ".join(ROLES)
        raise ValueError(f"must be an object id, application id or group id of Entra ID (a GUID), or one of {known}")
    return text


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or not all(values):
        raise ValueError("must not be empty; leave it out to allow everything")
    return values


type Some = Annotated[tuple[str, ...], AfterValidator(_some)]
type NamePattern = Annotated[str, Field(pattern=r"^[0-9A-Za-z*-]{1,127}$")]


class Grant(_Frozen):
    """What a principal may do, and where. What is left out is not limited.

    `principal`: an object, application or group id of Entra ID, or a role: whoever has that role or a higher one.
    `authorities`: names of authorities, and of Key Vault's issuers, `Self` included. `certificates`: patterns for names
    in Key Vault. `subjects`: patterns for names in certificates, written like `names` of Rules; all must match."""

    principal: Annotated[str, AfterValidator(_principal)]
    role: RoleName
    vaults: Some = ()
    authorities: Some = ()
    certificates: Annotated[tuple[NamePattern, ...], AfterValidator(_some)] = ()
    subjects: Some = ()


class EndpointRule(_Frozen):
    """Which endpoints may be looked at: `www.contoso.example:443`, or every name below with `*.contoso.example:443`.

    `networks`: the private networks (CIDR) that their addresses may be in; public addresses need not be named."""

    pattern: Annotated[str, AfterValidator(endpoint_rules.pattern), Field(examples=["*.contoso.example:443"])]
    networks: tuple[Annotated[str, AfterValidator(endpoint_rules.network), Field(examples=["10.1.0.0/16"])], ...] = ()


class Target(_Frozen):
    """A receiver of notifications. Its URL is a credential (Teams, Slack) and is given by reference."""

    kind: Literal["webhook", "teams", "slack"]
    url: Annotated[SecretStr, AfterValidator(_target_address)]
    secret: Annotated[SecretStr, AfterValidator(_signing_secret)] | None = None
    events: tuple[NotificationEvent, ...] = ALL_BUT_COMPLETED


@dataclass(frozen=True, slots=True)
class Settings:
    vaults: Mapping[str, VaultSettings]
    authorities: Mapping[str, Authority]
    notifications: Mapping[str, Target]
    storage: Mapping[str, str]
    renewal_batch: int
    app_service_authentication: bool
    function_key_role: str
    grants: tuple[Grant, ...] | None = None  # None: the roles alone decide
    endpoints: tuple[EndpointRule, ...] = ()  # none: nothing is looked at
    schedules: Mapping[str, str] = field(default_factory=lambda: dict(SCHEDULES))

    def networks_of(self, endpoint: Endpoint) -> tuple[Network, ...] | None:
        """The private networks that the endpoint's addresses may be in; None if it may not be looked at."""
        rules = [rule for rule in self.endpoints if endpoint_rules.matches(rule.pattern, endpoint)]
        if not rules:
            return None
        return tuple(one for rule in rules for one in endpoint_rules.networks_of(rule.pattern, rule.networks))

    def secrets(self) -> set[str]:
        """Every secret in the settings, for certrelay.redaction."""
        models = [*self.notifications.values(), *(each.connector_settings for each in self.authorities.values())]
        found = {secret.get_secret_value() for model in models for secret in secrets_in(model)}
        return found | {self.storage.get("AzureWebJobsStorage", "")}


def secrets_in(value: Any) -> Iterator[SecretStr]:
    """Every secret in a model, in the models, lists and objects within it."""
    match value:
        case SecretStr():
            yield value
        case BaseModel():
            yield from secrets_in([inner for _, inner in value])
        case Mapping():
            yield from secrets_in(list(value.values()))
        case list() | tuple() | set() | frozenset():
            for item in value:
                yield from secrets_in(item)
