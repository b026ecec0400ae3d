"""Render operations and certificates as the JSON of responses."""

import base64
import ssl
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote

from certrelay.access import grants
from certrelay.callers import Caller
from certrelay.keyvault.certificate import version_of
from certrelay.notifications.outbox import fallback_of
from certrelay.pki.description import what_it_says
from certrelay.renewal import endpoints
from certrelay.services import Services
from certrelay.storage.endpoint_record import EndpointRecord
from certrelay.storage.operation import Operation, State
from certrelay.storage.owners import Owner, OwnerChange
from handlers.routes import Route

_DETAILS = {
    State.REQUESTED: "requested; nothing is in Key Vault yet",
    State.PENDING: "Key Vault has created the key and the CSR; the CSR is submitted to the authority next",
    State.SUBMITTED: "the authority has the order; its certificate is not issued yet",
    State.ISSUED: "the authority has issued the certificate; it is verified, and is merged next",
    State.COMPLETED: "the new version is in Key Vault",
    State.FAILED: "failed; see error",
    State.CANCELED: "canceled; no new version was created",
}
# What is added for an operation that a fall-back has been asked for: who it is, whose, and why.
_ASKED, _SIGNED = "{} is asked, a fall-back of {}: {}", "signed by {}, a fall-back of {}: {}"
CANCELING = "cancellation is requested; it takes effect unless the certificate is merged first"
_STATUS = {State.COMPLETED: "completed", State.FAILED: "failed", State.CANCELED: "canceled"}


def certificate_path(vault: str, name: str) -> str:
    """The URL path of a certificate."""
    return f"/api/vaults/{quote(vault)}/certificates/{quote(name)}"


def operation_json(operation: Operation, owner: Owner | None = None) -> dict[str, Any]:
    """An operation, with the field names of Key Vault's CertificateOperation where it has them.

    `owner`: of the certificate, if that is to be shown."""
    failure = operation.failure
    error = {"code": failure.code, "message": failure.message} if failure else None
    ended = operation.state.ended
    rendered: dict[str, Any] = {
        "id": operation.id,
        "vault": operation.vault,
        "name": operation.name,
        "kind": operation.kind,
        "status": _STATUS.get(operation.state, "inProgress"),
        "step": operation.state,
        "status_details": _details(operation),
        "issuer": {"name": operation.request.issuer},
        "authority": operation.authority,
        "fallback": fallback_of(operation),
        "cancellation_requested": operation.cancel_requested,
        "request_id": operation.request_id or None,
        "requested_by": operation.requested_by,
        "requested_by_name": operation.requested_by_name or None,
        **(owner_json(owner) if owner else {}),
        "reason": operation.reason or None,
        "requested_at": operation.requested_at.isoformat(),
        "ended_at": operation.ended_at.isoformat() if operation.ended_at else None,
        "deadline": None if ended else operation.deadline.isoformat(),
        "next_attempt_at": None if ended else operation.next_attempt_at.isoformat(),
        "error" if ended else "last_error": error,
        "transitions": [
            {"step": entry.state, "at": entry.at.isoformat(), "detail": entry.detail or None}
            for entry in operation.transitions
        ],
    }
    if operation.cancel_requested and not ended:
        rendered["status_details"] = CANCELING
    if operation.version:
        rendered["target"] = f"{certificate_path(operation.vault, operation.name)}/{operation.version}"
    return {key: value for key, value in rendered.items() if value is not None}


def _details(operation: Operation) -> str:
    found = operation.fallback
    if found is None:
        return _DETAILS[operation.state]
    text = _SIGNED if operation.state in (State.ISSUED, State.COMPLETED) else _ASKED
    return f"{_DETAILS[operation.state]}; {text.format(found.authority, operation.request.authority, found.why)}"


def certificate_json(vault: str, name: str, bundle: dict[str, Any]) -> dict[str, Any]:
    """A CertificateBundle without the fields for Key Vault's own clients, and the contents of the certificate."""
    version = version_of(bundle)
    kept: dict[str, Any] = {
        key: bundle[key] for key in ("id", "x5t", "cer", "attributes", "tags", "policy") if key in bundle
    }
    contents: dict[str, Any] = {}
    with suppress(ValueError, TypeError):  # no base64
        contents = what_it_says(base64.b64decode(bundle["cer"])) if bundle.get("cer") else {}
    return {"name": name, "vault": vault, "version": version, **kept, **contents}


def owner_json(owner: Owner | None) -> dict[str, str | None]:
    """Who owns it, with the name if that is known."""
    if owner is None:
        return {"owner": None}
    return {"owner": owner.id, **({"owner_name": owner.name} if owner.name else {})}


def owner_change_json(change: OwnerChange) -> dict[str, str]:
    """Who became the owner when, and because of what somebody did."""
    said = {"owner": change.owner, "since": change.at.isoformat(), "by": change.by, "why": change.why}
    names = {"owner_name": change.owner_name, "by_name": change.by_name}
    return said | {key: name for key, name in names.items() if name}


def me_json(acting: Services, caller: Caller, routes: Sequence[Route]) -> dict[str, Any]:
    """The caller: who it is, its grants, and for each vault its highest role and the routes that it opens there."""
    limits = ("vaults", "authorities", "certificates", "subjects")
    given = [{"role": grant.role, **{kind: list(getattr(grant, kind)) or ["all"] for kind in limits}}
             for grant in caller.grants]  # fmt: skip
    in_vault = [route for route in routes if "{vault}" in route.path and route.role is not None]
    vaults = [
        {"name": alias, "role": role.title, "routes": [
            route.name for route in in_vault if route.role and grants.may(acting, route.role, alias)
        ]}
        for alias in acting.settings.vaults
        if (role := grants.highest_role(caller, alias)) is not None
    ]  # fmt: skip
    return {
        "name": caller.name,
        "display_name": caller.display_name,
        "ids": list(caller.ids),
        "role": caller.role.title if caller.role else None,
        "groups": sorted(caller.groups),
        "groups_left_out": caller.groups_left_out,
        "decided_by": "grants" if caller.by_grants else "role",
        "grants": given,
        "vaults": vaults,
    }


def endpoint_json(acting: Services, record: EndpointRecord) -> dict[str, Any]:
    """What was seen where a certificate is served."""
    served = {
        "thumbprint": record.served,
        "not_before": _iso(record.served_from),
        "expires": _iso(record.served_until),
        "earlier_version": record.is_earlier,
    }
    rendered = {
        "address": record.endpoint,
        "state": endpoints.state(acting.settings, record, acting.now()),
        "newest_since": _iso(record.since),
        "deploy_until": _iso(endpoints.due(record)),
        "looked_at": _iso(record.looked_at),
        "served": served if record.served else None,
        "error": record.error or None,
        "unreachable_since": _iso(record.failing_since),
    }
    return {key: value for key, value in rendered.items() if value is not None}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def csr_pem(der: bytes) -> bytes:
    """A CSR (DER) as PEM."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(["-----BEGIN CERTIFICATE REQUEST-----", *lines, "-----END CERTIFICATE REQUEST-----", ""]).encode()


def certificates_pem(chain: tuple[bytes, ...]) -> list[str]:
    """Certificates (DER) as PEM texts, one for each."""
    return [ssl.DER_cert_to_PEM_cert(der) for der in chain]
