"""Keys that belong to no certificate: create, get, list versions, update, sign.

A key is a document of the vault: its name as first written, and its versions, oldest first.
"""

import base64
import uuid
from typing import Any

from sandbox.vault import keys
from sandbox.vault.call import Answer, Call
from sandbox.vault.crypto import CURVE_NAMES, dump_key, load_key
from sandbox.vault.errors import bad_parameter, forbidden, invalid_property, not_found
from sandbox.vault.render import page, recovery

Json = dict[str, Any]
KIND = "key"
OPERATIONS = ("sign", "verify", "wrapKey", "unwrapKey", "encrypt", "decrypt")


def create(call: Call) -> Answer:
    """CreateKey: a new key, or a new version of one."""
    if call.free_name("Key"):
        return keys.managed(call)
    made = call.vault.keys.take(_properties(call))
    version: Json = {
        "id": uuid.uuid4().hex,
        "key": base64.b64encode(dump_key(made)).decode(),
        "kty": call.text("kty"),
        "key_ops": _operations(call),
        "enabled": call.enabled() is not False,
        "created": call.vault.now(),
        "updated": call.vault.now(),
        "tags": call.tags(),
    }
    with call.vault.lock:
        if call.free_name("Key"):  # a certificate came first, while the key was made
            return keys.managed(call)
        known = _document(call) or {"name": call.name, "versions": []}
        call.vault.put_document(KIND, call.name.lower(), {**known, "versions": [*known["versions"], version]})
    return Answer(_bundle(call, known["name"], version))


def get(call: Call) -> Answer:
    """GetKey, of a certificate or standalone."""
    known = _document(call)
    if known is None:
        return keys.get(call)
    return Answer(_bundle(call, known["name"], _usable(call, known)))


def list_versions(call: Call) -> Answer:
    """GetKeyVersions, ordered by id."""
    known = _document(call)
    if known is None:
        return keys.list_versions(call)
    versions = sorted((version["id"], version) for version in known["versions"])

    def fetch(after: str, count: int) -> list[tuple[str, Json]]:
        return [pair for pair in versions if pair[0] > after][:count]

    return page(call, f"/keys/{known['name']}/versions", fetch, lambda version: _item(call, known["name"], version))


def update(call: Call) -> Answer:
    """UpdateKey: `attributes.enabled`, `key_ops` and `tags` of one version."""
    with call.vault.lock:
        known = _document(call)
        if known is None:
            return keys.managed(call)
        found = _version(call, known)
        enabled, tags = call.enabled(), call.tags()
        changed = {**found, "updated": call.vault.now()}
        changed |= {} if enabled is None else {"enabled": enabled}
        changed |= {} if tags is None else {"tags": tags}
        changed |= {"key_ops": _operations(call)} if "key_ops" in call.body else {}
        versions = [changed if version is found else version for version in known["versions"]]
        call.vault.put_document(KIND, call.name.lower(), {**known, "versions": versions})
    return Answer(_bundle(call, known["name"], changed))


def sign(call: Call) -> Answer:
    """Sign with the key of a certificate or a standalone key."""
    known = _document(call)
    if known is None:
        return keys.sign(call)
    version = _usable(call, known)
    signature = keys.signed(call, load_key(base64.b64decode(version["key"])), version["key_ops"])
    return Answer({"kid": f"{call.base}/keys/{known['name']}/{version['id']}", "value": signature})


def _document(call: Call) -> Json | None:
    found: Json | None = call.vault.document(KIND, call.name.lower())
    return found


def _version(call: Call, known: Json) -> Json:
    identifier = call.params.get("version") or known["versions"][-1]["id"]
    found: Json | None = next((version for version in known["versions"] if version["id"] == identifier), None)
    if found is None:
        raise not_found("Key", call.name, identifier)
    return found


def _usable(call: Call, known: Json) -> Json:
    version = _version(call, known)
    if not version["enabled"]:
        raise forbidden("Operation get is not allowed on a disabled key.", "KeyDisabled")
    return version


def _properties(call: Call) -> Json:
    kty, curve, size = call.text("kty"), call.text("crv"), call.body.get("key_size", 2048)
    if kty in ("EC", "EC-HSM") and (curve or "P-256") in CURVE_NAMES.values():
        return {"kty": kty, "crv": curve or "P-256"}
    if kty in ("RSA", "RSA-HSM") and size in (2048, 3072, 4096):
        return {"kty": kty, "key_size": size}
    raise bad_parameter("Property kty, crv or key_size has invalid value")


def _operations(call: Call) -> list[str]:
    wanted = call.body.get("key_ops")
    if wanted is None:
        return ["sign", "verify"] if str(call.body.get("kty", "")).startswith("EC") else list(OPERATIONS)
    if not isinstance(wanted, list) or not all(operation in OPERATIONS for operation in wanted):
        raise invalid_property("key_ops")
    return wanted


def _attributes(call: Call, version: Json) -> Json:
    shown = {key: version[key] for key in ("enabled", "created", "updated")}
    return shown | recovery(call) | {"exportable": False, "hsmPlatform": "0"}


def _item(call: Call, name: str, version: Json) -> Json:
    tags = {} if version["tags"] is None else {"tags": version["tags"]}
    return {"kid": f"{call.base}/keys/{name}/{version['id']}", "attributes": _attributes(call, version), **tags}


def _bundle(call: Call, name: str, version: Json) -> Json:
    public = keys.public(load_key(base64.b64decode(version["key"])))
    shown = {**public, "kid": f"{call.base}/keys/{name}/{version['id']}", "kty": version["kty"]}
    tags = {} if version["tags"] is None else {"tags": version["tags"]}
    return {"key": {**shown, "key_ops": version["key_ops"]}, "attributes": _attributes(call, version), **tags}
