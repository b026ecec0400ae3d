"""Write the file for what is there. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from certrelay_cli import keys, triggers
from certrelay_cli.code import document, wanted
from certrelay_cli.code.actual import Actual
from certrelay_cli.code.names import normalised
from certrelay_cli.code.policy_change import sans_in
from certrelay_cli.code.wanted import CONTENT_TYPES, EKUS, KEY_USAGE, KEY_VAULTS_SHARE, MONTH_DAYS
from certrelay_cli.inputs import Malformed

type Json = dict[str, Any]


class _Line(dict[str, Any]):
    """A mapping on one line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Line, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)
)


def text(vault: str, certificates: Iterable[Actual], default_days: Mapping[str, int]) -> tuple[str, list[str]]:
    """The file, and a note for each certificate that no file can describe."""
    entries: dict[str, Json] = {}
    notes: list[str] = []
    for one in sorted(certificates, key=lambda one: one.name.lower()):
        entry = entry_of(one, default_days)
        try:
            [read] = wanted.all_of(document.of({"vault": vault, "certificates": {one.name: entry}})).values()
            if (kinds := sans_in(one.policy)) and kinds.keys() != read.sans.keys():
                raise Malformed("", ["a name looks like one of another kind"])
            entries[one.name] = entry
        except Malformed as error:
            fault = error.faults[0].removeprefix(f"certificates.{one.name}").removeprefix(": ").removeprefix(".")
            notes.append(f"{one.name} is left out, since the file cannot say what it is: {fault}")
    content: Json = {"vault": vault}
    if defaults := _defaults(entries):
        content["defaults"] = _Line(defaults)
    content["certificates"] = {name: _Line(entry) for name, entry in entries.items()}
    dumped: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)
    return dumped, notes


def entry_of(actual: Actual, default_days: Mapping[str, int]) -> Json:
    """The entry for which a plan finds nothing to do."""
    properties = actual.policy.get("x509_props") or {}
    sans = properties.get("sans") or {}
    names = [name for kind in ("dns_names", "ipAddresses", "emails", "uris") for name in sans.get(kind) or ()]
    key = keys.from_properties(actual.policy.get("key_props") or {})
    entry: Json = {"names": names or sorted(actual.names or ())}
    entry |= {"upns": list(sans["upns"])} if sans.get("upns") else {}
    dns = tuple(name for kind, name in map(_kind, entry["names"]) if kind == "dns")
    subject = properties.get("subject") or ""
    if subject and subject != wanted.default_subject(dns):
        entry["subject"] = subject
    entry |= _renewal(actual, default_days)
    if key != keys.DEFAULT:
        entry["key"] = key or "unknown"
    entry |= _rest(actual, properties, key)
    if not entry["names"]:
        del entry["names"]
    return entry


def _renewal(actual: Actual, default_days: Mapping[str, int]) -> Json:
    if actual.authority:
        entry: Json = {"authority": actual.authority}
        if actual.days and actual.days != default_days.get(actual.authority):
            entry["days"] = actual.days
        if actual.trigger:
            entry["renew"] = triggers.to_text(actual.trigger)
        return entry
    issuer = actual.policy.get("issuer") or {}
    entry = {"issuer": issuer.get("name") or "Unknown"}
    if entry["issuer"].lower() == "unknown":
        return entry
    [action, *_] = actual.policy.get("lifetime_actions") or [{}]
    [(kind, number)] = (action.get("trigger") or {"lifetime_percentage": KEY_VAULTS_SHARE}).items()
    if (kind, number) != ("lifetime_percentage", KEY_VAULTS_SHARE):
        entry["renew"] = triggers.to_text((kind, number))
    if (action.get("action") or {}).get("action_type") == "EmailContacts":
        entry["auto_renew"] = False
    months = (actual.policy.get("x509_props") or {}).get("validity_months")
    if months and months != 12:
        entry["days"] = round(months * MONTH_DAYS)
    return entry | ({"certificate_type": issuer["cty"]} if issuer.get("cty") else {})


def _rest(actual: Actual, properties: Mapping[str, Any], key: str) -> Json:
    """What is not as it is by default."""
    entry: Json = {}
    properties_of_key = actual.policy.get("key_props") or {}
    exportable = bool(properties_of_key.get("exportable", True))
    if exportable is ("-HSM" in key):
        entry["exportable"] = exportable
    if properties_of_key.get("reuse_key"):
        entry["reuse_key"] = True
    if (actual.policy.get("secret_props") or {}).get("contentType") == CONTENT_TYPES["pem"]:
        entry["content_type"] = "pem"
    for name, default in (("key_usage", KEY_USAGE), ("ekus", EKUS)):
        found = properties.get(name)
        if found and sorted(found) != sorted(default):
            entry[name] = list(found)
    if (properties.get("basic_constraints") or {}).get("ca"):
        entry["ca"] = True
    tags = dict(actual.tags)
    if endpoint := tags.pop(wanted.ENDPOINT_TAG, None):
        entry["endpoint"] = endpoint
    if tags:
        entry["tags"] = tags
    if not actual.enabled:
        entry["enabled"] = False
    return entry


def _kind(name: str) -> tuple[str, str]:
    try:
        return normalised(name)
    except ValueError:
        return "other", name


def _defaults(entries: dict[str, Json]) -> Json:
    """What most certificates have; it is taken out of their entries."""
    defaults: Json = {}
    authorities = Counter(entry["authority"] for entry in entries.values() if "authority" in entry)
    if authorities:
        [(defaults["authority"], _)] = authorities.most_common(1)
    sizes = Counter(entry.get("key", keys.DEFAULT) for entry in entries.values())
    if sizes and (most := sizes.most_common(1)[0][0]) != keys.DEFAULT:
        defaults["key"] = most
    shared = [set((entry.get("tags") or {}).items()) for entry in entries.values()]
    tags = set.intersection(*shared) if len(shared) > 1 else set()
    if tags:
        defaults["tags"] = dict(sorted(tags))
    for entry in entries.values():
        if "key" in defaults:
            entry.setdefault("key", keys.DEFAULT)
        for name in ("authority", "key"):
            if entry.get(name) == defaults.get(name):
                entry.pop(name, None)
        own = {name: value for name, value in (entry.pop("tags", None) or {}).items() if (name, value) not in tags}
        entry.update({"tags": own} if own else {})
    return defaults
