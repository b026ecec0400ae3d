"""One certificate as it is in the vault, read through the API."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from certrelay_cli.code.names import all_of
from certrelay_cli.code.threads import each
from certrelay_cli.triggers import Trigger
from certrelay_client import Client, NotFound

# CertRelay's own tags on a certificate in Key Vault; a test holds them to those of the app.
AUTHORITY_TAG, RENEWAL_TAG, VALIDITY_TAG = "certrelay-authority", "certrelay-renewal", "certrelay-validity-days"
OWN_TAGS = (AUTHORITY_TAG, RENEWAL_TAG, VALIDITY_TAG)
_TRIGGER = re.compile(r"(lifetime_percentage|days_before_expiry)=([0-9]{1,5})")
_KINDS = ("dns_names", "ip_addresses", "email_addresses", "uris")


@dataclass(frozen=True, slots=True)
class Actual:
    """`names`, `key`: what the newest version's certificate says; None if it has none, or it cannot be read.

    `policy`: Key Vault's, for the next version. `tags`: without CertRelay's own. `was_managed`: CertRelay issued an
    earlier version, and the newest one has lost its authority: it was made elsewhere."""

    name: str
    version: str
    authority: str | None
    policy: Mapping[str, Any]
    names: frozenset[str] | None = None
    key: tuple[str, int] | None = None
    enabled: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    trigger: Trigger | None = None
    days: int | None = None
    was_managed: bool = False


def from_detail(detail: Mapping[str, Any], was_managed: bool = False) -> Actual:
    """What `get_certificate` answers, as far as a plan needs it."""
    tags = detail.get("tags") or {}
    found = _TRIGGER.fullmatch(tags.get(RENEWAL_TAG, ""))
    days = tags.get(VALIDITY_TAG, "")
    readable = detail.get("dns_names") is not None
    names = frozenset(name for kind in _KINDS for name in all_of(kind, detail.get(kind) or ()))
    key = (detail["key_type"], detail["key_size"]) if detail.get("key_type") else None
    return Actual(
        name=detail["name"],
        version=detail["version"],
        authority=tags.get(AUTHORITY_TAG),
        policy=detail.get("policy") or {},
        names=names if readable else None,
        key=key,
        enabled=bool((detail.get("attributes") or {}).get("enabled", True)),
        tags={key: value for key, value in tags.items() if key not in OWN_TAGS},
        trigger=(found[1], int(found[2])) if found else None,
        days=int(days) if days.isascii() and days.isdigit() else None,
        was_managed=was_managed,
    )


def read(client: Client, vault: str, names: Iterable[str], managed: Collection[str]) -> dict[str, Actual]:
    """Those of `names` that exist, by their names in lower case. `managed`: names that an authority shall renew.

    Raises what the client raises."""

    def one(name: str) -> Actual | None:
        try:
            detail = cast("Mapping[str, Any]", client.get_certificate(vault, name))
        except NotFound as error:
            if error.code != "CertificateNotFound":
                raise
            return None
        if not detail.get("cer"):  # its first version is being issued
            return None
        lost = name in managed and AUTHORITY_TAG not in (detail.get("tags") or {})
        return from_detail(detail, lost and _was_managed(client, vault, name, detail["version"]))

    return {found.name.lower(): found for found in each(one, names) if found is not None}


def managed_names(client: Client, vault: str) -> set[str]:
    """The names of all certificates that CertRelay renews."""
    return {line["name"] for line in client.certificates(vault, state="managed")}


def _was_managed(client: Client, vault: str, name: str, version: str) -> bool:
    issued = [
        operation
        for operation in client.get_certificate_history(vault, name)["value"]
        if operation["status"] == "completed" and operation["kind"] != "import" and operation.get("authority")
    ]
    return bool(issued) and not any(operation.get("target", "").endswith(f"/{version}") for operation in issued)
