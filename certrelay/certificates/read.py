"""Read certificates: filtered lists, one certificate with its renewal plan and chain, versions, history, CSR."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certrelay.access import grants, ownership
from certrelay.callers import Role
from certrelay.errors import BadContinuation, Fault, Invalid, NotFound
from certrelay.keyvault.certificate import CERTIFICATES, PAGE, CertificateItem, item_of, items_of, version_of
from certrelay.keyvault.tags import authority_of, is_managed, threshold_of
from certrelay.operations import find
from certrelay.renewal import alerts, endpoints
from certrelay.renewal.due import due_at, due_of
from certrelay.services import Services
from certrelay.storage import shown_names
from certrelay.storage.endpoint_record import EndpointRecord
from certrelay.storage.operation import Operation
from certrelay.storage.owners import Owner
from certrelay.storage.renewal_record import RenewalRecord
from certrelay.storage.shown_names import ShownNames

VERSION = re.compile("[0-9a-f]{32}")
# A page of the list, as Key Vault's `nextLink` names it: where to go on, and how many there are on it.
LIST_PATH = re.compile(
    r"/certificates\?((maxresults=[0-9]{1,2}|api-version=[0-9.-]{1,10}|(\$|%24)skiptoken=[\w.~%+=!*-]{1,6000})(&(?!$)|$))+",
    re.ASCII,
)
MARK, MAX_MARKS = 12, 2 * PAGE  # hexadecimal digits of a hash, and how many marks a continuation has
MARKS = re.compile(f"([0-9a-f]{{{MARK}}}){{0,{MAX_MARKS}}}-{{0,{MAX_MARKS * MARK}}}")
MAX_PAGES, MAX_LOOKUPS = 40, 25  # of Key Vault's list, and of single certificates, for one request

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which certificates to list: those that meet all filters that are set.

    `states`: managed, unmanaged, enabled, disabled, due, expiring or expired; one of them is enough. `issuer`: the name
    of the policy's issuer."""

    authority: str | None = None
    issuer: str | None = None
    expiring_within_days: int | None = None
    states: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """When CertRelay will renew a certificate (UTC), and why then; `due` is None if it will not."""

    due: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Detail:
    """A CertificateBundle with its renewal plan.

    `made`: the operation that merged or imported the version, if there is one. `owner`: None without one. `endpoint`:
    what was seen where the certificate is served; None if its tags do not say where, or the settings allow none."""

    bundle: Json
    plan: Plan
    made: Operation | None
    owner: Owner | None
    endpoint: EndpointRecord | None = None

    @property
    def chain(self) -> tuple[bytes, ...]:
        """DER, leaf first; empty if CertRelay did not merge or import the version."""
        return self.made.chain if self.made else ()


@dataclass(frozen=True, slots=True)
class Line:
    """A certificate of a list with what CertRelay knows of it.

    `names`: those in the newest version, if CertRelay has merged or imported it. `failures`: renewals that failed in a
    row, the last one for the reason `last_failure`. `owner`, `endpoint`: as in Detail."""

    item: CertificateItem
    plan: Plan
    names: ShownNames | None
    failures: int
    last_failure: str
    owner: Owner | None
    endpoint: EndpointRecord | None


def certificates(
    services: Services, vault: str, filters: Filters, limit: int, continuation: str | None
) -> tuple[list[CertificateItem], str | None]:
    """At most `limit` certificates, and the continuation for the next call; None at the end of the list.

    Only those that the caller may read.

    A call reads a bounded part of the list, so it may return fewer, even none, before the end.
    Raises Invalid (the continuation), NotFound, NotReady."""
    services.vault_settings(vault)
    place = _Continuation(services, vault)
    path, passed = place.open(continuation)
    issuer = _IssuerFilter(services, vault, filters.issuer)
    matching: list[CertificateItem] = []
    for _ in range(MAX_PAGES):
        page, following = services.vault(vault).page(path)
        items, here = {_mark(item.name): item for item in items_of(page)}, set[str]()
        for mark, item in items.items():
            is_new = mark not in passed and grants.may(services, Role.READER, vault, item.name)
            if is_new and _matches(services, item, filters):
                if issuer.is_used_up(item):
                    return matching, place.seal(path, here, passed)
                if issuer.is_met(item):
                    matching.append(item)
            here.add(mark)
            if len(matching) == limit and len(here) < len(items):
                return matching, place.seal(path, here, passed)
        path, passed = following, passed - here
        if not path or len(matching) >= limit:
            break
    return matching, place.seal(path, set(), passed) if path else None


def lines(services: Services, vault: str, items: list[CertificateItem]) -> list[Line]:
    """What CertRelay knows of the certificates of a page: two requests to the tables for all of them, a third one if
    some have endpoints, and one more for each thousand names between the first and the last. Raises NotReady."""
    names, now = [item.name for item in items], services.now()
    records, owners = services.storage.renewals.records(vault, names), services.storage.owners.of(vault, names)
    seen, found = endpoints.records(services, vault, items), []
    for item in items:
        key = item.name.lower()
        record = (records.get(key) or RenewalRecord(vault, item.name)).about(item.thumbprint)
        known, plan = shown_names.read(record.names), _plan(item, record, now)
        failed = record.failures, record.last_failure
        found.append(Line(item, plan, known, *failed, owners.get(key), seen.get(item.name)))
    return found


def bundle(services: Services, vault: str, name: str, version: str = "") -> Json:
    """The CertificateBundle of a version, by default the newest. Raises Invalid, NotFound, NotReady."""
    services.vault_settings(vault)
    if version and not VERSION.fullmatch(version):
        raise Invalid([Fault("/version", "must have 32 hexadecimal digits, in lower case")])
    certificate = services.vault(vault).get(name, version)
    if certificate is None:
        where = f"version {version} of certificate {name!r}" if version else f"certificate {name!r}"
        raise NotFound(f"there is no {where} in vault {vault}", "CertificateNotFound")
    return certificate


