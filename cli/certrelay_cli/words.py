"""How certificates and operations are told to people."""

from collections.abc import Iterator
from typing import Any

SHOWN = (
    "name", "vault", "version", "subject", "issuer", "dns_names", "ip_addresses", "email_addresses", "uris", "key_type",
    "key_size", "serial_number", "not_before", "not_after", "thumbprint_sha256", "owner", "signed_by", "tags",
)  # fmt: skip


def certificate(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The rows of a certificate, as the API answers it."""
    said = {**found, "owner": who(found, "owner")}
    yield from ((key, said[key]) for key in SHOWN if said.get(key))
    if "renewal" in found:
        yield "renewal", f"{found['renewal']['due'] or 'never'}: {found['renewal']['reason']}"
    if shown := found.get("endpoint"):
        yield "endpoint", endpoint(shown)
    if fallback := found.get("fallback"):
        yield "fall-back", f"of {fallback['of']}: {fallback['why']}"


def endpoint(found: dict[str, Any]) -> str:
    """What was seen where a certificate is served."""
    served = found.get("served")
    parts = [f"{found['address']}: {found['state']}"]
    if found.get("error"):
        parts.append(f"{found['error']}, since {found['unreachable_since']}")
    if served and found["state"] not in ("deployed", "not-allowed"):
        which = "an earlier version" if served["earlier_version"] else "another certificate"
        parts.append(f"serves {which} ({served['thumbprint']}), which expires {served.get('expires')}")
        parts.append(f"the newest version is in the vault since {found['newest_since']}")
    return "; ".join([*parts, f"looked at {found.get('looked_at') or 'never'}"])


def who(found: Any, key: str = "requested_by") -> str | None:
    """Somebody by name, or by the id where the name is not known."""
    name: str | None = found.get(f"{key}_name") or found.get(key)
    return name


def authority(operation: Any) -> str | None:
    """Who is asked, or has signed, and whose fall-back that is."""
    name: str | None = operation.get("authority")
    fallback = operation.get("fallback")
    return f"{name}, a fall-back of {fallback['of']}" if fallback else name
