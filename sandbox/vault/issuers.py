"""Issuer resources and certificate contacts."""

from typing import Any

from sandbox.vault import render
from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import KeyVaultError, bad_parameter, invalid_property

Json = dict[str, Any]

_ADMIN_MEMBERS = ("first_name", "last_name", "email", "phone")
_RESERVED = ("self", "unknown")


def _text(value: object, path: str) -> str | None:
    if not isinstance(value, str | None):
        raise invalid_property(path)
    return value


def _object(value: object, path: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_property(path)
    return value


def _array(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid_property(path)
    return value


def _members(raw: object, names: tuple[str, ...], path: str) -> Json:
    """The text members of these names that were sent."""
    found = _object(raw, path)
    return {name: _text(found[name], f"{path}.{name}") for name in names if found.get(name) is not None}


# -- issuers --------------------------------------------------------------------------------------------------------


def _key(call: Call) -> str:
    return call.params["issuer"].lower()


def _issuer(call: Call) -> Json:
    found = call.vault.document("issuer", _key(call))
    if found is None:
        raise KeyVaultError(404, "CertificateIssuerNotFound", "Issuer not found")
    issuer: Json = found
    return issuer


def _organization(details: Json) -> Json:
    organization = _members(details, ("id",), "org_details")
    if details.get("admin_details") is not None:
        contacts = _array(details["admin_details"], "org_details.admin_details")
        members = [_members(contact, _ADMIN_MEMBERS, "org_details.admin_details") for contact in contacts]
        organization["admin_details"] = members
    # The service adds `zip` to every organization, though nothing sets it.
    return {"zip": 0, **organization}


def _sent(call: Call) -> Json:
    """`credentials` and `org_details`, each if the request has it, also when it is empty. Raises 400."""
    sent: Json = {}
    if call.body.get("credentials") is not None:
        sent["credentials"] = _members(call.body["credentials"], ("account_id", "pwd"), "credentials")
    if call.body.get("org_details") is not None:
        sent["org_details"] = _organization(_object(call.body["org_details"], "org_details"))
    return sent


def _shown(call: Call, issuer: Json) -> Json:
    """IssuerBundle; the password never comes back."""
    result: Json = {"id": f"{call.base}/certificates/issuers/{issuer['name']}", "provider": issuer["provider"]}
    if "credentials" in issuer:
        result["credentials"] = {key: value for key, value in issuer["credentials"].items() if key != "pwd"}
    if "org_details" in issuer:
        result["org_details"] = issuer["org_details"]
    return result | {"attributes": issuer["attributes"]}


def _check(issuer: Json) -> Json:
    if not issuer["provider"]:
        raise invalid_property("provider")
    if issuer["provider"].lower() == "digicert" and not issuer.get("org_details", {}).get("id"):
        raise bad_parameter("Id in organization details is not set")
    return issuer


def set_issuer(call: Call) -> Answer:
    """SetCertificateIssuer; replaces what was there."""
    if _key(call) in _RESERVED:
        raise bad_parameter(f"The issuer name {call.params['issuer']} is reserved.")
    now = call.vault.now()
    enabled = call.enabled()
    issuer = _check(
        {
            "name": call.params["issuer"],
            "provider": call.text("provider") or "",
            "attributes": {"enabled": enabled is not False, "created": now, "updated": now},
            **_sent(call),
        }
    )
    call.vault.put_document("issuer", _key(call), issuer)
    return Answer(_shown(call, issuer))


def update_issuer(call: Call) -> Answer:
    """UpdateCertificateIssuer; changes only what is sent."""
    enabled, provider = call.enabled(), call.text("provider")
    sent = _sent(call)
    with call.vault.lock:
        issuer = _issuer(call)
        attributes = issuer["attributes"]
        issuer = _check(
            {
                **issuer,
                "provider": provider or issuer["provider"],
                **{member: issuer.get(member, {}) | changes for member, changes in sent.items()},
                "attributes": {
                    **attributes,
                    "enabled": attributes["enabled"] if enabled is None else enabled,
                    "updated": max(call.vault.now(), attributes["updated"] + 1),
                },
            }
        )
        call.vault.put_document("issuer", _key(call), issuer)
    return Answer(_shown(call, issuer))


def get_issuer(call: Call) -> Answer:
    """GetCertificateIssuer."""
    return Answer(_shown(call, _issuer(call)))


def delete_issuer(call: Call) -> Answer:
    """DeleteCertificateIssuer."""
    with call.vault.lock:
        issuer = _issuer(call)
        call.vault.put_document("issuer", _key(call), None)
    return Answer(_shown(call, issuer))


def list_issuers(call: Call) -> Answer:
    """GetCertificateIssuers."""

    def fetch(after: str, count: int) -> list[tuple[str, Json]]:
        return [pair for pair in call.vault.documents("issuer") if pair[0] > after][:count]

    def item(issuer: Json) -> Json:
        return {"id": f"{call.base}/certificates/issuers/{issuer['name']}", "provider": issuer["provider"]}

    return render.page(call, "/certificates/issuers", fetch, item)


# -- contacts -------------------------------------------------------------------------------------------------------


def _contacts(call: Call) -> Json:
    found = call.vault.document("contacts")
    if found is None:
        raise KeyVaultError(404, "ContactsNotFound", "Contacts not found")
    return {"id": f"{call.base}/certificates/contacts", **found}


def set_contacts(call: Call) -> Answer:
    """SetCertificateContacts; replaces all."""
    raw = _array(call.body.get("contacts"), "contacts")
    contacts = [_members(contact, ("email", "name", "phone"), "contacts") for contact in raw]
    if not contacts or not all(contact.get("email") for contact in contacts):
        raise invalid_property("contacts")
    call.vault.put_document("contacts", "", {"contacts": contacts})
    return Answer(_contacts(call))


def get_contacts(call: Call) -> Answer:
    """GetCertificateContacts."""
    return Answer(_contacts(call))


def delete_contacts(call: Call) -> Answer:
    """DeleteCertificateContacts."""
    with call.vault.lock:
        contacts = _contacts(call)
        call.vault.put_document("contacts", "", None)
    return Answer(contacts)
