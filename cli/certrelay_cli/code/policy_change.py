"""What differs between Key Vault's policy of a certificate and what is wanted. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from certrelay_cli import keys
from certrelay_cli.code.names import all_of
from certrelay_cli.code.subjects import comparable
from certrelay_cli.code.wanted import EKUS, KEY_USAGE, Wanted


@dataclass
class PolicyChange:
    """The fields of the policy to change, and why."""

    body: dict[str, Any] = field(default_factory=dict)
    why: list[str] = field(default_factory=list)

    def compare(self, section: str, fields: dict[str, Any], what: str, now: Any, then: Any) -> None:
        if now != then:
            self.body.setdefault(section, {}).update(fields)
            self.why.append(f"{what}: {shown(now)} becomes {shown(then)}")


def policy_change(wanted: Wanted, policy: Mapping[str, Any]) -> PolicyChange:
    """What has to change in a policy of Key Vault, so that the next version is as it is wanted."""
    found = PolicyChange()
    _compare_key(found, wanted, policy)
    _compare_certificate(found, wanted, policy)
    if wanted.issuer and wanted.issuer.lower() != "unknown":
        _compare_issuers_own(found, wanted, policy)
    return found


def _compare_key(found: PolicyChange, wanted: Wanted, policy: Mapping[str, Any]) -> None:
    key = policy.get("key_props") or {}
    found.compare("key_props", keys.to_properties(wanted.key), "key", keys.from_properties(key), wanted.key)
    for name in ("exportable", "reuse_key"):
        value = getattr(wanted, name)
        found.compare("key_props", {name: value}, name, bool(key.get(name, name == "exportable")), value)
    now, then = (policy.get("secret_props") or {}).get("contentType", wanted.content_type), wanted.content_type
    found.compare("secret_props", {"contentType": then}, "content type", now, then)


def _compare_certificate(found: PolicyChange, wanted: Wanted, policy: Mapping[str, Any]) -> None:
    properties = policy.get("x509_props") or {}
    sans = {kind: sorted(values) for kind, values in wanted.sans.items()}
    now = {kind: sorted(values) for kind, values in sans_in(policy).items()}
    emptied: dict[str, list[str]] = {kind: [] for kind in now if kind not in sans}
    found.compare("x509_props", {"sans": wanted.sans | emptied}, "names", now, sans)
    subject = properties.get("subject") or wanted.subject
    if comparable(subject) != comparable(wanted.subject):
        found.compare("x509_props", {"subject": wanted.subject}, "subject", subject, wanted.subject)
    for name, default in (("key_usage", KEY_USAGE), ("ekus", EKUS)):
        then = list(getattr(wanted, name) or default)
        present = properties.get(name) or default
        found.compare("x509_props", {name: then}, name.replace("_", " "), sorted({*present}), sorted({*then}))


def _compare_issuers_own(found: PolicyChange, wanted: Wanted, policy: Mapping[str, Any]) -> None:
    """What only concerns certificates that Key Vault itself has issued and renews."""
    [action, *_] = policy.get("lifetime_actions") or [{}]
    then = wanted.lifetime_action
    trigger, kind = then["trigger"], then["action"]["action_type"]
    if (action.get("trigger"), (action.get("action") or {}).get("action_type")) != (trigger, kind):
        found.body["lifetime_actions"] = [then]
        found.why.append(f"renewal: {kind} at {trigger}")
    if wanted.certificate_type:
        now = (policy.get("issuer") or {}).get("cty")
        found.compare("issuer", {"cty": wanted.certificate_type}, "type", now, wanted.certificate_type)
    if wanted.days:
        now, months = (policy.get("x509_props") or {}).get("validity_months"), wanted.validity_months
        found.compare("x509_props", {"validity_months": months}, "months", now, months)


def sans_in(policy: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names that a policy asks for, by their kind, as CertRelay writes them."""
    sans = (policy.get("x509_props") or {}).get("sans") or {}
    return {kind: all_of(kind, values) for kind, values in sans.items() if values}


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(one for values in value.values() for one in values) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)
