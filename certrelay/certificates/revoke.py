"""Revocation: the authority is told; what Key Vault holds is switched off or replaced."""

import base64
from typing import Any

from certrelay.certificates import read
from certrelay.connectors.base import ConnectorError, RevocationReason, Revokes
from certrelay.errors import Conflict, NotReady
from certrelay.keyvault.client import version_of
from certrelay.keyvault.tags import authority_of
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.services import Services
from certrelay.storage.operation import Operation

type Json = dict[str, Any]


def revoke(
    services: Services,
    vault: str,
    name: str,
    *,
    version: str,
    reason: RevocationReason,
    replace: bool,
    requested_by: str,
    idempotency_key: str | None = None,
) -> tuple[Json, Operation | None]:
    """Have a version (default: the newest) revoked by its authority, with a reason of RFC 5280, section 5.3.1.

    With `replace` a renewal is opened first, so that the name is not without a certificate; without it the version is
    disabled. Doing it twice with the version named is no error and renews once.
    Raises NotFound, Conflict (the authority cannot), NotReady."""
    newest = read.bundle(services, vault, name)
    found = read.bundle(services, vault, name, version) if version else newest
    authority = authority_of(newest.get("tags") or {})
    if authority is None:
        raise Conflict(f"{name} is not managed by CertRelay: its authority is unknown", "NotManaged")
    services.authority(authority)
    connector = services.connector(authority)
    if not isinstance(connector, Revokes):
        raise Conflict(f"authority {authority} cannot revoke", "CannotRevoke")
    operation = None
    if replace and (idempotency_key or version == version_of(newest)):
        operation = renew.renew(
            services,
            vault,
            name,
            Origin(requested_by=requested_by, reason=f"revoked: {reason}", idempotency_key=idempotency_key),
        )
    try:
        connector.revoke(base64.b64decode(found["cer"]), reason)
    except ConnectorError as error:
        raise Conflict(f"authority {authority} did not revoke it: {error}", "RevocationRefused") from error
    except Exception as error:
        raise NotReady(f"authority {authority} could not be asked ({type(error).__name__})", 30) from error
    if not replace:
        which = found["id"].rstrip("/").rsplit("/", 1)[-1]
        found = services.vault(vault).call("PATCH", f"/certificates/{name}/{which}", {"attributes": {"enabled": False}})
    return found, operation
