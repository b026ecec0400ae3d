"""Looking at certificates: lists with filters, one with its renewal plan, versions, chains."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certrelay.errors import Fault, Invalid, NotFound
from certrelay.keyvault.client import CERTIFICATES, CertificateItem, item_of, moment, version_of
from certrelay.keyvault.tags import authority_of, is_managed, threshold_of
from certrelay.renewal import alerts
from certrelay.renewal.due import due_at, due_of
from certrelay.services import Services
from certrelay.storage.operation import Operation

MAX_PAGES = 40

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filters:
    """All that are given must hold. `state`: managed, unmanaged, enabled, disabled, due, expiring or expired."""

    authority: str | None = None
    issuer: str | None = None
    expiring_within_days: int | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """When a certificate will be renewed, and why then. `due` None: nobody here renews it."""

    due: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Detail:
    """A CertificateBundle; `chain` (DER, leaf first) is what CertRelay merged or imported, empty when it was not us."""

    bundle: Json
    plan: Plan
    chain: tuple[bytes, ...]


def certificates(
    services: Services, vault: str, filters: Filters, limit: int, continuation: str | None
) -> tuple[list[CertificateItem], str | None]:
    """At most `limit` certificates and, where there may be more, what to ask with next. An answer may hold fewer, even
    none, before the end: a request reads a bounded part of the list. Raises Invalid, NotFound, NotReady."""
    services.vault_settings(vault)
    path, skip = _position(continuation)
    found: list[CertificateItem] = []
    for _ in range(MAX_PAGES):
        page, following = services.vault(vault).page(path)
        items = [item_of(item) for item in page]
        for number, item in enumerate(items[skip:], skip + 1):
            if _wanted(services, vault, item, filters):
                found.append(item)
            if len(found) == limit and number < len(items):
                return found, _continuation(path, number)
        path, skip = following, 0
        if not path or len(found) >= limit:
            break
    return found, _continuation(path, 0) if path else None


def bundle(services: Services, vault: str, name: str, version: str = "") -> Json:
    """A CertificateBundle with a certificate in it. Raises NotFound."""
    services.vault_settings(vault)
    found = services.vault(vault).get(name, version)
    if found is None:
        where = f"version {version} of certificate {name!r}" if version else f"certificate {name!r}"
        raise NotFound(f"there is no {where} in vault {vault}", "CertificateNotFound")
    return found


def detail(services: Services, vault: str, name: str) -> Detail:
    """The newest version with its plan and its chain. Raises NotFound."""
    found = bundle(services, vault, name)
    return Detail(found, _plan(services, vault, name, found), _chain(services, vault, name, version_of(found)))


def policy(services: Services, vault: str, name: str) -> Json:
    """The certificate's policy, as Key Vault has it. Raises NotFound."""
    bundle(services, vault, name)
    return services.vault(vault).call("GET", f"/certificates/{name}/policy")


def versions(services: Services, vault: str, name: str) -> list[Json]:
    """All versions, as items of Key Vault's list. Raises NotFound."""
    bundle(services, vault, name)
    return list(services.vault(vault).versions(name))


def csr(services: Services, vault: str, name: str) -> bytes:
    """The pending operation's CSR (PKCS#10, DER) while it waits to be signed. Raises NotFound."""
    pending = services.vault(vault).pending(name)
    if pending is None or not pending.in_progress or not pending.csr:
        raise NotFound(f"{name} has no CSR that waits to be signed", "NoPendingOperation")
    return pending.csr


def history(services: Services, vault: str, name: str) -> list[Operation]:
    """The certificate's operations that have ended, newest first."""
    return services.storage.ended(vault, name)


def _plan(services: Services, vault: str, name: str, found: Json) -> Plan:
    tags, attributes = found.get("tags") or {}, found.get("attributes") or {}
    begins, expires = moment(attributes.get("nbf")), moment(attributes.get("exp"))
    if not is_managed(tags) or begins is None or expires is None:
        return Plan(None, "Key Vault or nobody renews it; adopt it to have it renewed here")
    if not attributes.get("enabled", True):
        return Plan(None, "it is disabled")
    threshold = threshold_of(tags)
    due = due_at(begins, expires, threshold)
    reason = "threshold {}={}".format(*threshold) if threshold else "a third of its lifetime is left then"
    note = services.storage.renewals.record(vault, name).about(item_of(found).thumbprint)
    if note.renew_at and note.renew_at < due:
        due, reason = note.renew_at, "the authority suggests it (RFC 9773)"
    if note.backed_off_until and note.backed_off_until > max(due, services.now()):
        return Plan(note.backed_off_until, f"{reason}; {note.failures} tries failed, the next one is after a rest")
    return Plan(due, reason)


def _chain(services: Services, vault: str, name: str, version: str) -> tuple[bytes, ...]:
    for operation in services.storage.ended(vault, name):
        if operation.version == version:
            return operation.chain
    return ()


def _wanted(services: Services, vault: str, item: CertificateItem, filters: Filters) -> bool:
    now = services.now()
    authority = authority_of(item.tags)
    if filters.authority is not None and filters.authority != authority:
        return False
    days = filters.expiring_within_days
    if days is not None and (item.expires is None or item.expires > now + timedelta(days=days)):
        return False
    if filters.state is not None and filters.state not in _states(item, now):
        return False
    if filters.issuer is None:
        return True
    written = (services.vault(vault).get(item.name) or {}).get("policy") or {}
    return str((written.get("issuer") or {}).get("name", "")).lower() == filters.issuer.lower()


def _states(item: CertificateItem, now: datetime) -> set[str]:
    due = due_of(item)
    states = {"enabled" if item.enabled else "disabled", "managed" if is_managed(item.tags) else "unmanaged"}
    return states | {alerts.stage(item, now)} | ({"due"} if due is not None and due <= now else set())


def _continuation(path: str, skip: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([path, skip]).encode()).decode()


def _position(continuation: str | None) -> tuple[str, int]:
    if continuation is None:
        return CERTIFICATES, 0
    try:
        path, skip = json.loads(base64.urlsafe_b64decode(continuation))
    except (binascii.Error, ValueError, TypeError):
        path, skip = "", 0
    if not (
        isinstance(path, str) and re.match(r"/certificates\?[^/\s]*$", path) and isinstance(skip, int) and skip >= 0
    ):
        raise Invalid([Fault("/continuation", "is not one that an earlier answer gave")])
    return path, skip
