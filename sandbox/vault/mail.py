"""Emails to the vault's certificate contacts. The sandbox sends none; `/admin/mails` shows them."""

import itertools

from sandbox.vault.model import Certificate
from sandbox.vault.vault import Vault

_order = itertools.count()


def mail_contacts(vault: Vault, certificate: Certificate, reason: str, detail: str = "") -> None:
    """Record one email for each contact. `reason`: near expiry, renewal started, renewed, renewal failed."""
    now = vault.now()
    for contact in (vault.document("contacts") or {}).get("contacts", []):
        mail = {
            "to": contact["email"],
            "reason": reason,
            "certificate": certificate.name,
            "version": certificate.current.id,
            "expires": certificate.current.expires,
            "sent": now,
            "detail": detail,
        }
        vault.put_document("mail", f"{now:012}-{next(_order):09}", mail)
