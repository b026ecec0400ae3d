"""The promises of the app, and which of them are broken."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from certrelay.operations.lease import LEASE
from certrelay.storage.operation import Kind, Operation, State
from sandbox.simulation.plan import PlannedCertificate
from sandbox.simulation.world import ALIAS, World
from sandbox.vault.model import Version

POLL = timedelta(minutes=10)
TOLERANCE = timedelta(minutes=5)  # for whole seconds and backdated validity


def _latest_end(operation: Operation) -> datetime:
    """The latest time at which the operation may end: two polls after its deadline, and a lease and a poll more for
    each worker that died holding it."""
    return operation.deadline + POLL + (LEASE + POLL) * (operation.crashes + 1)


def broken_now(world: World, fleet: dict[str, PlannedCertificate]) -> list[str]:
    """The promises broken at this moment: expired certificates, operations past their deadline."""
    now, found = world.now(), []
    for name in fleet:
        certificate = world.server.vault.find(name)
        if certificate and certificate.completed and certificate.current.expires <= now.timestamp():
            found.append(f"{name} ({fleet[name].authority}, {fleet[name].days} days) expired")
    for entry in world.services.storage.worklist() if world.due else ():
        operation = world.services.storage.open(entry.vault, entry.name)
        if operation is not None and now > _latest_end(operation):
            found.append(f"{operation.id} is {operation.state}, past its deadline {operation.deadline.isoformat()}")
    return found


def broken_at_the_end(world: World, fleet: dict[str, PlannedCertificate]) -> list[str]:
    """The promises broken over the whole time, by the history and the vault's versions."""
    found = []
    for name, planned in fleet.items():
        found += _broken_of(world, name, planned)
    found += [f"{entry.id} is still open ({entry.state})" for entry in world.services.storage.worklist()]
    return found


def _late(
    planned: PlannedCertificate, made: Mapping[str, Version], ended: list[Operation], now: datetime
) -> Iterator[str]:
    """Each version whose renewal was requested too late, or was not."""
    for identifier, version in made.items():
        begins, expires = (datetime.fromtimestamp(moment, UTC) for moment in (version.not_before, version.expires))
        latest = planned.latest_renewal(begins, expires)
        first = min((operation.requested_at for operation in ended if operation.replaces == identifier), default=now)
        if first > latest:
            yield f"version {identifier} was due by {latest.isoformat()}, and its renewal was not requested by then"


def _broken_of(world: World, name: str, planned: PlannedCertificate) -> list[str]:
    certificate = world.server.vault.find(name)
    made = {version.id: version for version in certificate.versions if version.certificate} if certificate else {}
    ended = list(world.services.storage.ended(ALIAS, name))
    completed = [operation for operation in ended if operation.state is State.COMPLETED]
    found = [] if made else [f"{name} was never created"]
    late = [operation for operation in ended if operation.ended_at and operation.ended_at > _latest_end(operation)]
    found += [f"{operation.id} ended past its deadline {operation.deadline.isoformat()}" for operation in late]
    found += [f"{name}: {text}" for text in _late(planned, made, ended, world.now())]
    created = [operation.id for operation in completed if operation.kind is Kind.CREATE]
    if len(created) > 1:
        found.append(f"{name} was created {len(created)} times, by the same request: {created}")
    imported = [certificate.versions[0].id] if certificate and planned.adopted else []
    said = sorted([operation.version for operation in completed] + imported)
    if said != sorted(made):
        found.append(f"{name} has {len(made)} versions, and {len(said)} operations completed: {said} {sorted(made)}")
    renewed: set[str] = set()
    for operation in completed:
        if operation.kind is not Kind.RENEW:
            continue
        if operation.replaces in renewed:
            found.append(f"{name}: version {operation.replaces} was renewed twice")
        renewed.add(operation.replaces)
        old = made.get(operation.replaces)
        if old is None:
            found.append(f"{name}: {operation.id} renewed a version that does not exist")
            continue
        begins, expires = (datetime.fromtimestamp(moment, UTC) for moment in (old.not_before, old.expires))
        if operation.requested_at < planned.earliest_renewal(begins, expires) - TOLERANCE:
            found.append(
                f"{name}: {operation.id} was started at {operation.requested_at.isoformat()}, before it was due"
            )
        if operation.ended_at and operation.ended_at >= expires:
            found.append(f"{name}: version {operation.replaces} expired before {operation.id} replaced it")
    return found
