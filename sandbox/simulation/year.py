"""Runs the simulation hour by hour: time passes, faults strike, timers, events and messages arrive or get lost."""

import heapq
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from certrelay.errors import CertRelayError, Conflict, NotReady
from certrelay.operations import reconcile
from certrelay.renewal import events, sweep
from certrelay.storage.operation import Kind, State
from sandbox.azurite import Azurite
from sandbox.simulation import owners
from sandbox.simulation.plan import DAY, HOUR, KEY_VAULT_FAULTS, STRUCK, Plan
from sandbox.simulation.promises import POLL, broken_at_the_end, broken_now
from sandbox.simulation.world import ALIAS, World

SETTLING = 4 * DAY
MAX_VIOLATIONS = 20
EVERY = 12  # hours between sweeps while nothing can be due
REPEATED = 24  # hours between owners who request what they have already


@dataclass(slots=True)
class Report:
    """What happened. `requests` to Key Vault per day; `renewals` by who signed; `ended` operations by state."""

    seed: int
    days: int
    certificates: int
    faults: Counter[str] = field(default_factory=Counter)
    renewals: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    requests: list[int] = field(default_factory=list)
    over_limit: int = 0
    sweeps: int = 0
    violations: list[str] = field(default_factory=list)


def simulate(
    plan: Plan, directory: Path, azurite: Azurite | None = None, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Run the plan and call `progress` every 30 days. Stops after MAX_VIOLATIONS broken promises."""
    with World(directory, plan, azurite) as world:
        year = _Year(world, plan)
        while world.now() < plan.begins + plan.days * DAY and len(year.report.violations) < MAX_VIOLATIONS:
            year.hour()
            passed = world.now() - plan.begins
            if passed % (30 * DAY) < HOUR:
                progress(f"day {passed // DAY} of {plan.days}: {len(year.report.violations)} broken promises")
        year.settle()
        return year.finished()


class _Year:
    def __init__(self, world: World, plan: Plan) -> None:
        self._world, self._plan, self._faulty = world, plan, True
        self._fleet = {planned.name: planned for planned in plan.fleet}
        self._unmade = set(self._fleet)
        self._again: list[dict[str, Any]] = []
        self._broken: list[str] = []  # in the last hour
        self._day = plan.begins
        self._counted = self._hours = 0
        self.report = Report(plan.seed, plan.days, len(plan.fleet), world.faults)

    def hour(self) -> None:
        """Let an hour pass, sweep if something may be due, and check the promises."""
        world, plan = self._world, self._plan
        until = world.now() + HOUR
        self._strike(world.now())
        self._create()
        self._pass_time(until)
        if self._hours % EVERY == 0 or self._due(world.now()):
            world.work(self._risk(), lambda: sweep.sweep(world.services))
            self.report.sweeps += 1
        if self._hours % REPEATED == 0:
            self._repeat()
        self._hours += 1
        self._deliver_events()
        if self._faulty and plan.chance.random() < plan.event_forged_an_hour:
            self._forge()
        broken = broken_now(world, self._fleet)
        new = [text for text in broken if text not in self._broken]
        self.report.violations += [f"{text} at {world.now().isoformat()}" for text in new]
        self._broken = broken
        self._count()

    def settle(self) -> None:
        """Stop all faults and run until nothing is open, for SETTLING at most."""
        self._faulty = False
        for authority in self._world.authorities.values():
            authority.outages, authority.lost_answers = (), 0.0
        until = self._world.now() + SETTLING
        while self._world.now() < until and (
            self._unmade or next(self._world.services.storage.worklist(), None) is not None
        ):
            self.hour()

    def finished(self) -> Report:
        """Complete and return the report with what the whole history shows."""
        report, world = self.report, self._world
        # Renewals that became due in the last hour are not late.
        while next(world.services.storage.worklist(), None) is not None and world.messages:
            self._pass_time(world.now() + POLL)
        report.violations += broken_at_the_end(world, self._fleet)
        for name in self._fleet:
            for operation in world.services.storage.ended(ALIAS, name):
                report.ended[operation.state] += 1
                if operation.kind is Kind.RENEW and operation.state is State.COMPLETED:
                    report.renewals[operation.authority or ""] += 1
        for authority in world.authorities.values():
            report.over_limit += authority.over_limit
            report.faults["authority's answer lost"] += authority.lost
            report.faults["authority called while down for 3 days"] += authority.requests_while_down
        return report

    # -- time -----------------------------------------------------------------------------------------------------

    def _pass_time(self, until: datetime) -> None:
        """Move the clock from message to message and from poll to poll."""
        world = self._world
        poll = world.now() + POLL
        while True:
            seen = world.messages[0][0] if world.messages else until
            moment = min(max(seen, world.now()), poll, until)
            world.set_clock(moment)
            self._deliver_events()
            while world.messages and world.messages[0][0] <= moment:
                _, _, name, identifier = heapq.heappop(world.messages)
                self._advance(name, identifier)
            if moment >= poll:
                if any(due <= moment for due in world.due.values()):
                    world.work(self._risk(), lambda: sweep.advance_due(world.services))
                poll += POLL
            if moment >= until:
                return

    def _advance(self, name: str, identifier: str) -> None:
        services = self._world.services
        try:
            self._world.work(self._risk(), lambda: reconcile.advance(services, ALIAS, name, identifier))
        except NotReady:
            return  # the real queue delivers again; here the poll finds the operation

    def _create(self) -> None:
        """Let the owners request their certificates until each exists."""
        world = self._world
        for name in sorted(self._unmade):
            planned = self._fleet[name]
            if owners.has(world, planned):
                self._unmade.discard(name)
            elif planned.starts <= world.now():
                try:
                    world.work(self._risk(), partial(owners.request, world, planned))
                except (Conflict, NotReady):
                    continue

    def _repeat(self) -> None:
        """Let an owner request its certificate once more, as one who has missed the response."""
        made = [name for name in sorted(self._fleet.keys() - self._unmade) if not self._fleet[name].adopted]
        if made:
            planned = self._fleet[made[self._hours // REPEATED % len(made)]]
            with suppress(Conflict, NotReady):
                self._world.work(self._risk(), partial(owners.request, self._world, planned))

    def _due(self, now: datetime) -> bool:
        """Whether any certificate without an open operation may be due; otherwise a sweep finds nothing."""
        for name in self._fleet.keys() - self._unmade - self._world.due.keys():
            certificate = self._world.server.vault.find(name)
            assert certificate is not None
            version = certificate.current
            begins, expires = (datetime.fromtimestamp(moment, UTC) for moment in (version.not_before, version.expires))
            if now >= self._fleet[name].earliest_renewal(begins, expires):
                return True
        return False

    # -- faults ---------------------------------------------------------------------------------------------------

    def _risk(self) -> float:
        return self._plan.worker_killed if self._faulty else 0.0

    def _strike(self, now: datetime) -> None:
        """Activate the faults of Key Vault for this hour."""
        faults, chance = self._world.server.faults, self._plan.chance
        faults.clear()
        if not self._faulty:
            return
        for window in self._plan.windows:
            if window.begin <= now < window.end:
                faults.add(**window.fault)
                self._world.faults[window.what] += 1
        if chance.random() < self._plan.key_vault_fault_an_hour:
            what, fault = chance.choice(KEY_VAULT_FAULTS)
            faults.add(**fault, operation=chance.choice(STRUCK), times=chance.randint(1, 4))
            self._world.faults[what] += 1

    def _deliver_events(self) -> None:
        """Deliver Key Vault's events. Some get lost or doubled; what the app cannot accept now is delivered again."""
        raised = self._world.server.feed.raised
        waiting: list[dict[str, Any]] = self._again
        self._again = []
        while raised:
            event, chance = raised.popleft(), self._plan.chance.random()
            if self._faulty and chance < self._plan.event_lost:
                self._world.faults["event lost"] += 1
                continue
            waiting.append(event)
            if self._faulty and chance > 1 - self._plan.event_doubled:
                self._world.faults["event doubled"] += 1
                waiting.append(event)
        for event in waiting:
            self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        services = self._world.services
        try:
            self._world.work(self._risk(), lambda: events.handle(services, str(event["eventType"]), event["data"]))
        except NotReady:
            self._again.append(event)
        except CertRelayError as error:
            self.report.violations.append(f"an event raised {error!r}")

    def _forge(self) -> None:
        name = self._plan.chance.choice(sorted(self._fleet))
        self._world.faults["event forged"] += 1
        data = {"Id": f"{self._world.server.url}/certificates/{name}/{'0' * 32}", "ObjectName": name, "EXP": 1}
        self._take({"eventType": self._plan.chance.choice((events.NEAR_EXPIRY, events.EXPIRED)), "data": data})

    def _count(self) -> None:
        world = self._world
        if world.now() - self._day < DAY - timedelta(minutes=1):
            return
        total = world.server.requests.total()
        self.report.requests.append(total - self._counted)
        self._day, self._counted = world.now(), total
