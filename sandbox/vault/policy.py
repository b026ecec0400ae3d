"""Certificate policies: read, fill in Key Vault's defaults, validate.

A policy is a dict in the shape of the REST API. Defaults are as recorded from the service, ranges as documented.
"""

import copy
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from cryptography import x509

from sandbox.vault.errors import bad_parameter, invalid_policy, invalid_property
from sandbox.vault.names import parse_name

Policy = dict[str, Any]

CURVES = {"P-256": 256, "P-384": 384, "P-521": 521, "P-256K": 256}
RSA_SIZES = (2048, 3072, 4096)
PFX = "application/x-pkcs12"
PEM = "application/x-pem-file"
KEY_USAGES = (
    "cRLSign",
    "dataEncipherment",
    "decipherOnly",
    "digitalSignature",
    "encipherOnly",
    "keyAgreement",
    "keyCertSign",
    "keyEncipherment",
    "nonRepudiation",
)
_USAGE_BY_LOWER = {usage.lower(): usage for usage in KEY_USAGES}
_SERVER_AND_CLIENT = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,30})){1,30}")
_SANS = ("emails", "dns_names", "upns", "uris", "ipAddresses")
_SHAPE: dict[str, Any] = {
    "key_props": {"exportable": bool, "kty": str, "key_size": int, "reuse_key": bool, "crv": str},
    "secret_props": {"contentType": str},
    "x509_props": {
        "subject": str,
        "sans": {kind: [str] for kind in _SANS},
        "ekus": [str],
        "key_usage": [str],
        "validity_months": int,
    },
    "lifetime_actions": [
        {"trigger": {"lifetime_percentage": int, "days_before_expiry": int}, "action": {"action_type": str}}
    ],
    "issuer": {"name": str, "cty": str, "cert_transparency": bool},
    "attributes": {"enabled": bool},
    "platformManaged": {"certificateUsage": str, "metadata": dict},
}


def read_policy(raw: object) -> Policy:
    """The known members of a policy that a request sent, with their types checked. Unknown members are dropped."""
    picked = _pick(raw, _SHAPE, "policy")
    assert isinstance(picked, dict)
    return picked


def _pick(raw: object, shape: Any, path: str) -> Any:
    if isinstance(shape, dict):
        if not isinstance(raw, dict):
            raise invalid_policy(path)
        return {
            key: _pick(raw[key], member, f"{path}.{key}")
            for key, member in shape.items()
            if raw.get(key) is not None  # null means absent
        }
    if isinstance(shape, list):
        if not isinstance(raw, list):
            raise invalid_policy(path)
        return [_pick(item, shape[0], path) for item in raw]
    # In Python True is an int; in JSON it is not a number.
    if not isinstance(raw, shape) or (shape is int and isinstance(raw, bool)):
        raise invalid_policy(path)
    return copy.deepcopy(raw)


def complete(policy: Policy, now: int, created: int | None = None) -> Policy:
    """A request's policy with every default filled in, ready to store. Raises 400 for what Key Vault refuses."""
    platform_managed = "platformManaged" in policy
    x509_props = _platform_names(policy) | policy.get("x509_props", {})
    key_props = policy.get("key_props", {})
    issuer = policy.get("issuer", {})
    result: Policy = {
        "key_props": _key_defaults(key_props),
        "secret_props": {"contentType": policy.get("secret_props", {}).get("contentType", PFX)},
        "x509_props": {
            **{name: x509_props[name] for name in ("subject", "sans") if name in x509_props},
            "ekus": x509_props.get("ekus", _SERVER_AND_CLIENT[:1] if platform_managed else _SERVER_AND_CLIENT),
            "key_usage": x509_props.get("key_usage", ["digitalSignature", "keyEncipherment"]),
            "validity_months": x509_props.get("validity_months", 3 if platform_managed else 12),
            "basic_constraints": {"ca": False},
        },
        "lifetime_actions": policy.get("lifetime_actions", []),
        "issuer": {**issuer, "name": issuer.get("name", "PlatformManaged" if platform_managed else "Unknown")},
        "attributes": {
            "enabled": policy.get("attributes", {}).get("enabled", True),
            "created": created if created is not None else now,
            "updated": now,
        },
    }
    if platform_managed:
        result["platformManaged"] = policy["platformManaged"]
    if not result["lifetime_actions"]:
        result["lifetime_actions"] = [default_action(result["issuer"]["name"])]
    return validated(result)


