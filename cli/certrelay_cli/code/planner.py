"""What would change, and why. Pure: no network, no clock."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from certrelay_cli import keys, triggers
from certrelay_cli.code.actual import Actual
from certrelay_cli.code.policy_change import policy_change, sans_in, shown
from certrelay_cli.code.wanted import Wanted


class Kind(StrEnum):
    """What is done. Each is one request."""

    CREATE = "create"
    NEW_VERSION = "new version"
    POLICY = "policy"
    ADOPT = "adopt"
    RELEASE = "release"
    TAGS = "tags"
    ENABLED = "enabled"


@dataclass(frozen=True, slots=True)
class Change:
    """`why`: one reason a line. `request`: the client's method. `base`: the version that was there, empty for none.

    `wanted`: the entry of the file; None for a release by `--prune`. `key`: the Idempotency-Key of an order."""

    kind: Kind
    name: str
    why: tuple[str, ...]
    request: str
    body: Mapping[str, Any] | None
    base: str = ""
    wanted: Wanted | None = None
    key: str = ""

    @property
    def orders(self) -> bool:
        """Whether an authority is asked for a certificate."""
        return self.kind in (Kind.CREATE, Kind.NEW_VERSION)

    def same_as(self, other: "Change") -> bool:
        """Whether it does the same to the same version."""
        return (self.kind, self.name, self.request, self.body, self.base) == (
            other.kind, other.name, other.request, other.body, other.base
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": str(self.kind), "why": list(self.why)}


@dataclass(frozen=True, slots=True)
class Plan:
    """`problems`: what cannot be done; then nothing is. `notes`: what is left as it is, and why."""

    vault: str
    changes: tuple[Change, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    endpoint: str = ""
    unchanged: int = 0


def plan(
    vault: str,
    wanted: Mapping[str, Wanted],
    actual: Mapping[str, Actual],
    default_days: Mapping[str, int],
    managed: frozenset[str] = frozenset(),
    prune: bool = False,
) -> Plan:
    """The changes from what is there to what is wanted.

    `actual`: by name in lower case. `default_days`: the validity of each authority if the file does not say. `managed`:
    all certificates that CertRelay renews; those that are not in the file are left alone, or released with `prune`."""
    changes: list[Change] = []
    problems: list[str] = []
    unchanged = 0
    for name, one in wanted.items():
        found = actual.get(name.lower())
        if found is None and (one.issuer or "").lower() == "unknown":
            problems.append(f"{name}: it is not in the vault, and nobody issues it: import it, or name an authority")
            continue
        mine = [_create(one)] if found is None else list(_changes(one, found, default_days.get(one.authority or "")))
        unchanged += not mine
        changes += mine
    known = {name.lower() for name in wanted}
    extra = sorted(name for name in managed if name.lower() not in known)
    why = ("it is not in the file (--prune): CertRelay stops renewing it, nothing is deleted",)
    if prune:
        changes += [Change(Kind.RELEASE, name, why, "release_certificate", None) for name in extra]
        extra = []
    notes = tuple(f"{name}: CertRelay renews it, and it is not in the file; --prune releases it" for name in extra)
    return Plan(vault, tuple(changes), tuple(problems), notes, unchanged=unchanged)


def _create(wanted: Wanted) -> Change:
    why = (f"it does not exist; {wanted.authority or f'Key Vault ({wanted.issuer})'} issues it",)
    return Change(Kind.CREATE, wanted.name, why, "create_certificate", wanted.create_body(), wanted=wanted)


def _changes(wanted: Wanted, actual: Actual, default_days: int | None) -> Iterator[Change]:
    reasons = tuple(_reasons_for_a_new_version(wanted, actual))
    if reasons:
        body = wanted.create_body()
        yield Change(Kind.NEW_VERSION, wanted.name, reasons, "create_certificate", body, actual.version, wanted)
        return
    if (policy := policy_change(wanted, actual.policy)).body:
        why, body = tuple(policy.why), policy.body
        yield Change(Kind.POLICY, wanted.name, why, "update_certificate_policy", body, actual.version, wanted)
    if wanted.authority:
        yield from _renewal(wanted, actual, default_days)
    elif actual.authority:
        why = (f"the file names no authority; {actual.authority} renews it",)
        yield Change(Kind.RELEASE, wanted.name, why, "release_certificate", None, actual.version, wanted)
    if dict(wanted.tags) != dict(actual.tags):
        why = tuple(_differences(actual.tags, wanted.tags))
        body = {"tags": dict(wanted.tags)}
        yield Change(Kind.TAGS, wanted.name, why, "update_certificate", body, actual.version, wanted)
    if wanted.enabled != actual.enabled:
        why = (f"the newest version is {'enabled' if actual.enabled else 'disabled'}",)
        body = {"enabled": wanted.enabled}
        yield Change(Kind.ENABLED, wanted.name, why, "update_certificate", body, actual.version, wanted)


def _reasons_for_a_new_version(wanted: Wanted, actual: Actual) -> Iterator[str]:
    """What the newest version's certificate is not, and another policy or authority cannot make it."""
    if (wanted.issuer or "").lower() == "unknown":
        return  # an imported certificate stays what it is
    in_policy = _names_in(actual.policy)
    if actual.names is not None:
        yield from (f"the certificate lacks {name}" for name in sorted(wanted.names - actual.names))
        # An authority may add names by itself; those were never asked for.
        removed = (actual.names & in_policy) - wanted.names
        yield from (f"the certificate has {name}, which the file has not" for name in sorted(removed))
    if actual.key is not None and actual.key != keys.kind_and_size(wanted.key):
        yield f"the key is {'-'.join(map(str, actual.key))}, the file wants {wanted.key}"
    elif (actual.policy.get("key_props") or {}).get("crv") and wanted.key.startswith("RSA"):
        yield "the policy has a curve, which only a new one can take back"
    if wanted.authority and actual.authority and wanted.authority != actual.authority:
        yield f"authority {actual.authority} issues it, the file wants {wanted.authority}"
    if wanted.authority and actual.was_managed:
        yield "the newest version was made outside CertRelay"
    issuer = _issuer(actual.policy)
    if wanted.issuer and not actual.authority and issuer.lower() not in (wanted.issuer.lower(), ""):
        yield f"the issuer is {issuer}, the file wants {wanted.issuer}"


