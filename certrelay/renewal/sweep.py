"""The timers' work: advance what is due, and find in the certificate lists what has to be renewed.

A vault of N certificates costs ⌈N/25⌉ requests to Key Vault when nothing is due: dates and tags in the list say enough.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from certrelay.errors import Booked, CertRelayError, Invalid, NotDue, NotReady
from certrelay.keyvault.client import CERTIFICATES, CertificateItem, item_of
from certrelay.keyvault.tags import authority_of
from certrelay.log import about, logger
from certrelay.operations import intervene, reconcile
from certrelay.operations.submit import Origin
from certrelay.renewal import alerts, renew, renewal_info, replacement_run
from certrelay.renewal.due import can_wait, due_of
from certrelay.renewal.renewal_info import Question
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

# functionTimeout is five minutes; the last operation of a poll, and then the replacements, may take a minute each.
POLL_BUDGET, LISTING_BUDGET, STARTING_BUDGET, ASKING_BUDGET = (timedelta(minutes=m) for m in (2, 3, 4, 4.5))
PATIENCE = 3  # refusals in a row until a vault that cannot be used now is left to the next sweep

log = logger("sweep")


@dataclass(slots=True)
class Swept:
    """What one sweep did: certificates looked at, renewals started (vault/name) and refused (vault/name: why), and how
    many authorities' suggestions were asked for."""

    looked_at: int = 0
    started: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    asked: int = 0


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    expires: datetime
    vault: str
    name: str
    reason: str = field(compare=False)
    authority: str = field(compare=False)
    can_wait: bool = field(compare=False)
    note: RenewalRecord = field(compare=False)


def advance_due(services: Services) -> int:
    """Advance every open operation that is due, then the replacements; how many operations were due.

    One that crashes does not stop the others. Whatever a run has no time for is the next one's, longest due first."""
    begun = services.now()
    worklist = sorted(services.storage.worklist(begun), key=lambda entry: entry.next_attempt_at)
    for entry in worklist:
        if services.now() - begun > POLL_BUDGET:
            log.warning("%d operations are due; the next run goes on", len(worklist))
            break
        try:
            reconcile.advance(services, entry.vault, entry.name, entry.id)
        except Exception:
            with about(operation=entry.id):
                log.exception("it could not be advanced")
    replacement_run.advance_all(services)
    return len(worklist)


def sweep(services: Services) -> Swept:
    """Start the renewals that are due, soonest expiry first, a bounded batch a run, from the lists alone; then ask the
    authorities that suggest when to renew, longest not asked first, and act upon what they say."""
    return _Sweep(services).run()


