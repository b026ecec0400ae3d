"""Revoke a version of a certificate: at its authority, and in Key Vault, where it is replaced or disabled."""

import base64
from dataclasses import dataclass, replace
from typing import Any

from certrelay.certificates import read
from certrelay.connectors.base import ConnectorError, RevocationReason, Revokes
from certrelay.errors import Conflict, Fault, Invalid, NotReady
from certrelay.keyvault.certificate import version_of
from certrelay.keyvault.tags import authority_of
from certrelay.operations import find
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.services import Services
from certrelay.storage.operation import Operation

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Revocation:
    """`version`: of Key Vault; empty for the newest. `reason`: RFC 5280, section 5.3.1. `replace`: renew it, too."""

    version: str = ""
    reason: RevocationReason = RevocationReason.UNSPECIFIED
    replace: bool = False


def revoke(
    services: Services, vault: str, name: str, revocation: Revocation, origin: Origin
) -> tuple[Json, Operation | None]:
    """Revoke a version at the authority that signed it. Returns its CertificateBundle, and the renewal with `replace`.

    With `replace`, the renewal is opened first, so that a failure leaves no revoked certificate without a replacement;
    without it, the version is disabled. A repeat with the same version is no error, and renews once.
    Raises Invalid, NotFound, Conflict (`NotManaged`, `CannotRevoke`, `RevocationRefused`), NameBusy, NotReady."""
    if not revocation.version and (revocation.replace or origin.idempotency_key is not None):
        # When the request is repeated, the newest version may be the replacement.
        raise Invalid([Fault("/version", "is required here, so that a repeat does not revoke the replacement")])
    newest = read.bundle(services, vault, name)
    revoked = read.bundle(services, vault, name, revocation.version) if revocation.version else newest
    managed = authority_of(newest.get("tags") or {})
    if managed is None:
        text = f"CertRelay does not manage {name}, so its authority is unknown; revoke it at the authority"
        raise Conflict(text, "NotManaged")
    made = find.of_version(services, vault, name, version_of(revoked))
    authority = (made.authority if made else None) or managed
    services.authority(authority)
    connector = services.connector(authority)
    if not isinstance(connector, Revokes):
        text = f"the connector of authority {authority} cannot revoke; revoke it at the authority"
        raise Conflict(text, "CannotRevoke")
    operation = None
    if revocation.replace and (origin.idempotency_key or revocation.version == version_of(newest)):
        operation = renew.renew(services, vault, name, replace(origin, reason=f"revoked: {revocation.reason}"))
    try:
        connector.revoke(base64.b64decode(revoked["cer"]), revocation.reason)
    except ConnectorError as error:
        raise Conflict(f"authority {authority} did not revoke {name}: {error}", "RevocationRefused") from error
    except Exception as error:
        raise NotReady(f"authority {authority} could not be reached ({type(error).__name__})", 30) from error
    if not revocation.replace:
        path = f"/certificates/{name}/{version_of(revoked)}"
        revoked = services.vault(vault).call("PATCH", path, {"attributes": {"enabled": False}})
    return revoked, operation
