"""The names of a certificate (RFC 5280, sections 4.1.2.6 and 4.2.1.6) as one value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SubjectNames:
    """The names a certificate is asked for: A-labels in lower case, without trailing dot; no duplicates."""

    common_name: str | None = None
    dns_names: tuple[str, ...] = ()
    email_addresses: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    user_principal_names: tuple[str, ...] = ()
