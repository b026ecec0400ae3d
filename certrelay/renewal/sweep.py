"""The work of the timers: advance the operations that are due, and renew the certificates that are due.

A vault of N certificates costs ⌈N/25⌉ requests to Key Vault when nothing is due, since the list has dates and tags;
one while its certificates can wait (certrelay.renewal.next_read).
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certrelay import telemetry
from certrelay.errors import Booked, CertRelayError, NotDue, NotReady, VaultForbidden
from certrelay.keyvault.certificate import CertificateItem
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.operations import intervene, reconcile
from certrelay.operations.submit import Origin
from certrelay.renewal import alerts, looks, renew, renewal_info, replacement_run, two_writes
from certrelay.renewal.due import can_wait, due_of, is_renewed
from certrelay.renewal.next_read import LONGEST_REST, is_quiet
from certrelay.renewal.renewal_info import Inquiry
from certrelay.renewal.sweep_alerts import SweepAlerts
from certrelay.renewal.vault_list import VaultList, in_blocks, period_of
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

# functionTimeout is five minutes; the last operation of a poll, and then the replacements, may take a minute each.
# The other three, and LOOKING_BUDGET, count from the start of a sweep.
SCHEDULE = "CERTRELAY_SWEEP_SCHEDULE"
POLL_BUDGET, LISTING_BUDGET, STARTING_BUDGET, ASKING_BUDGET = (timedelta(minutes=m) for m in (2, 3, 4, 4.5))
LOOKING_BUDGET, LONGEST_LOOKING = timedelta(minutes=4), timedelta(minutes=1)
PATIENCE = 3  # failures in a row after which a vault that is not ready is left to the next sweep

log = logger("sweep")


@dataclass(slots=True)
class Swept:
    """What one sweep did.

    `looked_at`: number of certificates. `started`: renewals started (`vault/name`). `refused`: renewals and vaults that
    failed (`vault/name: reason` or `vault: reason`). `asked`: number of requests for renewal information. `unreadable`:
    by vault, why it could not be read, or that the app may not renew there. `states`: number of certificates by
    authority ("" for none) and state. `clock_ahead`: by vault that was read, how far the app's
    clock is ahead of Key Vault's. `endpoints`: number of certificates by the state of their endpoint. `not_deployed`:
    those whose endpoint does not serve the newest version (`vault/name`). `skipped`: vaults whose lists can wait."""

    looked_at: int = 0
    started: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    asked: int = 0
    unreadable: dict[str, CertRelayError] = field(default_factory=dict)
    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    clock_ahead: dict[str, timedelta] = field(default_factory=dict)
    endpoints: Counter[str] = field(default_factory=Counter)
    not_deployed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    expires: datetime
    vault: str
    name: str
    reason: str = field(compare=False)
    authority: str = field(compare=False)
    can_wait: bool = field(compare=False)
    record: RenewalRecord = field(compare=False)


def advance_due(services: Services) -> int:
    """Advance all open operations that are due, longest due first, then the replacements.

    Returns how many operations were due. One that crashes does not stop the others; what a run has no time for is left
    to the next one. Raises NotReady when the ledger cannot be read."""
    begun = services.now()
    worklist = sorted(services.storage.worklist(begun), key=lambda entry: entry.next_attempt_at)
    telemetry.queue_age.set((begun - worklist[0].next_attempt_at).total_seconds() if worklist else 0)
    for entry in worklist:
        if services.now() - begun > POLL_BUDGET:
            log.warning("%d operations are due, too many for one run; the next run continues", len(worklist))
            break
        try:
            reconcile.advance(services, entry.vault, entry.name, entry.id)
        except Exception:
            with about(operation=entry.id):
                log.exception("the operation could not be advanced")
    replacement_run.advance_all(services)
    return len(worklist)


def sweep(services: Services) -> Swept:
    """Start the renewals that are due, soonest expiry first, at most one batch (`renewal_batch`) a run.

    Then fetch renewal information (RFC 9773) from the authorities that offer it, for the certificates whose information
    is oldest, and start the renewals that it makes due."""
    return _Sweep(services).run()


class _Sweep:
    def __init__(self, services: Services) -> None:
        self._services, self._begun = services, services.now()
        self._period = period_of(services.settings.schedules[SCHEDULE], self._begun)
        self._lists: dict[str, VaultList] = {}
        self._batch = self._left = services.settings.renewal_batch
        self._open = {(entry.vault, entry.name.lower()): entry for entry in services.storage.worklist()}
        self._inquiries: list[Inquiry] = []
        self._trouble: Counter[str] = Counter()
        self._booked: set[tuple[str, str]] = set()
        self._looks = looks.Looks(services)
        self._swept = Swept(endpoints=self._looks.states, not_deployed=self._looks.not_deployed)
        self._alerts = SweepAlerts(services, self._begun + LISTING_BUDGET)

    def run(self) -> Swept:
        # A batch of each vault, so that an unusable vault does not take up the batch of the others.
        batches = [heapq.nsmallest(self._batch, self._due_in(alias)) for alias in self._vaults()]
        self._alerts.send_together()
        for due in heapq.merge(*batches):
            self._renew(due)
        self._looks.run(min(self._services.now() + LONGEST_LOOKING, self._begun + LOOKING_BUDGET))
        self._ask()
        for listed in self._lists.values():
            listed.save()
        return self._swept

    def _vaults(self) -> list[str]:
        """In random order: if the lists take too long, no vault is left out for ever."""
        aliases = list(self._services.settings.vaults)
        return self._services.jitter.sample(aliases, len(aliases))

    def _time_is_up(self, budget: timedelta) -> bool:
        return self._services.now() - self._begun > budget

    def _due_in(self, alias: str) -> Iterator[_Due]:
        listed = None
        try:
            listed = self._lists[alias] = VaultList(self._services, alias, self._begun, self._period)
            if not listed.due:
                if not self._time_is_up(LISTING_BUDGET):  # a vault that is down takes half a minute to say so
                    listed.check()
                    self._swept.skipped.append(alias)
                return
            for block in in_blocks(listed.pages(self._begun + LISTING_BUDGET)):
                self._swept.looked_at += len(block)
                self._looks.collect(alias, block)
                yield from self._due_in_block(alias, block)
        except CertRelayError as error:  # one vault that is down or forbidden must not stop the others
            self._refused(alias, str(error))
            self._swept.unreadable[alias] = error
            with about(vault=alias):
                log.error("the vault cannot be swept now: %s", error)
        finally:
            if listed is not None:
                self._swept.states.update(listed.states)
                if listed.clock_ahead is not None:
                    self._swept.clock_ahead[alias] = listed.clock_ahead

    def _due_in_block(self, alias: str, block: list[CertificateItem]) -> Iterator[_Due]:
        now, states = self._services.now(), self._lists[alias].states
        watched = [item.name for item in block if is_renewed(item) or alerts.stage(item, now)]
        records = self._services.storage.renewals.records(alias, watched)
        for item in block:
            record, authority = records.get(item.name.lower()), authority_of(item.tags) or ""
            suggests = renewal_info.suggests(self._services, (record and record.signer) or authority)
            if is_quiet(item, record, suggests, now + LONGEST_REST):
                states[authority, "valid" if item.enabled else "disabled"] += 1
            else:
                states[authority, alerts.state(item, now)] += 1
                yield from self._due_now(alias, item, record or RenewalRecord(alias, item.name))
        if len(self._inquiries) > 10 * self._batch:
            self._inquiries = heapq.nsmallest(self._batch, self._inquiries)

    def _due_now(self, alias: str, item: CertificateItem, saved: RenewalRecord) -> Iterator[_Due]:
        """The certificate if it is due now; else it is noted when it is, or that its authority is to be asked."""
        services, now, listed = self._services, self._services.now(), self._lists[alias]
        record = self._up_to_date(alias, item, saved)
        listed.saw(item, record)
        due, operation = _due(item, record, now), self._open.get((alias, item.name.lower()))
        if operation is not None:
            if due is not None and operation.next_attempt_at - now > (due.expires - now) / 2:
                intervene.expedite(services, operation)
        elif due is not None:
            listed.unsettled += 1
            yield due
        elif (inquiry := renewal_info.inquiry(services, item, record)) is not None:
            listed.unsettled += 1
            self._inquiries.append(inquiry)

    def _up_to_date(self, alias: str, item: CertificateItem, saved: RenewalRecord) -> RenewalRecord:
        """The record, about the newest version, with its change finished and its alert sent if that can be done now."""
        record = saved.about(item.thumbprint)
        if saved.thumbprint not in ("", record.thumbprint):
            self._services.storage.renewals.save(record, saved)
        record = self._alerts.send(alias, item, self._finished(item, record))
        if record.unfinished or alerts.unsent(item, record, self._services.now()):
            self._lists[alias].unsettled += 1
        return record

    def _finished(self, item: CertificateItem, record: RenewalRecord) -> RenewalRecord:
        """Finish a change of tags and policy that was cut off; until Key Vault answers, that stops nothing else."""
        try:
            return two_writes.finish(self._services, record, item.tags) if record.unfinished else record
        except NotReady as error:
            with about(vault=record.vault, certificate=item.name):
                log.warning("a change that was cut off cannot be finished now: %s", error)
            return record

    def _ask(self) -> None:
        """Fetch renewal information, and renew what is due by it."""
        inquiries = heapq.nsmallest(self._batch, self._inquiries)
        for item, record in renewal_info.ask(self._services, inquiries, self._begun + ASKING_BUDGET):
            self._swept.asked += 1
            self._lists[record.vault].unsettled -= 1
            self._lists[record.vault].saw(item, record)
            if (due := _due(item, record, self._services.now())) is not None:
                self._lists[record.vault].unsettled += 1
                self._renew(due)

    def _renew(self, due: _Due) -> None:
        if not self._left or self._trouble[due.vault] >= PATIENCE or self._time_is_up(STARTING_BUDGET):
            return
        if due.can_wait and (due.vault, due.authority) in self._booked:
            return
        self._left -= 1
        self._lists[due.vault].unsettled -= 1
        try:
            renew.renew_if_due(self._services, due.vault, due.name, Origin(requested_by="sweep", reason=due.reason))
            self._swept.started.append(f"{due.vault}/{due.name}")
            self._trouble[due.vault] = 0
        except NotDue:
            return
        except Booked as error:
            self._postpone(due, error)
        except CertRelayError as error:
            self._refused(f"{due.vault}/{due.name}", str(error))
            with about(vault=due.vault, certificate=due.name):
                log.error("the certificate is due but cannot be renewed: %s", error)
            self._back_off(due, str(error))
            if isinstance(error, VaultForbidden):
                self._swept.unreadable.setdefault(due.vault, error)
            self._trouble[due.vault] += isinstance(error, NotReady)
        except Exception as error:  # a bug that one certificate triggers must not stop the others
            self._refused(f"{due.vault}/{due.name}", type(error).__name__)
            with about(vault=due.vault, certificate=due.name):
                log.exception("the certificate is due but could not be renewed")
            self._back_off(due, f"an unexpected {type(error).__name__}; the log has more")

    def _postpone(self, due: _Due, error: Booked) -> None:
        self._lists[due.vault].unsettled += 1
        if due.can_wait:
            with about(vault=due.vault, authority=due.authority):
                log.info("%s; the next sweep tries again, also for all others that can wait", error)
            self._booked.add((due.vault, due.authority))
            self._left += 1

    def _back_off(self, due: _Due, why: str) -> None:
        """Let the next sweeps skip a certificate that cannot be renewed, so that such certificates starve no others."""
        backed_off = due.record.backed_off(due.record.failures + 1, why, self._services.now(), due.expires)
        try:
            self._services.storage.renewals.save(backed_off, due.record)
        except NotReady as error:
            with about(vault=due.vault, certificate=due.name):
                log.warning("the back-off could not be saved: %s", error)

    def _refused(self, where: str, reason: str) -> None:
        self._swept.refused.append(f"{where}: {reason}")


def _due(item: CertificateItem, record: RenewalRecord, now: datetime) -> _Due | None:
    """The certificate if it is due now, by its dates or its renewal window, and not backed off; else None."""
    by_dates, authority = due_of(item), authority_of(item.tags)
    if authority is None or by_dates is None or item.expires is None or record.due(by_dates) > now:
        return None
    reason = "due" if by_dates <= now else renewal_info.SUGGESTED
    if by_dates > now and record.explanation_url:
        reason += f", which explains why at {record.explanation_url}"
    return _Due(item.expires, record.vault, item.name, reason, authority, can_wait(item, now), record)
