"""Import of a PFX or PEM file, and the policy that is derived from its certificate."""

import datetime
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from asn1crypto import x509 as asn1
from cryptography import x509

from sandbox.vault import events, lifecycle
from sandbox.vault.call import Call
from sandbox.vault.crypto import CURVE_NAMES, PrivateKey, add_months, dump_key, dump_public_key
from sandbox.vault.errors import bad_parameter, invalid_policy, invalid_property
from sandbox.vault.model import Certificate, Version
from sandbox.vault.names import format_name
from sandbox.vault.pkcs import (
    decode_base64,
    der,
    order_chain,
    public_key,
    read_pem,
    read_pfx,
    unexpected_pem,
    unreadable_pfx,
)
from sandbox.vault.policy import PEM, PFX, RSA_SIZES, Policy, default_action, validated

_MAX_PASSWORD = 200
_MAX_VALUE = 64 * 1024
_USAGES = {
    "digital_signature": "digitalSignature",
    "non_repudiation": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
    "encipher_only": "encipherOnly",
    "decipher_only": "decipherOnly",
}


@dataclass(frozen=True)
class Import:
    """A checked import: the key, the chain with the leaf first, and every certificate in the file's order."""

    key: PrivateKey
    chain: Sequence[x509.Certificate]
    file_order: Sequence[x509.Certificate]
    policy: Policy
    tags: dict[str, str] | None
    enabled: bool
    preserve_cert_order: bool | None


def read_import(call: Call) -> Import:
    """Read and check the request's body. Raises 400."""
    tags, enabled, preserve = call.tags(), call.enabled(), call.flag("preserveCertOrder")
    sent = call.read_policy(call.body.get("policy") or {})
    value, password = call.text("value"), call.text("pwd")
    if not value:
        raise invalid_property("value")
    if len(value) > _MAX_VALUE:
        raise bad_parameter("The size of the X.509 certificate is too long")
    if password and len(password) > _MAX_PASSWORD:
        raise bad_parameter("Property pwd has invalid value char length is too long\r\n")
    content_type = sent.get("secret_props", {}).get("contentType", PFX)
    key, certificates = _read_file(value, password, content_type)
    leaf = next((item for item in certificates if public_key(item) == dump_public_key(key.public_key())), None)
    if leaf is None:
        raise unexpected_pem() if content_type == PEM else unreadable_pfx()
    if leaf.not_valid_after_utc.timestamp() <= call.vault.clock.now():
        raise bad_parameter("X509 Certificate is already expired")
    chain = [leaf, *(item for item in certificates if item != leaf)] if preserve else order_chain(leaf, certificates)
    policy = derived_policy(leaf, key, sent, call.vault.now())
    lifecycle.canonical_issuer(call.vault, policy)
    return Import(key, chain, certificates, policy, tags, enabled is not False, preserve)


def _read_file(value: str, password: str | None, content_type: str) -> tuple[PrivateKey, list[x509.Certificate]]:
    if content_type == PEM:
        data = value.encode() if "-----BEGIN" in value else _decoded(value)
        if data is None:
            raise unexpected_pem()
        return read_pem(data, password)
    if content_type != PFX:
        raise invalid_policy("policy.secret_props.contentType")
    data = _decoded(value)
    if data is None:
        raise unreadable_pfx()
    return read_pfx(data, password)


def _decoded(value: str) -> bytes | None:
    try:
        return decode_base64(value)
    except ValueError:
        return None


def derived_policy(leaf: x509.Certificate, key: PrivateKey, sent: Policy, now: int) -> Policy:
    """The policy of an imported certificate: contents from the certificate, the rest from the request. Raises 400."""
    parsed = asn1.Certificate.load(der(leaf))
    issuer = sent.get("issuer", {})
    issuer_name = issuer.get("name", "Unknown")
    try:
        x509_props = _x509_props(leaf, parsed)
    except Exception:
        raise _invalid_certificate() from None
    policy: Policy = {
        "key_props": _key_props(key, sent.get("key_props", {})),
        "secret_props": {"contentType": sent.get("secret_props", {}).get("contentType", PFX)},
        "x509_props": x509_props,
        "lifetime_actions": sent.get("lifetime_actions") or [default_action(issuer_name)],
        "issuer": {**issuer, "name": issuer_name},
        "attributes": {"enabled": sent.get("attributes", {}).get("enabled", True), "created": now, "updated": now},
    }
    # The subject and the names of an existing certificate are never refused.
    names = {"subject": "CN=imported", "sans": {}}
    checked = validated({**policy, "x509_props": {**x509_props, **names}})
    policy["x509_props"]["key_usage"] = checked["x509_props"]["key_usage"]
    return policy


def _invalid_certificate() -> Exception:
    return bad_parameter(
        "The specified X.509 certificate content is invalid. Error: One or more X.509 properties are invalid."
    )


