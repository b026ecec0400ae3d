"""The watchmen: poll and sweep watch each other, and both watch what they meet. The daily digest watches both.

Each finding is one incident (certrelay.notifications.incidents): told once, and once more when it is over.
"""

import itertools
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from certrelay.connectors.base import ChecksHealth
from certrelay.errors import CertRelayError
from certrelay.log import logger
from certrelay.notifications import incidents
from certrelay.notifications.incidents import Incident
from certrelay.renewal.sweep import Swept
from certrelay.schedules import late_at
from certrelay.services import Services
from certrelay.storage.ledger import FailingOperation
from certrelay.storage.rows import CLOCK_SKEW, Row
from certrelay.storage.watch import incident_key, time_of

AUTHORITY_PATIENCE = timedelta(minutes=10)
VAULT_PATIENCE = timedelta(minutes=30)  # so that the second hourly sweep tells; a missing role is told at once
MOST_ASKED = 2  # vaults
MAX_CLOCK_ERROR = timedelta(minutes=5)
SCHEDULE = {"poll": "CERTRELAY_POLL_SCHEDULE", "sweep": "CERTRELAY_SWEEP_SCHEDULE"}
FUNCTION = {"poll": "poll_operations", "sweep": "sweep_certificates"}

log = logger("watch")

type Rows = Mapping[str, dict[str, Row]]


def after_poll(services: Services, rows: Rows) -> None:
    """The poll's watch: the sweep, authorities, missing roles, poison messages. `rows`: of Watch.all. NotReady."""
    failing = services.storage.failing()
    watch_timer(services, rows, "sweep")
    _authorities(services, rows, failing)
    for vault, error in _forbidden(failing).items():
        incidents.report(services, _unreadable(vault, error, timedelta(0)))
    _poison(services, rows)


def after_sweep(services: Services, rows: Rows, swept: Swept) -> None:
    """The sweep's watch: the vaults, the clock, and the poll if the clock is right. Raises NotReady."""
    _vaults(services, rows, swept)
    if _clock(services, rows, swept):
        watch_timer(services, rows, "poll")


def watch_timer(services: Services, rows: Rows, name: str) -> None:
    """Report a timer (`poll` or `sweep`) whose last success is too long ago for its schedule. Raises NotReady."""
    now, run = services.now(), rows["run"].get(name, {})
    last = time_of(run, "succeeded_at") or time_of(run, "expected_since")
    if last is None or last > now + CLOCK_SKEW:  # never seen, or written by a worker whose clock was wrong
        services.storage.watch.merge("run", name, {"expected_since": now.isoformat(), "succeeded_at": ""})
        return
    late = late_at(services.settings.schedules[SCHEDULE[name]], last)
    if late is None or now < late:
        _over(services, rows, f"{name}-late", {name})
        return
    if abs(error := _clock_error(services)) > MAX_CLOCK_ERROR:  # then the clock is wrong, and not the timer late
        _report_clock(services, error)
        return
    ran = f"it last ended well at {last.isoformat(timespec='seconds')}" if run.get("succeeded_at") else "it never ran"
    how = f", and failed since ({run['detail']})" if run.get("ok") == "false" else ""
    what = "nothing is renewed" if name == "sweep" else "waiting operations do not go on"
    next_step = (
        f"look at the function {FUNCTION[name]} in the log and whether it is enabled, check {SCHEDULE[name]}, "
        "and restart the app"
    )
    incidents.report(services, Incident(f"{name}-late", name, f"{ran}{how}; {what}", next_step))


def _authorities(services: Services, rows: Rows, failing: list[FailingOperation]) -> None:
    """An authority is down when operations fail because of it, and it has issued nothing since for ten minutes."""
    last_words: dict[str, str] = {}
    waiting: Counter[str] = Counter()
    for operation in failing:
        answered = time_of(rows["answered"].get(operation.authority), "at")
        is_old = answered is not None and operation.at is not None and operation.at <= answered
        if operation.code == "AuthorityUnavailable" and not is_old:
            waiting[operation.authority] += 1
            last_words[operation.authority] = operation.message
    for authority, count in waiting.items():
        text = f"it has issued nothing since, and {count} operations wait; the last error: {last_words[authority]}"
        next_step = (
            "check GET /api/health/ready and the authority's own status; waiting operations go on by themselves when "
            "it answers, until their deadlines"
        )
        incidents.report(services, Incident("authority-down", authority, text, next_step, AUTHORITY_PATIENCE))
    calm = _subjects(rows, "authority-down") - waiting.keys()
    _over(services, rows, "authority-down", {name for name in calm if _is_back(services, rows, name)})


