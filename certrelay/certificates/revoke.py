"""Revocation: the authority is told; what Key Vault holds is switched off or replaced."""

import base64
from dataclasses import dataclass, replace
from typing import Any

from certrelay.certificates import read
from certrelay.connectors.base import ConnectorError, RevocationReason, Revokes
from certrelay.errors import Conflict, Fault, Invalid, NotReady
from certrelay.keyvault.client import version_of
from certrelay.keyvault.tags import authority_of
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.services import Services
from certrelay.storage.operation import Operation

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Revocation:
    """`version`: empty for the newest. `reason`: of RFC 5280, section 5.3.1. `replace`: renew the certificate, too."""

    version: str = ""
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    replace: bool = False


def revoke(
    services: Services, vault: str, name: str, revocation: Revocation, origin: Origin
) -> tuple[Json, Operation | None]:
    """Have a version revoked by its authority. Returns its CertificateBundle, and the renewal if there is one.

    To replace it a renewal is opened first, so that the name is not without a certificate; else the version is
    disabled. Repeated with the version named it is no error and renews once.
    Raises Invalid, NotFound, Conflict (the authority cannot), NotReady."""
    if not revocation.version and (revocation.replace or origin.idempotency_key is not None):
        # When the request is repeated the newest version may be the replacement.
        raise Invalid([Fault("/version", "name the version, so that a repeat does not revoke its replacement")])
    newest = read.bundle(services, vault, name)
    found = read.bundle(services, vault, name, revocation.version) if revocation.version else newest
    authority = authority_of(newest.get("tags") or {})
    if authority is None:
        raise Conflict(f"{name} is not managed by CertRelay: its authority is unknown", "NotManaged")
    services.authority(authority)
    connector = services.connector(authority)
    if not isinstance(connector, Revokes):
        raise Conflict(f"authority {authority} cannot revoke", "CannotRevoke")
    operation = None
    if revocation.replace and (origin.idempotency_key or revocation.version == version_of(newest)):
        operation = renew.renew(services, vault, name, replace(origin, reason=f"revoked: {revocation.reason}"))
    try:
        connector.revoke(base64.b64decode(found["cer"]), revocation.reason)
    except ConnectorError as error:
        raise Conflict(f"authority {authority} did not revoke it: {error}", "RevocationRefused") from error
    except Exception as error:
        raise NotReady(f"authority {authority} could not be asked ({type(error).__name__})", 30) from error
    if not revocation.replace:
        path = f"/certificates/{name}/{version_of(found)}"
        found = services.vault(vault).call("PATCH", path, {"attributes": {"enabled": False}})
    return found, operation
