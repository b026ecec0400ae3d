"""What the timers run: the work, a record of how it went, and then the watch over the others."""

import functools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

from certrelay import authorities, telemetry
from certrelay.errors import NotReady
from certrelay.log import logger
from certrelay.renewal import digest as renewal_digest
from certrelay.renewal import sweep as renewal_sweep
from certrelay.renewal.endpoints import State
from certrelay.renewal.sweep import Swept
from certrelay.services import Services
from certrelay.setting_models import ServiceEvent
from certrelay.storage.ledger import QUEUES
from certrelay.storage.watch import told_of
from certrelay.watch import poison, watchmen

MAX_NAMES = 100  # in the record of a sweep
INCIDENTS = [kind for kind in get_args(ServiceEvent) if kind != "recovered"]

log = logger("watch")


def poll(services: Services) -> int:
    """Advance the operations that are due, then the replacements; returns how many were due. Raises NotReady."""
    try:
        return _run(services, "poll", renewal_sweep.advance_due, lambda due: {"due": due})
    finally:
        _watch(services, _after_poll)


def sweep(services: Services) -> Swept:
    """Start the renewals that are due. Raises NotReady."""
    swept: Swept | None = None
    try:
        swept = _run(services, "sweep", renewal_sweep.sweep, _of_sweep)
        _measure(services, swept)
        return swept
    finally:
        _watch(services, functools.partial(_after_sweep, swept=swept))


def digest(services: Services) -> dict[str, Any]:
    """Send the daily digest; returns its numbers. Raises NotReady."""
    try:
        return _run(services, "digest", renewal_digest.send_digest, lambda counted: counted)
    finally:
        _watch(services, _after_digest)


def publish_crls(services: Services) -> list[str]:
    """Publish the CRLs of the authorities that issue their own; returns their names."""
    return _run(services, "crl", authorities.publish_crls, lambda names: {"published": names})


def _run[Result](
    services: Services, name: str, work: Callable[[Services], Result], told: Callable[[Result], Any]
) -> Result:
    begun = services.now()
    try:
        with telemetry.span(f"timer {name}", {}):
            result = work(services)
    except Exception as error:
        _record(services, name, {"begun_at": begun.isoformat(), "ok": "false", "detail": type(error).__name__})
        raise
    columns = {"begun_at": begun.isoformat(), "ok": "true", "detail": json.dumps(told(result))}
    _record(services, name, columns | {"succeeded_at": services.now().isoformat()})
    return result


def _record(services: Services, name: str, columns: dict[str, str]) -> None:
    try:
        services.storage.watch.merge("run", name, {**columns, "ended_at": services.now().isoformat()})
    except NotReady as error:
        log.warning("the run of %s could not be recorded: %s", name, error)


def _watch(services: Services, watch: Callable[[Services], None]) -> None:
    """The watch never fails the work: a timer that fails is tried no sooner."""
    try:
        watch(services)
    except NotReady as error:
        log.warning("the watch continues in the next run: %s", error)
    except Exception:
        log.exception("the watch failed")


def _after_poll(services: Services) -> None:
    poison.drain(services)
    rows = services.storage.watch.all()
    poison.forget_old_attempts(services, rows["attempt"])
    for queue in QUEUES:
        count = sum(row.get("queue") == queue for row in rows["poison"].values())
        telemetry.poison_messages.set(count, {"queue": queue})
    told = Counter(key.partition("|")[0] for key in told_of(rows["incident"]))
    for kind in INCIDENTS:
        telemetry.incidents.set(told[kind], {"event": kind})
    watchmen.after_poll(services, rows)


def _after_sweep(services: Services, swept: Swept | None) -> None:
    rows = services.storage.watch.all()
    if swept is None:
        watchmen.watch_timer(services, rows, "poll")
    else:
        watchmen.after_sweep(services, rows, swept)


def _after_digest(services: Services) -> None:
    rows = services.storage.watch.all()
    for name in watchmen.SCHEDULE:
        watchmen.watch_timer(services, rows, name)


def _measure(services: Services, swept: Swept) -> None:
    """How many certificates of each authority are due, and how many of them late; what the endpoints serve, if any may
    be looked at."""
    for authority in services.settings.authorities:
        late = swept.states[authority, "expiring"] + swept.states[authority, "expired"]
        telemetry.renewals_due.set(swept.states[authority, "due"] + late, {"authority": authority})
        telemetry.renewals_late.set(late, {"authority": authority})
    for state in State if services.settings.endpoints else ():
        telemetry.endpoints.set(swept.endpoints[state], {"state": str(state)})


def _of_sweep(swept: Swept) -> dict[str, Any]:
    return {
        "looked_at": swept.looked_at,
        "started": len(swept.started),
        "refused": len(swept.refused),
        "unreadable_vaults": sorted(swept.unreadable),
        "endpoints": dict(sorted(swept.endpoints.items())),
        "not_deployed": sorted(swept.not_deployed)[:MAX_NAMES],
        "skipped_vaults": sorted(swept.skipped),
        "certificates": [[authority, state, count] for (authority, state), count in sorted(swept.states.items())],
    }