def _is_back(services: Services, rows: Rows, authority: str) -> bool:
    """Whether an authority for which nothing waits any more issued since, or answers; what timed out proves nothing."""
    row = rows["incident"][incident_key("authority-down", authority)]
    since, answered = time_of(row, "since"), time_of(rows["answered"].get(authority), "at")
    if not row.get("told") or authority not in services.settings.authorities or since is None:
        return True
    if answered is not None and answered > since:
        return True
    try:
        connector = services.connector(authority)
        if isinstance(connector, ChecksHealth):
            connector.check()
            return True
    except Exception as error:  # whatever a connector raises, it does not answer
        log.info("%s does not answer: %s", authority, type(error).__name__)
    return False


def _forbidden(failing: list[FailingOperation]) -> dict[str, str]:
    return {operation.vault: operation.message for operation in failing if operation.code == "VaultForbidden"}


def _unreadable(vault: str, error: str, patience: timedelta) -> Incident:
    next_step = (
        "assign the missing role or open the network, then GET /api/doctor; the next sweep renews what is due by itself"
    )
    return Incident("vault-unreadable", vault, error, next_step, patience)


def _vaults(services: Services, rows: Rows, swept: Swept) -> None:
    wrong = {vault: (error, timedelta(0)) for vault, error in _forbidden(services.storage.failing()).items()}
    for vault, error in swept.unreadable.items():
        is_final = error.code in ("VaultForbidden", "KeyVaultUnauthorized")
        wrong[vault] = (str(error), timedelta(0) if is_final else VAULT_PATIENCE)
    for vault, (detail, patience) in wrong.items():
        incidents.report(services, _unreadable(vault, detail, patience))
    unread = services.settings.vaults.keys() - swept.clock_ahead.keys()  # a sweep that is short of time reads no list
    _over(services, rows, "vault-unreadable", _subjects(rows, "vault-unreadable") - wrong.keys() - unread)


def _clock(services: Services, rows: Rows, swept: Swept) -> bool:
    """Compare the app's clock with Key Vault's; returns whether it is right. All vaults must agree that it is not."""
    errors = list(swept.clock_ahead.values())
    if errors and all(abs(error) > MAX_CLOCK_ERROR for error in errors):
        _report_clock(services, errors[0])
        return False
    if errors:
        _over(services, rows, "clock-wrong", {"clock"})
    return True


def _report_clock(services: Services, error: timedelta) -> None:
    minutes = round(error.total_seconds() / 60)
    text = f"it is {abs(minutes)} minutes {'ahead of' if minutes > 0 else 'behind'} Key Vault's"
    next_step = "restart the app, so that it gets another machine; renewals and leases follow this clock"
    incidents.report(services, Incident("clock-wrong", "clock", text, next_step))


def _clock_error(services: Services) -> timedelta:
    """How far the app's clock is ahead of Key Vault's: one request; zero if none of a few vaults answers.

    One that is down takes half a minute, and the timer has five."""
    for alias in itertools.islice(services.settings.vaults, MOST_ASKED):
        vault = services.vault(alias)
        with suppress(CertRelayError):
            vault.call("GET", "/certificates?maxresults=1")
        if vault.date is not None:
            return services.now() - vault.date
    return timedelta(0)


def _poison(services: Services, rows: Rows) -> None:
    queues = Counter(str(row.get("queue")) for row in rows["poison"].values())
    for queue, count in queues.items():
        reason = next(row.get("reason") for row in rows["poison"].values() if str(row.get("queue")) == queue)
        text = f"{count} messages could not be processed; one of the reasons: {reason}"
        next_step = "GET /api/poison lists them; put each back when its cause is gone, or drop it"
        incidents.report(services, Incident("poison", queue, text, next_step))
    _over(services, rows, "poison", _subjects(rows, "poison") - queues.keys())


def _subjects(rows: Rows, kind: str) -> set[str]:
    """The subjects of all incidents of this kind, told or not."""
    return {key.partition("|")[2] for key in rows["incident"] if key.startswith(f"{kind}|")}


def _over(services: Services, rows: Rows, kind: str, subjects: set[str]) -> None:
    for subject in sorted(subjects):
        if (row := rows["incident"].get(incident_key(kind, subject))) is not None:
            incidents.over(services, kind, subject, row)
