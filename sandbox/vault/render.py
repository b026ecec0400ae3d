"""The JSON of the REST API: bundles, list items and operations, with the members and omissions of the service."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import bad_parameter
from sandbox.vault.model import Certificate, Operation, Version
from sandbox.vault.pkcs import thumbprint

Json = dict[str, Any]


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def certificate_url(call: Call, certificate: Certificate, *rest: str) -> str:
    return "/".join([f"{call.base}/certificates/{certificate.name}", *rest])


def recovery(call: Call) -> Json:
    """`recoveryLevel` and, since API version 7.1, `recoverableDays`."""
    settings = call.vault.settings
    level = "Recoverable" if settings.retention_days == 90 else "CustomizedRecoverable"
    suffix = "" if settings.purge_protection else "+Purgeable"
    days = {"recoverableDays": settings.retention_days} if call.speaks("7.1") else {}
    return {"recoveryLevel": level + suffix, **days}


def tags(version: Version) -> Json:
    """`tags` if the version ever had any, even if they are empty now."""
    return {} if version.tags is None else {"tags": dict(version.tags)}


def attributes(version: Version) -> Json:
    """The version's own attributes, without the vault's recovery level."""
    return {
        "enabled": version.enabled,
        "nbf": version.not_before,
        "exp": version.expires,
        "created": version.created,
        "updated": version.updated,
    }


def version_bundle(call: Call, certificate: Certificate, version: Version) -> Json:
    """CertificateBundle of one version: no policy, no pending."""
    bundle: Json = {"id": certificate_url(call, certificate, version.id)}
    if version.certificate:
        bundle |= {
            "kid": f"{call.base}/keys/{certificate.name}/{version.id}",
            "sid": f"{call.base}/secrets/{certificate.name}/{version.id}",
            "x5t": base64url(thumbprint(version.certificate)),
            "cer": base64.b64encode(version.certificate).decode(),
        }
    bundle |= {"attributes": attributes(version) | recovery(call), **tags(version)}
    if version.preserve_cert_order is not None:
        bundle["preserveCertOrder"] = version.preserve_cert_order
    return bundle


def bundle(call: Call, certificate: Certificate) -> Json:
    """CertificateBundle of the current version, with policy and, where there is one, pending."""
    result = version_bundle(call, certificate, certificate.current)
    result["policy"] = policy(call, certificate)
    if certificate.pending:
        result["pending"] = {"id": certificate_url(call, certificate, "pending")}
    return result


def policy(call: Call, certificate: Certificate) -> Json:
    return {"id": certificate_url(call, certificate, "policy"), **call.known_names(dict(certificate.policy))}


def deleted_bundle(call: Call, certificate: Certificate) -> Json:
    """DeletedCertificateBundle."""
    return deleted_members(call, certificate) | bundle(call, certificate)


def deleted_members(call: Call, certificate: Certificate) -> Json:
    """`recoveryId`, `deletedDate`, `scheduledPurgeDate`."""
    assert certificate.deletion
    return {
        "recoveryId": f"{call.base}/deletedcertificates/{certificate.name}",
        "deletedDate": certificate.deletion.deleted,
        "scheduledPurgeDate": certificate.deletion.scheduled_purge,
    }


def item(call: Call, certificate: Certificate, version: Version, *, versioned: bool) -> Json:
    """CertificateItem without `subject`; its id has a version only in the list of versions."""
    result: Json = {"id": certificate_url(call, certificate, *([version.id] if versioned else []))}
    if version.certificate:
        result["x5t"] = base64url(thumbprint(version.certificate))
    return result | {"attributes": attributes(version)} | tags(version)


def live_item(call: Call, certificate: Certificate, version: Version, *, versioned: bool) -> Json:
    """CertificateItem of a certificate that is not deleted. The service leaves `subject` empty."""
    return item(call, certificate, version, versioned=versioned) | {"subject": ""}


def deleted_item(call: Call, certificate: Certificate) -> Json:
    """DeletedCertificateItem."""
    result = deleted_members(call, certificate) | item(call, certificate, certificate.current, versioned=False)
    result["attributes"] |= recovery(call)
    return result


def operation(call: Call, certificate: Certificate, pending: Operation) -> Json:
    """CertificateOperation, its members in the service's order."""
    result: Json = {
        "id": certificate_url(call, certificate, "pending"),
        "issuer": {"name": pending.issuer},
        "csr": base64.b64encode(pending.csr).decode(),
        "cancellation_requested": pending.cancellation_requested,
        "status": pending.status,
    }
    if pending.status_details:
        result["status_details"] = pending.status_details
    if pending.error:
        result["error"] = dict(pending.error)
    if pending.preserve_cert_order:
        result["preserveCertOrder"] = True
    if pending.status == "completed":
        result["target"] = certificate_url(call, certificate)
    return result | {"request_id": pending.request_id}


def page[T](
    call: Call,
    path: str,
    fetch: Callable[[str, int], Sequence[tuple[str, T]]],
    render: Callable[[T], Mapping[str, Any]],
) -> Answer:
    """One page of a list, and the link to the next. `fetch(after, count)` returns sorted keys and values."""
    size = call.page_size()
    found = fetch(_position(call), size + 1)
    next_link = None
    if len(found) > size:
        token = base64.b64encode(found[size - 1][0].encode()).decode()
        query = {"api-version": call.api_version, "$skiptoken": token, "maxresults": str(size)}
        if "includepending" in call.query:
            query["includePending"] = call.query["includepending"]
        next_link = f"{call.base}{quote(path)}?{urlencode(query, safe='$')}"
    return Answer({"value": [render(value) for _, value in found[:size]], "nextLink": next_link})


def _position(call: Call) -> str:
    token = call.query.get("$skiptoken", "")
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        raise bad_parameter("Invalid $skiptoken.") from None