def _renewal(wanted: Wanted, actual: Actual, default_days: int | None) -> Iterator[Change]:
    """By which authority, when and for how long it is renewed: all of that is one `adopt`."""
    days = wanted.days or default_days
    body: dict[str, Any] = {"authority": wanted.authority}
    body |= {"validity_days": days} if days else {}
    body |= {"trigger": dict([wanted.trigger])} if wanted.trigger else {}
    if not actual.authority:
        why = [f"{wanted.authority} renews it from now on; it was created elsewhere"]
        yield Change(Kind.ADOPT, wanted.name, tuple(why), "adopt_certificate", body, actual.version, wanted)
        return
    why = []
    if wanted.trigger != actual.trigger:
        why.append(f"renew: {triggers.to_text(actual.trigger)} becomes {triggers.to_text(wanted.trigger)}")
    if days and days != actual.days:
        why.append(f"days: {actual.days or 'none'} becomes {days}")
    if _issuer(actual.policy).lower() not in ("unknown", ""):
        why.append(f"issuer: {_issuer(actual.policy)} becomes Unknown; Key Vault would renew it by itself")
    if why:
        # It is managed already, so `force` gives up nothing that its renewals would not lose anyway.
        body["force"] = True
        yield Change(Kind.POLICY, wanted.name, tuple(why), "adopt_certificate", body, actual.version, wanted)


def _issuer(policy: Mapping[str, Any]) -> str:
    return str((policy.get("issuer") or {}).get("name") or "")


def _names_in(policy: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for kind, values in sans_in(policy).items() if kind != "upns" for name in values)


def _differences(now: Mapping[str, str], then: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*now, *then}):
        if now.get(name) != then.get(name):
            yield f"{name}: {shown(now.get(name))} becomes {shown(then.get(name))}"
