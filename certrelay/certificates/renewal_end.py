"""What would take a certificate out of renewal is refused unless it is forced: nobody would notice until it expires."""

from collections.abc import Mapping
from typing import Any

from certrelay.errors import Conflict
from certrelay.keyvault.policy import issuer_of, lifetime_actions
from certrelay.keyvault.tags import authority_of

type Json = dict[str, Any]


def refuse(
    name: str, current: Json | None, *, authority: str | None, policy: Mapping[str, Any], enabled: bool | None = True
) -> None:
    """Raise Conflict `Managed` if the certificate is renewed now and would not be after a change.

    `current`: Key Vault's CertificateBundle; None if there is none. The others say what it would be: the authority
    that renews it (None: Key Vault does, or nobody), its policy, and whether it is enabled (None: as it is)."""
    consequence = _consequence(name, current, authority, policy, enabled) if current and current.get("cer") else ""
    if consequence:
        raise Conflict(f"{consequence}; send it with force if that is meant", "Managed")


def _consequence(
    name: str, current: Json, authority: str | None, policy: Mapping[str, Any], enabled: bool | None
) -> str:
    before = authority_of(current.get("tags") or {})
    if before is not None and authority is None:
        return f"{before} renews {name}, and would no longer do so"
    if before is not None and enabled is False and (current.get("attributes") or {}).get("enabled", True):
        return f"{before} renews {name}, and would no longer do so: a disabled version is not renewed"
    renewed_by = _issuer_that_renews(current.get("policy") or {})
    if authority is None and renewed_by and not _issuer_that_renews(policy):
        return f"Key Vault renews {name} (issuer {renewed_by}), and would no longer do so"
    return ""


def _issuer_that_renews(policy: Mapping[str, Any]) -> str:
    """The issuer by which Key Vault renews a certificate with this policy by itself; empty if it does not."""
    issuer, kinds = issuer_of(policy), [kind for kind, _ in lifetime_actions(policy)]
    return issuer if issuer.lower() not in ("", "unknown") and "AutoRenew" in kinds else ""
