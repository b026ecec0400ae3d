"""Revocation: the authority is told; what Key Vault holds is switched off or replaced."""

import base64
import logging
from typing import Any

from certrelay.connectors.base import ConnectorError, PublishesRevocations, RevocationReason, Revokes
from certrelay.errors import Conflict, NotReady
from certrelay.keyvault.client import version_of
from certrelay.keyvault.tags import authority_of
from certrelay.storage.operation import Operation
from lifecycle import reading, renewal
from lifecycle.services import Services

__all__ = ["RevocationReason", "publish_crls", "revoke"]

log = logging.getLogger("certrelay.revocations")

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
    newest = reading.bundle(services, vault, name)
    found = reading.bundle(services, vault, name, version) if version else newest
    authority = authority_of(newest.get("tags") or {})
    if authority is None:
        raise Conflict(f"{name} is not managed by CertRelay: its authority is unknown", "NotManaged")
    services.authority(authority)
    connector = services.connector(authority)
    if not isinstance(connector, Revokes):
        raise Conflict(f"authority {authority} cannot revoke", "CannotRevoke")
    operation = None
    if replace and (idempotency_key or version == version_of(newest)):
        operation = renewal.renew(
            services, vault, name, requested_by=requested_by, reason=f"revoked: {reason}", only_if_due=False,
            idempotency_key=idempotency_key,
        )  # fmt: skip
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


def publish_crls(services: Services) -> list[str]:
    """Have every authority that publishes its own CRL publish a fresh one; the names of those that did."""
    published = []
    for name, authority in services.settings.authorities.items():
        if not issubclass(authority.connector_class, PublishesRevocations):
            continue
        try:
            connector = services.connector(name)
            assert isinstance(connector, PublishesRevocations)  # noqa: S101 - asked just above
            connector.publish_crl(services.now())
            published.append(name)
        except Exception as error:  # one authority must not stop the others
            reason = error if isinstance(error, ConnectorError) else type(error).__name__
            log.error("authority %s could not publish its CRL (%s)", name, reason)
    return published
