"""From a file, or a saved plan, to a plan for what is there now: reads through the API, changes nothing."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from certrelay_cli.code import actual, checks, planner
from certrelay_cli.code.planner import Change, Kind, Plan
from certrelay_cli.code.threads import each
from certrelay_cli.code.wanted import Wanted
from certrelay_cli.inputs import Malformed, read_object
from certrelay_client import Client, NotFound

FORMAT = "certrelay-plan-1"


class _Saved(BaseModel):
    """A plan in a file."""

    endpoint: str
    vault: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """What the settings have. `vault`: the one of the file."""

    vault: Mapping[str, Any]
    authorities: Mapping[str, Mapping[str, Any]]

    @property
    def default_days(self) -> dict[str, int]:
        return {name: int(one["default_validity_days"]) for name, one in self.authorities.items()}


def service(client: Client, vault: str) -> Service:
    """Raises NotFound if there is no such vault."""
    vaults = {one["name"]: one for one in client.list_vaults()["value"]}
    if vault not in vaults:
        detail = f"there is no vault {vault!r}; there are: {', '.join(sorted(vaults)) or 'none'}"
        raise NotFound(404, {"detail": detail, "code": "VaultNotFound"})
    authorities = {one["name"]: cast("Mapping[str, Any]", one) for one in client.list_authorities()["value"]}
    return Service(cast("Mapping[str, Any]", vaults[vault]), authorities)


def fresh(
    client: Client,
    vault: str,
    wanted: Mapping[str, Wanted],
    *,
    prune: bool,
) -> Plan:
    """The plan for the file. With problems it has nothing else that counts. Raises ClientError."""
    known = service(client, vault)
    renewed = {name for name, one in wanted.items() if one.authority}
    there = actual.read(client, vault, wanted, renewed)
    managed = frozenset(actual.managed_names(client, vault))
    first = planner.plan(vault, wanted, there, known.default_days, managed, prune)
    faults = _faults(first, known)
    if faults:
        return Plan(vault, problems=first.problems + faults, endpoint=client.endpoint)
    ordered = [change.name for change in first.changes if change.orders]
    # An order that ends while this runs is either the last one that ended or has its certificate there, never neither.
    ended = _last_ended(client, vault, ordered)
    kept = there.keys() - {name.lower() for name in ordered}
    there = {name: there[name] for name in kept} | actual.read(client, vault, ordered, renewed)
    found = planner.plan(vault, wanted, there, known.default_days, managed, prune)
    faults = _faults(found, known)
    changes = tuple(_with_key(vault, one, ended) for one in found.changes)
    return replace(found, changes=changes, problems=found.problems + faults, endpoint=client.endpoint)


def _faults(plan: Plan, known: Service) -> tuple[str, ...]:
    """What the rules do not allow in what a plan writes; what stays as it is, is nobody's fault."""
    found: dict[str, None] = {}
    for change in plan.changes:
        if change.wanted is not None and change.kind not in (Kind.RELEASE, Kind.ENABLED):
            only_tags = change.kind is Kind.TAGS
            faults = checks.problems(change.wanted, known.vault, known.authorities, only_tags=only_tags)
            found |= dict.fromkeys(f"{change.name}: {fault}" for fault in faults)
        found |= dict.fromkeys(checks.endpoint_problems(change, known.vault["endpoints"]))
    return tuple(found)


def to_text(plan: Plan) -> str:
    """The plan as `load` reads it, for `apply`. It has no secrets."""
    changes = [change.to_json() for change in plan.changes]
    content = {"format": FORMAT, "endpoint": plan.endpoint, "vault": plan.vault, "changes": changes}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def load(file: Path) -> Plan:
    """A saved plan. Raises Malformed."""
    content = read_object(file)
    if content.get("format", FORMAT) != FORMAT:
        raise Malformed(file, [f"is a plan of another version: make it anew ({content['format']!r})"])
    try:
        found = _Saved.model_validate(content)
    except ValidationError:
        raise Malformed(file, ["is no plan: `certrelay plan --out` writes one"]) from None
    return Plan(found.vault, found.changes, endpoint=found.endpoint)


def saved(client: Client, plan: Plan) -> Plan:
    """What of a saved plan is still to be done.

    A change that is done is left out; one that no longer fits what is there is a problem: the plan is then too old.
    Raises Malformed, ClientError."""
    if plan.endpoint != client.endpoint:
        raise Malformed("the plan", [f"is for {plan.endpoint}, not for {client.endpoint}"])
    known = service(client, plan.vault)
    wanted = {change.name: change.wanted for change in plan.changes if change.wanted is not None}
    there = actual.read(client, plan.vault, wanted, {name for name, one in wanted.items() if one.authority})
    pruned = {change.name for change in plan.changes if change.wanted is None}
    managed = frozenset(pruned & actual.managed_names(client, plan.vault)) if pruned else frozenset()
    now = planner.plan(plan.vault, wanted, there, known.default_days, managed, prune=True)
    left: list[Change] = []
    problems = list(now.problems)
    for change in now.changes:
        match = next((one for one in plan.changes if one.same_as(change)), None)
        if match is None:
            problems.append(f"{change.name}: it was changed since the plan was made ({change.why[0]}); make a new plan")
        else:
            left.append(match)
    return replace(plan, changes=tuple(left), problems=tuple(problems), unchanged=len(plan.changes) - len(left))


def _with_key(vault: str, change: Change, ended: Mapping[str, str]) -> Change:
    """An order with its Idempotency-Key: the same for the same plan, another one after a failed order."""
    if not change.orders:
        return change
    text = json.dumps([vault, change.name, change.body, change.base, ended.get(change.name, "")], sort_keys=True)
    return replace(change, key=hashlib.sha256(text.encode()).hexdigest())


def _last_ended(client: Client, vault: str, names: Iterable[str]) -> dict[str, str]:
    """The id of the operation of each certificate that ended last; none for some."""

    def one(name: str) -> tuple[str, str]:
        try:
            latest = client.get_certificate_operation(vault, name)
        except NotFound:
            return name, ""
        if latest["status"] != "inProgress":
            return name, latest["id"]
        ended = client.get_certificate_history(vault, name)["value"]
        return name, ended[0]["id"] if ended else ""

    return dict(each(one, names))
