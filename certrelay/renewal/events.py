"""Key Vault's events. An event only triggers a check: what Key Vault itself says now decides.

https://learn.microsoft.com/azure/event-grid/event-schema-key-vault
"""

import re
from collections.abc import Mapping
from typing import Any

from certrelay.errors import CertRelayError, Conflict, NotFound, NotReady, VaultForbidden
from certrelay.log import about, logger
from certrelay.operations.submit import Origin
from certrelay.renewal import alerts, renew
from certrelay.services import Services

NEAR_EXPIRY = "Microsoft.KeyVault.CertificateNearExpiry"
EXPIRED = "Microsoft.KeyVault.CertificateExpired"

log = logger("events")


def handle(services: Services, kind: str, data: Mapping[str, Any]) -> None:
    """Renew the certificate of an event if it is managed and due; send an alert if it has expired.

    `kind`: the event's type, `data`: its data. Other event types, such as a new version, and malformed events are
    ignored. Raises NotReady, so that Event Grid delivers the event again."""
    certificate = _where(services, str(data.get("Id", "")))
    if certificate is None:
        return
    vault, name = certificate
    try:
        with about(vault=vault, certificate=name):
            result = _handle(services, kind, vault, name) if kind in (NEAR_EXPIRY, EXPIRED) else "noted"
    except Exception as error:
        _note(services, kind, type(error).__name__, ok=False)
        raise
    _note(services, kind, result, ok=True)


def _note(services: Services, kind: str, result: str, *, ok: bool) -> None:
    """Note the event for the status; at best."""
    detail = f"{kind[:100]}: {result}"
    services.storage.watch.note("run", "event", services.now(), detail=detail[:500], ok="true" if ok else "false")


def _handle(services: Services, kind: str, vault: str, name: str) -> str:
    """What came of it, in words."""
    try:
        if kind == EXPIRED:
            alerts.check(services, vault, name)
        operation = renew.renew_if_due(services, vault, name, Origin(requested_by="event", reason=kind))
    except (Conflict, NotFound) as error:
        log.info("%s: nothing to do: %s", kind, error)
        return f"nothing to do: {error}"
    except VaultForbidden as error:  # a delivery in an hour would change nothing; the sweep tells people
        log.error("%s: Key Vault refuses the app: %s", kind, error)
        return f"Key Vault refuses the app: {error}"
    except NotReady:
        raise
    except CertRelayError as error:
        log.error("%s: the certificate cannot be renewed: %s", kind, error)
        return f"the certificate cannot be renewed: {error}"
    log.info("%s: renewed by operation %s", kind, operation.id)
    return f"renewed by operation {operation.id}"


def _where(services: Services, identifier: str) -> tuple[str, str] | None:
    """The vault's alias and the certificate's name in `https://VAULT/certificates/NAME/VERSION`."""
    match = re.fullmatch(r"(https://[^/\s]+)/certificates/([0-9A-Za-z-]{1,127})(/[0-9a-f]{1,64})?", identifier)
    if match is None:
        return None
    for alias, vault in services.settings.vaults.items():
        if vault.url.lower() == match[1].lower():
            return alias, match[2]
    return None