def _platform_names(policy: Policy) -> Policy:
    """The names of a platform-managed certificate, which are in its metadata."""
    sans = policy.get("platformManaged", {}).get("metadata", {}).get("sans")
    return {"sans": _pick(sans, _SHAPE["x509_props"]["sans"], "policy.platformManaged.metadata")} if sans else {}


def subject_of(policy: Mapping[str, Any]) -> str:
    """The policy's subject; empty when it has none."""
    subject: str = policy["x509_props"].get("subject", "")
    return subject


def default_action(issuer: str) -> dict[str, Any]:
    """The lifetime action of a policy that names none."""
    action = "EmailContacts" if issuer.lower() == "unknown" else "AutoRenew"
    share = 50 if issuer == "PlatformManaged" else 80
    return {"trigger": {"lifetime_percentage": share}, "action": {"action_type": action}}


def _key_defaults(key_props: Mapping[str, Any]) -> dict[str, Any]:
    kty = key_props.get("kty", "EC" if "crv" in key_props else "RSA")
    result = {
        "exportable": key_props.get("exportable", not kty.upper().endswith("-HSM")),
        "kty": kty,
        "key_size": key_props.get("key_size"),
        "reuse_key": key_props.get("reuse_key", False),
    }
    if kty.upper().startswith("EC"):
        size = result["key_size"]
        curve = key_props.get("crv") or next((name for name, bits in CURVES.items() if bits == (size or 256)), None)
        if curve:
            result["crv"] = curve
            result["key_size"] = size or CURVES.get(curve)
    elif result["key_size"] is None:
        result["key_size"] = 2048
    return result


def merged(stored: Mapping[str, Any], change: Mapping[str, Any], now: int) -> Policy:
    """The stored policy with a PATCH applied: leaf by leaf, lists as a whole."""
    result = copy.deepcopy(dict(stored))
    change = copy.deepcopy(dict(change))
    key_change = change.get("key_props", {})
    if {"kty", "crv", "key_size"} & key_change.keys():
        # Size and curve belong together: what the change leaves out of the pair is derived again.
        kept = result["key_props"]
        if key_change.get("kty", kept["kty"]).upper() != kept["kty"].upper():
            kept.pop("key_size", None)
            kept.pop("crv", None)
        elif "crv" in key_change:
            kept.pop("key_size", None)
        elif "key_size" in key_change:
            kept.pop("crv", None)
    _merge(result, change)
    result["key_props"] = _key_defaults(result["key_props"])
    result["attributes"]["updated"] = max(now, result["attributes"]["updated"])
    return validated(result)


def _merge(target: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict) and key != "metadata":
            _merge(target[key], value)
        else:
            target[key] = value


def validated(policy: Policy) -> Policy:
    """The policy with normalised key usages. Raises 400; like the service it checks the subject first."""
    x509_props = policy["x509_props"]
    _check_names(policy)
    _check_usages(x509_props)
    _check_key(policy["key_props"])
    months = x509_props["validity_months"]
    if not 1 <= months <= 1200:
        raise invalid_policy("policy.x509_props.validity_months")
    if policy["secret_props"]["contentType"] not in (PFX, PEM):
        raise invalid_policy("policy.secret_props.contentType")
    for action in policy["lifetime_actions"]:
        _check_action(action, months)
    if len(policy["lifetime_actions"]) > 1:
        raise bad_parameter("At most one action is allowed")
    return policy


