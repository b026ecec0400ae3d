"""Names as CertRelay writes them, so that a plan finds a name that is there whatever its spelling. Pure."""

import ipaddress
from collections.abc import Iterable
from typing import Any

import idna


def normalised(name: str) -> tuple[str, str]:
    """The kind of a name (dns, ip, email, uri), and the name as CertRelay writes it. Raises ValueError."""
    if "://" in name:
        return "uri", uri(name)
    if "@" in name:
        return "email", email_address(name)
    try:
        return "ip", ip_address(name)
    except ValueError:
        return "dns", dns_name(name)


def dns_name(name: str) -> str:
    """In lower case and ASCII, without a dot at its end. Raises ValueError."""
    wildcard, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    rest = rest.removesuffix(".").lower()
    try:
        if not rest.isascii():
            rest = idna.encode(rest, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{name!r} is no DNS name: {error}") from None
    if not all(part and len(part) <= 63 for part in rest.split(".")) or any(one in rest for one in " /*,"):
        raise ValueError(f"{name!r} is no DNS name")
    return wildcard + rest


def ip_address(name: str) -> str:
    """In the text of RFC 5952. Raises ValueError."""
    return str(ipaddress.ip_address(name))


def email_address(name: str) -> str:
    """With its domain as a DNS name. Raises ValueError."""
    local, _, domain = name.rpartition("@")
    return f"{local}@{dns_name(domain)}"


def user_principal_name(name: str) -> str:
    """With its suffix in lower case."""
    user, at, suffix = name.rpartition("@")
    return f"{user}{at}{suffix.lower()}"


def uri(name: str) -> str:
    """With its scheme and host in lower case."""
    scheme, _, rest = name.partition(":")
    if not rest.startswith("//"):
        return f"{scheme.lower()}:{rest}"
    end = next((place for place, one in enumerate(rest) if place > 1 and one in "/?#"), len(rest))
    user, at, host = rest[2:end].rpartition("@")
    return f"{scheme.lower()}://{user}{at}{host.lower()}{rest[end:]}"


_BY_KIND = {
    "dns_names": dns_name, "emails": email_address, "email_addresses": email_address, "uris": uri,
    "upns": user_principal_name, "ip_addresses": ip_address, "ipAddresses": ip_address,
}  # fmt: skip


def all_of(kind: str, names: Iterable[Any]) -> list[str]:
    """The names of one kind, called as the API or Key Vault calls it. What is malformed stays as it is."""

    def one(name: str) -> str:
        try:
            return _BY_KIND[kind](name) if kind in _BY_KIND else name
        except ValueError:
            return name

    return [one(str(name)) for name in names]
