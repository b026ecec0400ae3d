"""The plan of a simulation: its certificates, and what fails when. It is drawn from one seed in advance."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.simulation.authority import WINDOW_BEGINS

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AUTHORITIES: dict[str, dict[str, Any]] = {
    "steady": {},
    "quick": {},
    "slow": {"wait_hours": 12, "concurrency": 5},
    "limited": {"orders_per_hour": 6, "rate": {"requests": 3, "seconds": 3600}},
    "renewal-info": {},
}
NEVER_DOWN = "steady"
OUTAGE, LATE = 3 * DAY, 2 * DAY
ADOPTED = 1 / 8
# Days of validity, the percentage of certificates that have it, and the renewal triggers (Key Vault's) to draw from.
# A certificate that must outlive an authority outage of 3 days is due more than 3 days before expiry.
MIX: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (6, 4, ("days_before_expiry=4",)),
    (30, 8, ("", "days_before_expiry=12")),
    (47, 12, ("", "lifetime_percentage=80")),
    (90, 25, ("", "lifetime_percentage=70", "days_before_expiry=20")),
    (100, 20, ("", "lifetime_percentage=80")),
    (200, 10, ("", "days_before_expiry=30", "lifetime_percentage=90")),
    (365, 13, ("", "days_before_expiry=30", "lifetime_percentage=80")),
    (730, 8, ("", "days_before_expiry=45")),
)
KEY_VAULT_FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Key Vault answers 429", {"status": 429}),
    ("Key Vault answers 503", {"status": 503}),
    ("Key Vault answers 500 after the effect", {"status": 500, "when": "after"}),
    ("Key Vault drops the connection", {"kind": "reset"}),
    ("Key Vault drops the connection after the effect", {"kind": "reset", "when": "after"}),
)
STRUCK = ("*", "*", "CreateCertificate", "MergeCertificate", "GetCertificateOperation", "GetCertificates")


@dataclass(frozen=True, slots=True)
class PlannedCertificate:
    """One certificate of the fleet. `trigger` as in Key Vault (`days_before_expiry=30`), "" is the default. If
    `adopted`, its owner imports it and has it adopted."""

    name: str
    days: int
    trigger: str
    authority: str
    starts: datetime
    adopted: bool = False

    def earliest_renewal(self, begins: datetime, expires: datetime) -> datetime:
        """The earliest time at which a version may be renewed, calculated independently of the code under test."""
        due = self._due(begins, expires)
        return min(due, begins + (expires - begins) * WINDOW_BEGINS) if self.authority == "renewal-info" else due

    def latest_renewal(self, begins: datetime, expires: datetime) -> datetime:
        """The latest time at which the first renewal of a version may be requested, however Key Vault fails meanwhile.

        An authority that is down delays no request, and one that gives renewal information makes it sooner."""
        due = self._due(begins, expires)
        return max(due, self.starts + DAY) + min((expires - due) / 2, LATE)

    def _due(self, begins: datetime, expires: datetime) -> datetime:
        lifetime = expires - begins
        kind, _, number = self.trigger.partition("=")
        left = lifetime / 3
        if kind == "days_before_expiry":
            left = int(number) * DAY
        elif kind == "lifetime_percentage":
            left = lifetime * (100 - int(number)) / 100
        return expires - min(left, lifetime * 2 / 3)


@dataclass(frozen=True, slots=True)
class Window:
    """A period in which Key Vault answers some requests with an error (`fault` as in `Faults.add`)."""

    begin: datetime
    end: datetime
    what: str
    fault: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan. Probabilities (0 to 1) are per worker, per event, per message or per hour.

    `fallback`: the fall-backs of authorities, by name."""

    seed: int
    begins: datetime
    days: int
    fleet: tuple[PlannedCertificate, ...]
    outages: Mapping[str, tuple[tuple[datetime, datetime], ...]]
    windows: tuple[Window, ...]
    fallback: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    worker_killed: float = 0.08
    event_lost: float = 0.3
    event_doubled: float = 0.2
    event_forged_an_hour: float = 0.05
    message_lost: float = 0.1
    message_doubled: float = 0.1
    answer_lost: float = 0.05
    key_vault_fault_an_hour: float = 0.05
    chance: random.Random = field(default_factory=random.Random)


def draw(seed: int, begins: datetime, days: int, certificates: int) -> Plan:
    """Draw the plan of this seed."""
    chance = random.Random(seed)  # noqa: S311 - it must be repeatable
    fleet = tuple(_planned(chance, number, certificates, begins, days) for number in range(certificates))
    outages = {name: tuple(_outages(chance, begins, days)) for name in AUTHORITIES if name != NEVER_DOWN}
    return Plan(seed, begins, days, fleet, outages, tuple(_windows(chance, begins, days)), chance=chance)


def _planned(chance: random.Random, number: int, count: int, begins: datetime, days: int) -> PlannedCertificate:
    share, position = 0, number * 100 / count
    validity, triggers = MIX[-1][0], MIX[-1][2]
    for candidate, percent, allowed in MIX:
        share += percent
        if position < share:
            validity, triggers = candidate, allowed
            break
    authority = chance.choice([name for name in AUTHORITIES if validity > 6 or name in ("quick", NEVER_DOWN)])
    trigger = "" if validity == 6 and authority == NEVER_DOWN else chance.choice(triggers)
    starts = begins + chance.uniform(0, min(days / 5, validity * 2 / 3)) * DAY
    return PlannedCertificate(f"sim-{number:05}", validity, trigger, authority, starts, chance.random() < ADOPTED)


def _outages(chance: random.Random, begins: datetime, days: int) -> list[tuple[datetime, datetime]]:
    found, day = [], chance.uniform(10, 30)
    while day < days:
        found.append((begins + day * DAY, begins + day * DAY + OUTAGE))
        day += chance.uniform(30, 90)
    return found


def _windows(chance: random.Random, begins: datetime, days: int) -> list[Window]:
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("Key Vault throttles creations for hours", {"operation": "CreateCertificate", "status": 429, "times": None}),
        ("Key Vault is down for hours", {"operation": "*", "status": 503, "times": None}),
    )
    found = []
    for what, fault in kinds:
        day = chance.uniform(2, 12)
        while day < days:
            begin = begins + day * DAY
            found.append(Window(begin, begin + chance.uniform(1, 6) * HOUR, what, fault))
            day += chance.uniform(7, 30)
    return found