def _check_names(policy: Policy) -> None:
    x509_props = policy["x509_props"]
    try:
        parse_name(subject_of(policy))
    except (ValueError, TypeError):
        raise invalid_property("policy.x509_props", "Invalid X.500 distinguished name") from None
    sans = x509_props.get("sans", {})
    try:
        alternative_names(sans)
    except (ValueError, TypeError):
        raise invalid_policy("policy.x509_props.sans") from None
    if not subject_of(policy).strip() and not any(sans.values()) and "platformManaged" not in policy:
        raise bad_parameter("Either subjectName or san must be present")


def alternative_names(sans: Mapping[str, list[str]]) -> list[x509.GeneralName]:
    """The policy's `sans` as X.509 names. Raises ValueError for a malformed one."""
    if not all(name.strip() for names in sans.values() for name in names):
        raise ValueError("an empty name")
    upn = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in sans.get("dns_names", [])]
    names += [x509.RFC822Name(name) for name in sans.get("emails", [])]
    names += [x509.OtherName(upn, _utf8_string(name)) for name in sans.get("upns", [])]
    names += [x509.UniformResourceIdentifier(name) for name in sans.get("uris", [])]
    names += [x509.IPAddress(ipaddress.ip_address(name)) for name in sans.get("ipAddresses", [])]
    return names


def _utf8_string(text: str) -> bytes:
    data = text.encode()
    if len(data) > 0xFFFF:
        raise ValueError("a too long name")
    if len(data) < 0x80:
        length = bytes([len(data)])
    else:
        size = (len(data).bit_length() + 7) // 8
        length = bytes([0x80 | size]) + len(data).to_bytes(size)
    return b"\x0c" + length + data


def _check_usages(x509_props: Policy) -> None:
    try:
        usages = {_USAGE_BY_LOWER[usage.lower()] for usage in x509_props["key_usage"]}
    except KeyError:
        raise invalid_policy("policy.x509_props.key_usage") from None
    x509_props["key_usage"] = sorted(usages, key=str.lower)
    for oid in x509_props["ekus"]:
        try:
            if not _OID.fullmatch(oid):
                raise ValueError(oid)
            x509.ObjectIdentifier(oid)
        except ValueError:
            raise invalid_policy("policy.x509_props.ekus") from None


def _check_key(key_props: Policy) -> None:
    kty, size = key_props["kty"].upper(), key_props["key_size"]
    if kty in ("RSA", "RSA-HSM"):
        if size not in RSA_SIZES:
            raise _unsupported_size(size, RSA_SIZES)
        key_props.pop("crv", None)
    elif kty in ("EC", "EC-HSM"):
        curve = key_props.get("crv")
        if curve is None:
            raise _unsupported_size(size, (256, 384, 521))
        if curve not in CURVES:
            raise invalid_policy("policy.key_props.crv")
        if size != CURVES[curve]:
            raise _unsupported_size(size, (CURVES[curve],))
    else:
        raise invalid_policy("policy.key_props.kty")
    key_props["kty"] = kty
    if kty.endswith("-HSM") and key_props["exportable"]:
        raise invalid_policy("policy.key_props.exportable")


def _unsupported_size(size: int | None, supported: tuple[int, ...]) -> Exception:
    text = ", ".join(map(str, supported))
    return bad_parameter(f"Unsupported key size ({size}). Supported sizes are [{text}]", "KeySizeNotSupported")


def _check_action(action: Policy, months: int) -> None:
    trigger = action.get("trigger", {})
    share, days = trigger.get("lifetime_percentage"), trigger.get("days_before_expiry")
    if (share is None) == (days is None):
        raise invalid_policy("policy.lifetime_actions.trigger")
    if share is not None and not 1 <= share <= 99:
        raise invalid_policy("policy.lifetime_actions.trigger.lifetime_percentage")
    if days is not None and not 1 <= days <= months * 27:
        raise invalid_policy("policy.lifetime_actions.trigger.days_before_expiry")
    kinds = {"autorenew": "AutoRenew", "emailcontacts": "EmailContacts"}
    kind = kinds.get(action.get("action", {}).get("action_type", "").lower())
    if kind is None:
        raise invalid_policy("policy.lifetime_actions.action")
    action["action"]["action_type"] = kind
