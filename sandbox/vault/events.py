"""The vault's Event Grid events, with the payload of the service (Pascal case, numbers for NBF and EXP)."""

import datetime
import uuid
from typing import Any

from sandbox.vault.model import Certificate, Version
from sandbox.vault.vault import Vault

NEW_VERSION = "Microsoft.KeyVault.CertificateNewVersionCreated"
NEAR_EXPIRY = "Microsoft.KeyVault.CertificateNearExpiry"
EXPIRED = "Microsoft.KeyVault.CertificateExpired"

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


def topic(vault_name: str) -> str:
    """The resource id of the vault."""
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/sandbox/providers/Microsoft.KeyVault/vaults/{vault_name}"


def event(vault: Vault, kind: str, certificate: Certificate, version: Version) -> dict[str, Any]:
    """An event in the Event Grid schema. Delivery translates it to CloudEvents for a subscription that asks for it."""
    moment = datetime.datetime.fromtimestamp(vault.clock.now(), datetime.UTC)
    return {
        "id": str(uuid.uuid4()),
        "topic": topic(vault.settings.name),
        "subject": certificate.name,
        "eventType": kind,
        # Seven digits of a second, as the service writes them.
        "eventTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z",
        "data": {
            "Id": f"{vault.settings.url}/certificates/{certificate.name}/{version.id}",
            "VaultName": vault.settings.name,
            "ObjectType": "Certificate",
            "ObjectName": certificate.name,
            "Version": version.id,
            "NBF": version.not_before,
            "EXP": version.expires,
        },
        "dataVersion": "1",
        "metadataVersion": "1",
    }