def _key_props(key: PrivateKey, sent: Policy) -> Policy:
    kind = "EC" if hasattr(key, "curve") else "RSA"
    kty = sent.get("kty", kind).upper()
    # What has no place outside an HSM is not exportable: `validated` refuses it.
    reuse, exportable = sent.get("reuse_key", False), sent.get("exportable", not kty.endswith("-HSM"))
    if kty.removesuffix("-HSM") != kind:
        sizes = "256, 384, 521" if kind == "RSA" else ", ".join(map(str, RSA_SIZES))
        raise bad_parameter(
            f"Unsupported key size ({key.key_size}). Supported sizes are [{sizes}]", "KeySizeNotSupported"
        )
    if hasattr(key, "curve"):
        curve = CURVE_NAMES.get(key.curve.name)
        if curve is None:
            raise bad_parameter(
                f"Unsupported key size ({key.key_size}). Supported sizes are [256, 384, 521]", "KeySizeNotSupported"
            )
        return {"exportable": exportable, "kty": kty, "key_size": key.key_size, "reuse_key": reuse, "crv": curve}
    if key.key_size not in RSA_SIZES:
        sizes = ", ".join(map(str, RSA_SIZES))
        raise bad_parameter(
            f"Unsupported key size ({key.key_size}). Supported sizes are [{sizes}]", "KeySizeNotSupported"
        )
    return {"exportable": exportable, "kty": kty, "key_size": key.key_size, "reuse_key": reuse}


def _x509_props(leaf: x509.Certificate, parsed: Any) -> Policy:
    usage, extended = parsed.key_usage_value, parsed.extended_key_usage_value
    props: Policy = {"subject": format_name(leaf.subject)}
    if parsed.subject_alt_name_value is not None:
        props["sans"] = _alternative_names(parsed.subject_alt_name_value)
    return props | {
        "ekus": [item.dotted for item in extended] if extended else [],
        "key_usage": sorted((_USAGES[name] for name in usage.native), key=str.lower) if usage else [],
        "validity_months": _months(leaf.not_valid_before_utc, leaf.not_valid_after_utc),
        "basic_constraints": {"ca": bool(parsed.ca)},
    }


def _months(begin: datetime.datetime, end: datetime.datetime) -> int:
    """The calendar months of a lifetime, rounded up, 1 to 1200."""
    months = (end.year - begin.year) * 12 + end.month - begin.month
    if add_months(begin, months) < end:
        months += 1
    return min(max(months, 1), 1200)


def _alternative_names(names: Any) -> dict[str, list[str]]:
    """All five arrays, also the empty ones. International names keep the form of the certificate (A-labels)."""
    found: dict[str, list[str]] = {"emails": [], "dns_names": [], "upns": [], "uris": [], "ipAddresses": []}
    kinds = {
        "rfc822_name": "emails",
        "dns_name": "dns_names",
        "uniform_resource_identifier": "uris",
    }
    for name in names:
        if name.name == "ip_address":
            found["ipAddresses"].append(str(name.native))
        elif name.name in kinds:  # `native` would turn A-labels into Unicode
            found[kinds[name.name]].append(name.chosen.contents.decode("ascii"))
        elif name.name == "other_name" and name.chosen["type_id"].dotted == "1.3.6.1.4.1.311.20.2.3":
            found["upns"].append(str(name.chosen["value"].native))
    return found


def stored(call: Call, incoming: Import, existing: Certificate | None) -> Certificate:
    """Save the import as the newest version, without a pending operation."""
    now, leaf = call.vault.now(), incoming.chain[0]
    version = Version(
        id=uuid.uuid4().hex,
        created=now,
        updated=now,
        not_before=int(leaf.not_valid_before_utc.timestamp()),
        expires=int(leaf.not_valid_after_utc.timestamp()),
        key=dump_key(incoming.key),
        enabled=incoming.enabled,
        certificate=der(leaf),
        chain=tuple(der(item) for item in incoming.chain[1:]),
        file_order=tuple(der(item) for item in incoming.file_order),
        imported=True,
        tags=incoming.tags,
        content_type=incoming.policy["secret_props"]["contentType"],
        exportable=incoming.policy["key_props"]["exportable"],
        hsm=incoming.policy["key_props"]["kty"].endswith("-HSM"),
        key_usage=tuple(incoming.policy["x509_props"]["key_usage"]),
        preserve_cert_order=incoming.preserve_cert_order,
    )
    if existing is None:
        certificate = Certificate(call.name, incoming.policy, (version,))
    else:
        policy = dict(incoming.policy)
        policy["attributes"] = policy["attributes"] | {"created": existing.policy["attributes"]["created"]}
        versions = (*existing.versions, version)
        certificate = replace(existing, policy=policy, versions=versions, pending=None)
    return call.vault.save(certificate, [events.event(call.vault, events.NEW_VERSION, certificate, version)])
