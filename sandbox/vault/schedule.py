"""When something becomes due for a certificate: a pure function of its state."""

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.vault.model import Certificate, Version

DAY = 86400
NEAR_EXPIRY = 30 * DAY


def next_due(certificate: Certificate) -> float | None:
    """The earliest time (UNIX seconds) at which something becomes due, or None."""
    return min(_moments(certificate), default=None)


def _moments(certificate: Certificate) -> Iterator[float]:
    if certificate.deletion:
        yield certificate.deletion.due
        return
    pending = certificate.pending
    if pending and pending.status == "inProgress":
        moment = pending.cancel_due if pending.cancellation_requested else pending.due
        if moment is not None:
            yield moment
    current = certificate.current
    if current.certificate:
        if not current.near_expiry_raised:
            yield near_expiry(current)
        if not current.expired_raised:
            yield current.expires
        action = lifetime_action(certificate.policy)
        if action and not current.lifetime_action_done and not (pending and pending.status == "inProgress"):
            yield action_moment(action, current)


def near_expiry(version: Version) -> float:
    """When `CertificateNearExpiry` is raised (UNIX seconds)."""
    return version.expires - NEAR_EXPIRY


def lifetime_action(policy: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The policy's one action, if it has any effect: Key Vault renews nothing for an unknown issuer."""
    action: Mapping[str, Any] | None = next(iter(policy["lifetime_actions"]), None)
    if action and action["action"]["action_type"] == "AutoRenew" and policy["issuer"]["name"].lower() == "unknown":
        return None
    return action


def action_moment(action: Mapping[str, Any], version: Version) -> float:
    """When the action is due (UNIX seconds): at a percentage of the lifetime, or some days before expiry."""
    trigger = action["trigger"]
    if "days_before_expiry" in trigger:
        return float(version.expires - trigger["days_before_expiry"] * DAY)
    lifetime = version.expires - version.not_before
    return float(version.not_before + lifetime * trigger["lifetime_percentage"] / 100)
