"""What is promised, and whether it was kept."""

from datetime import UTC, datetime, timedelta

from certrelay.operations.lease import LEASE
from certrelay.storage.operation import Kind, Operation, State
from sandbox.simulation.plan import Wanted
from sandbox.simulation.world import ALIAS, World

POLL = timedelta(minutes=10)
TOLERANCE = timedelta(minutes=5)  # whole seconds, back-dated beginnings


def _latest_end(operation: Operation) -> datetime:
    """Two polls after the deadline. A worker that died has the row until its lease runs out, and the poll after that
    goes on; those before the last one are counted in the row."""
    return operation.deadline + POLL + (LEASE + POLL) * (operation.crashes + 1)


def broken_now(world: World, fleet: dict[str, Wanted]) -> list[str]:
    """What is broken at this moment: a certificate that expired, an operation past its deadline."""
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


def broken_at_the_end(world: World, fleet: dict[str, Wanted]) -> list[str]:
    """What the history and the vault's versions say about the whole time."""
    found = []
    for name, wanted in fleet.items():
        found += _broken_of(world, name, wanted)
    found += [f"{entry.id} is still open ({entry.state})" for entry in world.services.storage.worklist()]
    return found


def _broken_of(world: World, name: str, wanted: Wanted) -> list[str]:
    certificate = world.server.vault.find(name)
    made = {version.id: version for version in certificate.versions if version.certificate} if certificate else {}
    ended = list(world.services.storage.ended(ALIAS, name))
    completed = [one for one in ended if one.state is State.COMPLETED]
    found = [] if made else [f"{name} was never made"]
    late = [one for one in ended if one.ended_at and one.ended_at > _latest_end(one)]
    found += [f"{one.id} ended past its deadline {one.deadline.isoformat()}" for one in late]
    brought = [certificate.versions[0].id] if certificate and wanted.adopted else []
    said = sorted([one.version for one in completed] + brought)
    if said != sorted(made):
        found.append(f"{name} has {len(made)} versions, and {len(said)} operations completed: {said} {sorted(made)}")
    renewed: set[str] = set()
    for one in completed:
        if one.kind is not Kind.RENEW:
            continue
        if one.replaces in renewed:
            found.append(f"{name}: version {one.replaces} was renewed twice")
        renewed.add(one.replaces)
        old = made.get(one.replaces)
        if old is None:
            found.append(f"{name}: {one.id} renewed a version that is not there")
            continue
        begins, expires = (datetime.fromtimestamp(moment, UTC) for moment in (old.not_before, old.expires))
        if one.requested_at < wanted.earliest_renewal(begins, expires) - TOLERANCE:
            found.append(f"{name}: {one.id} was started at {one.requested_at.isoformat()}, before it was due")
        if one.ended_at and one.ended_at >= expires:
            found.append(f"{name}: version {one.replaces} expired before {one.id} replaced it")
    return found
