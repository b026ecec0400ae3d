"""Key Vault's certificate policy, in the JSON of its REST API: defaults, checks, and the properties of the CSR.

https://learn.microsoft.com/rest/api/keyvault/certificates/create-certificate/create-certificate#certificatepolicy
"""

import copy
from collections.abc import Collection, Mapping
from typing import Any

from certrelay.errors import Fault, Invalid
from certrelay.pki.distinguished_names import as_key_vault_takes_it
from certrelay.pki.names import subject_names
from certrelay.pki.purposes import CLIENT_AUTH, OID, SERVER_AUTH
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected

RSA_SIZES, CURVES = (2048, 3072, 4096), {"P-256": 256, "P-384": 384, "P-521": 521}
KEY_USAGES = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
CONTENT_TYPES = ("application/x-pkcs12", "application/x-pem-file")
DEFAULT_EKUS = [SERVER_AUTH, CLIENT_AUTH]
MAX_NAMES = 100
MAX_MONTHS = 1200
MAX_TRIGGER = 100_000  # days; no certificate lasts longer

type Json = dict[str, Any]


def complete(policy: Json, *, authority: str | None, validity_days: int | None) -> tuple[Json, SubjectNames]:
    """Fill in Key Vault's defaults, check all values, and normalise the names; returns the policy and its names.

    With an `authority` the issuer is Unknown; `validity_days` sets `validity_months`. `policy` itself is not changed.
    Raises Invalid with every fault and its JSON pointer (RFC 6901) below `/policy`."""
    policy = copy.deepcopy(policy)
    faults: list[Fault] = []
    _complete_key(policy.setdefault("key_props", {}), faults)
    normalised = _complete_x509(policy.setdefault("x509_props", {}), validity_days, faults)
    content_type = policy.setdefault("secret_props", {}).setdefault("contentType", CONTENT_TYPES[0])
    if content_type not in CONTENT_TYPES:
        faults.append(Fault("/policy/secret_props/contentType", f"must be one of {', '.join(CONTENT_TYPES)}"))
    _check_issuer(policy.setdefault("issuer", {}), authority, faults)
    months = policy["x509_props"].get("validity_months")
    policy.setdefault("lifetime_actions", [_default_action(authority)])
    _check_actions(policy["lifetime_actions"], months, faults)
    if faults:
        raise Invalid(faults)
    return policy, normalised


def with_own_kind_of_key(current: Json, changes: Json) -> Json:
    """The changes of a policy with the size and the curve that belong to the kind of key they ask for.

    What the current policy says of a key of the other kind, or of another size, no longer holds."""
    key, before = changes.get("key_props") or {}, current.get("key_props") or {}
    if not {"kty", "key_size", "crv"} & key.keys():
        return changes
    is_same = _is_rsa(key.get("kty") or before.get("kty")) == _is_rsa(before.get("kty"))
    kept = {} if is_same and not {"key_size", "crv"} & key.keys() else {"key_size": None, "crv": None}
    return changes | {"key_props": kept | key}


def _is_rsa(kind: Any) -> bool:
    return str(kind or "RSA").upper().startswith("RSA")


def names(policy: Json) -> SubjectNames:
    """The normalised names of a policy. Raises Invalid if a name is malformed."""
    x509 = policy.get("x509_props") or {}
    sans = x509.get("sans") or {}
    return subject_names(
        x509.get("subject") or None,
        dns_names=sans.get("dns_names") or (),
        email_addresses=sans.get("emails") or (),
        ip_addresses=sans.get("ipAddresses") or (),
        uris=sans.get("uris") or (),
        user_principal_names=sans.get("upns") or (),
    )