def detail(services: Services, vault: str, name: str) -> Detail:
    """The newest version with its renewal plan, its operation and its owner. Raises NotFound, NotReady."""
    newest = bundle(services, vault, name)
    item, made = item_of(newest), find.of_version(services, vault, name, version_of(newest))
    record = services.storage.renewals.record(vault, name).about(item.thumbprint)
    seen = next(iter(endpoints.records(services, vault, [item]).values()), None)
    plan = _plan(item, record, services.now())
    return Detail(newest, plan, made, ownership.owner(services, vault, name), seen)


def policy(services: Services, vault: str, name: str) -> Json:
    """The certificate's policy, in Key Vault's JSON. Raises NotFound, NotReady."""
    bundle(services, vault, name)
    return services.vault(vault).call("GET", f"/certificates/{name}/policy")


def versions(services: Services, vault: str, name: str) -> list[Json]:
    """All versions, as items of Key Vault's list. Raises NotFound, NotReady."""
    bundle(services, vault, name)
    return list(services.vault(vault).versions(name))


def csr(services: Services, vault: str, name: str) -> bytes:
    """The CSR (PKCS#10, DER) of the pending operation. Raises NotFound if there is none in progress, NotReady."""
    pending = services.vault(vault).pending(name)
    if pending is None or not pending.in_progress or not pending.csr:
        raise NotFound(f"{name} has no pending operation with a CSR", "NoPendingOperation")
    return pending.csr


def history(services: Services, vault: str, name: str) -> list[Operation]:
    """The certificate's ended operations, newest first. Raises NotReady."""
    return services.storage.ended(vault, name)


def _plan(item: CertificateItem, record: RenewalRecord, now: datetime) -> Plan:
    if not is_managed(item.tags) or item.not_before is None or item.expires is None:
        return Plan(None, "CertRelay does not renew it; adopt it to change that")
    if not item.enabled:
        return Plan(None, "it is disabled")
    threshold = threshold_of(item.tags)
    due = due_at(item.not_before, item.expires, threshold)
    reason = "threshold {}={}".format(*threshold) if threshold else "a third of its lifetime is left then"
    if record.renew_at and record.renew_at < due:
        due, reason = record.renew_at, "the authority suggests it (RFC 9773)"
    if record.backed_off_until and record.backed_off_until > max(due, now):
        return Plan(record.backed_off_until, f"{reason}; backed off after {record.failures} failed tries")
    return Plan(due, reason)


@dataclass(slots=True)
class _IssuerFilter:
    """The filter by the policy's issuer: `Unknown` if CertRelay manages a certificate; else Key Vault is asked for it.

    `left`: how many certificates may still be looked up for this request."""

    services: Services
    vault: str
    name: str | None
    left: int = MAX_LOOKUPS

    def is_used_up(self, item: CertificateItem) -> bool:
        return self.name is not None and not is_managed(item.tags) and not self.left

    def is_met(self, item: CertificateItem) -> bool:
        if self.name is None or is_managed(item.tags):
            return self.name is None or self.name.lower() == "unknown"
        self.left -= 1
        policy = (self.services.vault(self.vault).get(item.name) or {}).get("policy") or {}
        return str((policy.get("issuer") or {}).get("name", "")).lower() == self.name.lower()


def _matches(services: Services, item: CertificateItem, filters: Filters) -> bool:
    """Whether the filters are met that need nothing but the list."""
    now = services.now()
    authority = authority_of(item.tags)
    if filters.authority is not None and filters.authority != authority:
        return False
    days = filters.expiring_within_days
    if days is not None and (item.expires is None or item.expires > now + timedelta(days=days)):
        return False
    return not filters.states or not filters.states.isdisjoint(_states(item, now))


def _states(item: CertificateItem, now: datetime) -> set[str]:
    due = due_of(item)
    states = {"enabled" if item.enabled else "disabled", "managed" if is_managed(item.tags) else "unmanaged"}
    return states | {alerts.stage(item, now)} | ({"due"} if due is not None and due <= now else set())


def _mark(name: str) -> str:
    """What a continuation has of a name."""
    return hashlib.sha256(name.lower().encode()).hexdigest()[:MARK]


@dataclass(frozen=True, slots=True)
class _Continuation:
    """Continuations of the list of a vault: the path of a page, and the marks of what was passed on it, or moved on.

    Marks and no number: what is created or deleted meanwhile moves the others. Their text is of one length, so that a
    continuation does not tell how many were passed."""

    services: Services
    vault: str

    def seal(self, path: str, here: set[str], earlier: set[str]) -> str:
        """`here`: passed on this page. `earlier`: passed before."""
        marks = [*sorted(here), *sorted(earlier - here)][:MAX_MARKS]
        text = "".join(marks).ljust(MAX_MARKS * MARK, "-")
        return self.services.storage.continuations.seal(self._list, [path, text])

    def open(self, continuation: str | None) -> tuple[str, set[str]]:
        """Where a page starts; at the beginning without a continuation. Raises BadContinuation, NotReady."""
        if continuation is None:
            return CERTIFICATES, set()
        try:
            path, text = self.services.storage.continuations.open(self._list, continuation)
        except (ValueError, TypeError):
            raise BadContinuation from None
        if not (
            isinstance(path, str) and LIST_PATH.fullmatch(path) and isinstance(text, str) and MARKS.fullmatch(text)
        ):
            raise BadContinuation
        return path, set(re.findall(f"[0-9a-f]{{{MARK}}}", text))

    @property
    def _list(self) -> str:
        return f"certificates of {self.vault}"