class _Sweep:
    def __init__(self, services: Services) -> None:
        self._services, self._begun = services, services.now()
        self._batch = self._left = services.settings.renewal_batch
        self._open = {(entry.vault, entry.name.lower()): entry for entry in services.storage.worklist()}
        self._questions: list[Question] = []
        self._trouble: Counter[str] = Counter()
        self._booked: set[tuple[str, str]] = set()
        self._swept = Swept()
        self._can_tell = True

    def run(self) -> Swept:
        # A batch of each vault, so that the names of one that cannot be used leave the others theirs.
        due = [heapq.nsmallest(self._batch, self._due_in(alias)) for alias in self._vaults()]
        for one in heapq.merge(*due):
            self._renew(one)
        self._ask()
        return self._swept

    def _vaults(self) -> list[str]:
        """In any order: should the lists take too long, no vault is left out for ever."""
        aliases = list(self._services.settings.vaults)
        return self._services.jitter.sample(aliases, len(aliases))

    def _time_is_up(self, budget: timedelta) -> bool:
        return self._services.now() - self._begun > budget

    def _due_in(self, alias: str) -> Iterator[_Due]:
        try:
            for page in self._pages(alias):
                self._swept.looked_at += len(page)
                yield from self._due_on(alias, page)
        except CertRelayError as error:  # one vault that is down, or closed to us, must not stop the others
            self._refused(alias, str(error))
            with about(vault=alias):
                log.error("the vault cannot be swept now: %s", error)

    def _pages(self, alias: str) -> Iterator[list[CertificateItem]]:
        """The list from where the last sweep had to stop, to its end or as far as there is time for."""
        vault, storage = self._services.vault(alias), self._services.storage
        begun_at = path = storage.renewals.list_position(alias) or CERTIFICATES
        while path and not self._time_is_up(LISTING_BUDGET):
            try:
                page, path = vault.page(path)
            except Invalid:
                if path != begun_at or path == CERTIFICATES:
                    raise
                with about(vault=alias):
                    log.warning("Key Vault does not know the position in its list any more; it is read from the start")
                page, path = [], CERTIFICATES
            yield [item_of(item) for item in page]
        if path:
            with about(vault=alias):
                log.warning("the lists take too long: the next sweep goes on here")
        if path or begun_at != CERTIFICATES:
            storage.renewals.save_list_position(alias, path)

    def _due_on(self, alias: str, page: list[CertificateItem]) -> Iterator[_Due]:
        services, now = self._services, self._services.now()
        watched = [item for item in page if due_of(item) or alerts.stage(item, now)]
        notes = services.storage.renewals.records(alias, [item.name for item in watched])
        for item in watched:
            known = notes.get(item.name.lower()) or RenewalRecord(alias, item.name)
            note = known.about(item.thumbprint)
            if known.thumbprint not in ("", note.thumbprint):
                services.storage.renewals.save(note, known)
            note = self._alarmed(alias, item, note)
            due, open_one = _due(item, note, now), self._open.get((alias, item.name.lower()))
            if open_one is not None:
                if due is not None and open_one.next_attempt_at - now > (due.expires - now) / 2:
                    intervene.expedite(services, open_one)
            elif due is not None:
                yield due
            elif (question := renewal_info.question(services, item, note)) is not None:
                self._questions.append(question)
        if len(self._questions) > 10 * self._batch:
            self._questions = heapq.nsmallest(self._batch, self._questions)

    def _alarmed(self, alias: str, item: CertificateItem, note: RenewalRecord) -> RenewalRecord:
        if not self._can_tell:  # a queue that is down costs seconds each time: the lists must go on
            return note
        try:
            noted = alerts.send(self._services, alias, item, note)
            self._can_tell = not alerts.unsent(item, noted, self._services.now())
            return noted
        except Exception:  # what cannot be told of one certificate stops the renewal of none
            with about(vault=alias, certificate=item.name):
                log.exception("its alert could not be sent")
            return note

    def _ask(self) -> None:
        asked = heapq.nsmallest(self._batch, self._questions)
        for item, note in renewal_info.ask(self._services, asked, self._begun + ASKING_BUDGET):
            self._swept.asked += 1
            if (due := _due(item, note, self._services.now())) is not None:
                self._renew(due)

    def _renew(self, one: _Due) -> None:
        if not self._left or self._trouble[one.vault] >= PATIENCE or self._time_is_up(STARTING_BUDGET):
            return
        if one.can_wait and (one.vault, one.authority) in self._booked:
            return
        self._left -= 1
        try:
            renew.renew_if_due(self._services, one.vault, one.name, Origin(requested_by="sweep", reason=one.reason))
            self._swept.started.append(f"{one.vault}/{one.name}")
            self._trouble[one.vault] = 0
        except NotDue:
            return
        except Booked as error:
            self._put_off(one, error)
        except CertRelayError as error:
            self._refused(f"{one.vault}/{one.name}", str(error))
            with about(vault=one.vault, certificate=one.name):
                log.error("it is due and cannot be renewed: %s", error)
            self._let_rest(one)
            self._trouble[one.vault] += isinstance(error, NotReady)
        except Exception as error:  # a bug that one certificate brings to light shall not stop the others
            self._refused(f"{one.vault}/{one.name}", type(error).__name__)
            with about(vault=one.vault, certificate=one.name):
                log.exception("it is due and could not be renewed")
            self._let_rest(one)

    def _put_off(self, one: _Due, why: Booked) -> None:
        if one.can_wait:
            with about(vault=one.vault, authority=one.authority):
                log.info("%s; left to the next sweep, with all others that can wait", why)
            self._booked.add((one.vault, one.authority))
            self._left += 1

    def _let_rest(self, one: _Due) -> None:
        """Let the next sweep pass over a certificate that cannot be renewed, so that many of them starve nobody."""
        rested = one.note.backed_off(one.note.failures + 1, self._services.now(), one.expires)
        try:
            self._services.storage.renewals.save(rested, one.note)
        except NotReady as error:
            with about(vault=one.vault, certificate=one.name):
                log.warning("its back-off could not be saved: %s", error)

    def _refused(self, where: str, why: str) -> None:
        self._swept.refused.append(f"{where}: {why}")


def _due(item: CertificateItem, note: RenewalRecord, now: datetime) -> _Due | None:
    """The certificate as due now: by its dates or by its authority's suggestion, and not at rest."""
    by_dates, authority = due_of(item), authority_of(item.tags)
    if authority is None or by_dates is None or item.expires is None or note.due(by_dates) > now:
        return None
    reason = "due" if by_dates <= now else "suggested by the authority"
    return _Due(item.expires, note.vault, item.name, reason, authority, can_wait(item, now), note)
