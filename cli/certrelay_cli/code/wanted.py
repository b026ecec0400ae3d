"""One certificate as the file wants it, with all defaults, and its requests to the API. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from certrelay_cli import keys, triggers
from certrelay_cli.code import endpoints
from certrelay_cli.code.document import Common, Document, Entry
from certrelay_cli.code.names import normalised, user_principal_name
from certrelay_cli.inputs import Malformed
from certrelay_cli.triggers import Trigger

KEY_USAGE = ("digitalSignature", "keyEncipherment")
EKUS = ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2")
CONTENT_TYPES = {"pfx": "application/x-pkcs12", "pem": "application/x-pem-file"}
MONTH_DAYS = 365 / 12
KEY_VAULTS_SHARE = 80  # of the lifetime, at which Key Vault's own renewal begins by default
MAX_COMMON_NAME = 64
ENDPOINT_TAG = "certrelay-endpoint"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`authority` or `issuer` (of Key Vault) is set. `key_usage` and `ekus` are None if the file does not say."""

    name: str
    authority: str | None
    issuer: str | None
    key: str
    dns: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    upns: tuple[str, ...] = ()
    subject: str = ""
    days: int | None = None
    trigger: Trigger | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    exportable: bool = True
    reuse_key: bool = False
    content_type: str = CONTENT_TYPES["pfx"]
    key_usage: tuple[str, ...] | None = None
    ekus: tuple[str, ...] | None = None
    enabled: bool = True
    certificate_type: str | None = None
    auto_renew: bool = True
    ca: bool = False

    @property
    def names(self) -> frozenset[str]:
        """All names that a certificate shows."""
        return frozenset(self.dns + self.ips + self.emails + self.uris)

    @property
    def sans(self) -> dict[str, list[str]]:
        """As in Key Vault's policy."""
        kinds = {"dns_names": self.dns, "emails": self.emails, "upns": self.upns, "uris": self.uris}
        return {kind: list(values) for kind, values in {**kinds, "ipAddresses": self.ips}.items() if values}

    @property
    def validity_months(self) -> int | None:
        """`days` as an issuer of Key Vault is told them."""
        return max(1, round(self.days / MONTH_DAYS)) if self.days else None

    @property
    def lifetime_action(self) -> dict[str, Any]:
        """As in Key Vault's policy; with an authority Key Vault itself only notifies."""
        trigger = self.trigger or ("lifetime_percentage", KEY_VAULTS_SHARE)
        action = "AutoRenew" if self.issuer and self.auto_renew else "EmailContacts"
        return {"trigger": dict([trigger]), "action": {"action_type": action}}

    def create_body(self) -> dict[str, Any]:
        """The body of `create`."""
        properties: dict[str, Any] = {"subject": self.subject} if self.subject else {}
        properties |= {"sans": self.sans} if self.sans else {}
        for kind in ("key_usage", "ekus"):
            if getattr(self, kind) is not None:
                properties[kind] = list(getattr(self, kind))
        if self.ca:
            properties["basic_constraints"] = {"ca": True}
        policy: dict[str, Any] = {
            "key_props": {**keys.to_properties(self.key), "exportable": self.exportable, "reuse_key": self.reuse_key},
            "secret_props": {"contentType": self.content_type},
            "x509_props": properties,
        }
        if self.issuer:
            certificate_type = {"cty": self.certificate_type} if self.certificate_type else {}
            policy["issuer"] = {"name": self.issuer, **certificate_type}
        if self.trigger or (self.issuer and not self.auto_renew):
            policy["lifetime_actions"] = [self.lifetime_action]
        body: dict[str, Any] = {"policy": policy, "tags": dict(self.tags), "enabled": self.enabled}
        if self.authority:
            body["authority"] = self.authority
            body |= {"validity_days": self.days} if self.days else {}
        elif self.days:
            properties["validity_months"] = self.validity_months
        return body


def all_of(document: Document, file: str = "certificates.yaml") -> dict[str, Wanted]:
    """Each certificate of the file, with the defaults. Raises Malformed with every fault."""
    faults: list[str] = []
    found: dict[str, Wanted] = {}
    spelled: dict[str, str] = {}
    for name, entry in document.certificates.items():
        if name.lower() in spelled:
            faults.append(f"certificates.{name}: Key Vault takes it for the same as {spelled[name.lower()]}")
        spelled[name.lower()] = name
        try:
            found[name] = _wanted(name, entry, document.defaults)
        except ValueError as error:
            faults.append(f"certificates.{name}: {error}")
    if faults:
        raise Malformed(file, faults)
    return found


def _wanted(name: str, entry: Entry, defaults: Common) -> Wanted:
    def chosen(attribute: str, otherwise: Any = None) -> Any:
        for one in (entry, defaults):
            if getattr(one, attribute) is not None:
                return getattr(one, attribute)
        return otherwise

    authority, issuer = entry.authority, entry.issuer
    if authority and issuer:
        raise ValueError("has an authority and an issuer of Key Vault: only one of them can issue it")
    if not authority and not issuer:
        authority, issuer = defaults.authority, None if defaults.authority else defaults.issuer
    if not authority and not issuer:
        raise ValueError("needs an authority, or an issuer of Key Vault")
    names = [normalised(one) for one in entry.names]
    if not names and not entry.subject and not entry.upns:
        raise ValueError("needs names or a subject")
    if len({*names}) != len(names):
        raise ValueError("has a name twice")
    key = chosen("key", keys.DEFAULT)
    dns = tuple(one for kind, one in names if kind == "dns")
    renew, usage, ekus = chosen("renew"), chosen("key_usage"), chosen("ekus")
    return Wanted(
        name=name, authority=authority, issuer=issuer, key=key, dns=dns,
        ips=tuple(one for kind, one in names if kind == "ip"),
        emails=tuple(one for kind, one in names if kind == "email"),
        uris=tuple(one for kind, one in names if kind == "uri"),
        upns=tuple(map(user_principal_name, entry.upns)), subject=entry.subject or default_subject(dns),
        days=chosen("days"), trigger=triggers.from_text(renew) if renew else None,
        tags={**defaults.tags, **entry.tags, **_endpoint_tag(entry, defaults)},
        exportable=chosen("exportable", "-HSM" not in key), reuse_key=chosen("reuse_key", False),
        content_type=CONTENT_TYPES[chosen("content_type", "pfx")], key_usage=_once(usage),
        ekus=_once(ekus), enabled=chosen("enabled", True),
        certificate_type=entry.certificate_type, auto_renew=entry.auto_renew is not False, ca=entry.ca,
    )  # fmt: skip


def _once(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(values)) if values else None


def _endpoint_tag(entry: Entry, defaults: Common) -> dict[str, str]:
    """The tag for the entry's endpoint, if it has one. Raises ValueError."""
    if ENDPOINT_TAG in {**defaults.tags, **entry.tags}:
        raise ValueError(f"has the tag {ENDPOINT_TAG}: write endpoint instead")
    if entry.endpoint is not None:
        endpoints.normalised(entry.endpoint)
    return {ENDPOINT_TAG: entry.endpoint} if entry.endpoint else {}


def default_subject(dns: tuple[str, ...]) -> str:
    """As CertRelay does it: CN= and the first DNS name, if that may be a common name."""
    return f"CN={dns[0]}" if dns and len(dns[0]) <= MAX_COMMON_NAME else ""