def expected(policy: Json, normalised: SubjectNames | None = None, exact: Collection[str] = ()) -> Expected:
    """What a CSR and a certificate for this complete policy must look like.

    `normalised`: the policy's names, if they are normalised already. `exact`: which of `key_usage` and `ekus` must
    match exactly. Raises Invalid if a name is malformed."""
    key = policy["key_props"]
    x509 = policy["x509_props"]
    kind = "RSA" if key["kty"].startswith("RSA") else "EC"
    return Expected(
        names=normalised or names(policy),
        key_type=kind,
        key_size=key["key_size"] if kind == "RSA" else None,
        curve=key.get("crv") if kind == "EC" else None,
        is_ca=bool((x509.get("basic_constraints") or {}).get("ca")),
        key_usage=frozenset(x509["key_usage"]) if "key_usage" in exact else None,
        extended_key_usage=tuple(x509["ekus"]) if "ekus" in exact else None,
    )


def months_of(days: int) -> int:
    """The `validity_months` of a policy whose certificate is valid for so many days."""
    return max(1, -(-days // 31))


def calendar_days(months: int) -> int:
    """The most days that so many calendar months have, without the leap day of a single year."""
    years, rest = divmod(months, 12)
    leap_days = years // 4
    return 365 * years + leap_days + (0, 31, 62, 92, 123, 153, 184, 215, 245, 276, 306, 337)[rest]


def days_of(policy: Json) -> int | None:
    """The policy's `validity_months` in days; None without them, or when they are out of range."""
    months = (policy.get("x509_props") or {}).get("validity_months")
    return round(months * 365 / 12) if isinstance(months, int) and _is_range_of_months(months) else None


def _is_range_of_months(months: Any) -> bool:
    return isinstance(months, int) and 1 <= months <= MAX_MONTHS


def threshold(policy: Json) -> Json | None:
    """The trigger of the policy's lifetime action: `lifetime_percentage` or `days_before_expiry`; None without one."""
    actions = lifetime_actions(policy)
    return actions[0][1] or None if actions else None


def lifetime_actions(policy: Any) -> list[tuple[str, Json]]:
    """The type and trigger of each lifetime action. Policies in vaults need not be ours: what cannot be read of one
    counts as absent."""
    given = policy.get("lifetime_actions") if isinstance(policy, dict) else None
    found = []
    for one in given if isinstance(given, list) else ():
        action, trigger = (_object(one, part) for part in ("action", "trigger"))
        numbers = {key: value for key, value in trigger.items() if isinstance(value, int) and 0 <= value <= MAX_TRIGGER}
        found.append((str(action.get("action_type", "")), numbers))
    return found


def issuer_of(policy: Any) -> str:
    """The issuer's name; `Unknown` where a policy has none."""
    return str(_object(policy, "issuer").get("name", "Unknown"))


def _object(value: Any, part: str) -> Json:
    found = value.get(part) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _default_action(authority: str | None) -> Json:
    action = "EmailContacts" if authority else "AutoRenew"
    return {"trigger": {"lifetime_percentage": 67 if authority else 80}, "action": {"action_type": action}}


def _complete_key(key: Json, faults: list[Fault]) -> None:
    where = "/policy/key_props"
    for part in ("key_size", "crv"):
        if key.get(part, 0) is None:
            del key[part]
    kind = key.setdefault("kty", "EC" if key.get("crv") else "RSA")
    key.setdefault("exportable", kind in ("RSA", "EC"))
    key.setdefault("reuse_key", False)
    if kind in ("RSA", "RSA-HSM"):
        if key.setdefault("key_size", 2048) not in RSA_SIZES:
            faults.append(Fault(f"{where}/key_size", f"must be one of {', '.join(map(str, RSA_SIZES))}"))
        if key.get("crv"):
            faults.append(Fault(f"{where}/crv", "is for EC keys only; leave it out"))
    elif kind in ("EC", "EC-HSM"):
        by_size = {size: curve for curve, size in CURVES.items()}
        if key.setdefault("crv", by_size.get(key.get("key_size") or 0, "P-256")) not in CURVES:
            faults.append(Fault(f"{where}/crv", f"must be one of {', '.join(CURVES)}"))
        elif key.setdefault("key_size", CURVES[key["crv"]]) != CURVES[key["crv"]]:
            faults.append(Fault(f"{where}/key_size", f"must be {CURVES[key['crv']]} for {key['crv']}"))
    else:
        faults.append(Fault(f"{where}/kty", "must be one of RSA, EC, RSA-HSM, EC-HSM"))
    if kind.endswith("-HSM") and key["exportable"]:
        faults.append(Fault(f"{where}/exportable", "must be false for a key in an HSM"))


def _complete_x509(x509: Json, validity_days: int | None, faults: list[Fault]) -> SubjectNames:
    where = "/policy/x509_props"
    if not _is_range_of_months(x509.get("validity_months", 1)):
        faults.append(Fault(f"{where}/validity_months", f"must be from 1 to {MAX_MONTHS}"))
    if validity_days is not None:
        x509["validity_months"] = months_of(validity_days)
    x509.setdefault("validity_months", 12)
    x509.setdefault("key_usage", ["digitalSignature", "keyEncipherment"])
    faults += [
        Fault(f"{where}/key_usage/{index}", f"must be one of {', '.join(KEY_USAGES)}")
        for index, usage in enumerate(x509["key_usage"])
        if usage.lower() not in (known.lower() for known in KEY_USAGES)
    ]
    x509.setdefault("ekus", DEFAULT_EKUS)
    faults += [
        Fault(f"{where}/ekus/{index}", "must be an object identifier such as 1.3.6.1.5.5.7.3.1")
        for index, oid in enumerate(x509["ekus"])
        if not OID.fullmatch(oid)
    ]
    return _normalise_names(x509, faults)


def _normalise_names(x509: Json, faults: list[Fault]) -> SubjectNames:
    sans = x509.get("sans") or {}
    if not x509.get("subject") and not any(sans.values()):
        faults.append(Fault("/policy/x509_props", "a subject or a subject alternative name is required"))
        return SubjectNames()
    if sum(len(values) for values in sans.values() if values) > MAX_NAMES:
        faults.append(Fault("/policy/x509_props/sans", f"at most {MAX_NAMES} names are allowed"))
        return SubjectNames()
    try:
        normalised = names({"x509_props": x509})
        if x509.get("subject"):
            x509["subject"] = as_key_vault_takes_it(x509["subject"])
    except Invalid as error:
        faults += error.faults
        return SubjectNames()
    x509["sans"] = {
        key: list(values)
        for key, values in {
            "dns_names": normalised.dns_names,
            "emails": normalised.email_addresses,
            "upns": normalised.user_principal_names,
            "uris": normalised.uris,
            "ipAddresses": normalised.ip_addresses,
        }.items()
        if values
    }
    return normalised


def _check_issuer(issuer: Json, authority: str | None, faults: list[Fault]) -> None:
    name = issuer.setdefault("name", "Unknown" if authority else "Self")
    if authority and name.lower() != "unknown":
        faults.append(Fault("/policy/issuer/name", "must be Unknown when an authority signs; leave it out"))
    elif not authority and name.lower() == "unknown":
        faults.append(Fault("/authority", "is required when the policy's issuer is Unknown"))


def _check_actions(actions: list[Json], months: Any, faults: list[Fault]) -> None:
    where = "/policy/lifetime_actions"
    if len(actions) > 1:
        faults.append(Fault(where, "at most one action is allowed"))
    for index, action in enumerate(actions):
        check_trigger(action.get("trigger") or {}, months, f"{where}/{index}/trigger", faults)


def check_trigger(trigger: Mapping[str, Any], months: Any, where: str, faults: list[Fault]) -> None:
    """Check a lifetime action's trigger for a certificate valid for so many months by Key Vault's limits.

    Appends faults; `where` is the trigger's JSON pointer."""
    days, share = trigger.get("days_before_expiry"), trigger.get("lifetime_percentage")
    if (days is None) == (share is None):
        faults.append(Fault(where, "needs either days_before_expiry or lifetime_percentage"))
    if share is not None and not 1 <= share <= 99:
        faults.append(Fault(f"{where}/lifetime_percentage", "must be from 1 to 99"))
    if days is not None and isinstance(months, int) and not 1 <= days <= months * 27:
        faults.append(Fault(f"{where}/days_before_expiry", f"must be from 1 to {months * 27}"))
