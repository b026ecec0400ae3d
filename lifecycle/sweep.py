"""The timers' work: advance what is due, and find in the certificate lists what has to be renewed.

A vault of N certificates costs ⌈N/25⌉ requests to Key Vault when nothing is due: dates and tags in the list say enough.
"""

import base64
import heapq
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from connectors.base import SuggestsRenewal
from lifecycle import alarms, operations, renewal, replacements
from lifecycle.errors import CertRelayError, Conflict, NotReady
from lifecycle.model import AUTHORITY_TAG
from lifecycle.notes import Note
from lifecycle.services import Services
from lifecycle.vault import CertificateItem

BUDGET = timedelta(minutes=3)  # functionTimeout is five
ASK_AGAIN = timedelta(hours=1)

log = logging.getLogger("certrelay.sweep")


@dataclass(slots=True)
class Swept:
    """What one sweep did: certificates looked at, renewals started (vault/name) and refused (vault/name: why)."""

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
    note: Note = field(compare=False)


def advance_due(services: Services) -> int:
    """Advance every open operation that is due, then the mass renewals; how many operations were due.

    One that crashes does not stop the others. Whatever a run has no time for is the next one's, longest due first."""
    begun = services.now()
    worklist = sorted(services.storage.worklist(begun), key=lambda entry: entry.next_attempt_at)
    for entry in worklist:
        if services.now() - begun > BUDGET:
            log.warning("%d operations are due; the next run goes on", len(worklist))
            break
        if entry.vault not in services.settings.vaults:
            log.error("operation %s waits for vault %s, which is not in the settings", entry.id, entry.vault)
            continue
        try:
            operations.advance(services, entry.vault, entry.name, entry.id)
        except Exception:
            log.exception("operation %s could not be advanced", entry.id)
    replacements.advance_all(services)
    return len(worklist)


def sweep(services: Services) -> Swept:
    """Start the renewals that are due, soonest expiry first, a bounded batch a run, from the lists alone."""
    swept = Swept()
    busy = {(entry.vault, entry.name.lower()) for entry in services.storage.worklist()}
    due = heapq.nsmallest(services.settings.renewal_batch, _due(services, busy, swept))
    for one in due:
        try:
            renewal.renew(
                services, one.vault, one.name, requested_by="sweep", reason=one.reason, only_if_due=one.reason == "due"
            )
            swept.started.append(f"{one.vault}/{one.name}")
        except CertRelayError as error:
            if isinstance(error, Conflict) and error.code == "NotDue":
                continue
            swept.refused.append(f"{one.vault}/{one.name}: {error}")
            log.error("%s in vault %s is due and cannot be renewed: %s", one.name, one.vault, error)
            if not isinstance(error, NotReady):
                _let_rest(services, one)
        except Exception as error:  # a bug that one certificate brings to light shall not stop the others
            swept.refused.append(f"{one.vault}/{one.name}: {type(error).__name__}")
            log.exception("%s in vault %s is due and could not be renewed", one.name, one.vault)
            _let_rest(services, one)
    return swept


def _let_rest(services: Services, one: _Due) -> None:
    """Let the next sweep pass over a certificate that cannot be renewed, so that many of them starve nobody."""
    try:
        services.storage.remember(one.note.rested(one.note.failures + 1, services.now(), one.expires))
    except NotReady as error:
        log.warning("%s in vault %s has no rest: %s", one.name, one.vault, error)


def _due(services: Services, busy: set[tuple[str, str]], swept: Swept) -> Iterator[_Due]:
    for alias in services.settings.vaults:
        try:
            for page in services.vault(alias).certificates():
                swept.looked_at += len(page)
                yield from _due_on(services, alias, page, busy, swept)
        except CertRelayError as error:  # one vault that is down, or closed to us, must not stop the others
            swept.refused.append(f"{alias}: {error}")
            log.error("vault %s cannot be swept now: %s", alias, error)


def _due_on(
    services: Services, alias: str, page: list[CertificateItem], busy: set[tuple[str, str]], swept: Swept
) -> Iterator[_Due]:
    now = services.now()
    watched = [item for item in page if renewal.due_of(item) or alarms.stage(item, now)]
    notes = services.storage.notes(alias, [item.name for item in watched]) if watched else {}
    for item in watched:
        note = alarms.raise_for(services, alias, item, notes.get(item.name.lower()) or Note(alias, item.name))
        due = renewal.due_of(item)
        if due is None or item.expires is None or (alias, item.name.lower()) in busy:
            continue
        if due > now:
            note = _asked_again(services, item, note, swept)
        suggested = note.renew_at if note.thumbprint == item.thumbprint else None
        if (note.rest_until is None or note.rest_until <= now) and min(due, suggested or due) <= now:
            reason = "due" if due <= now else "suggested by the authority"
            yield _Due(item.expires, alias, item.name, reason, note)


def _asked_again(services: Services, item: CertificateItem, note: Note, swept: Swept) -> Note:
    """The note with the authority's suggestion for the certificate, asked for when it is time to (RFC 9773)."""
    fresh = note.thumbprint == item.thumbprint and note.ask_at is not None and note.ask_at > services.now()
    authority = item.tags.get(AUTHORITY_TAG, "")
    if fresh or authority not in services.settings.authorities or swept.asked >= services.settings.renewal_batch:
        return note
    connector_class = services.settings.authorities[authority].connector_class
    if not hasattr(connector_class, "renewal_window"):
        return note
    swept.asked += 1
    try:
        connector = services.connector(authority)
        assert isinstance(connector, SuggestsRenewal)  # noqa: S101 - asked just above
        bundle = services.vault(note.vault).get(item.name)
        window = connector.renewal_window(base64.b64decode(bundle["cer"])) if bundle and bundle.get("cer") else None
        told = note.suggested(item.thumbprint, window, services.jitter.random(), services.now())
    except Exception as error:  # no suggestion is no reason to stop: the dates decide
        log.warning("%s has no suggestion for %s/%s now (%s)", authority, note.vault, item.name, type(error).__name__)
        told = replace(note, ask_at=services.now() + ASK_AGAIN, thumbprint=item.thumbprint)
    services.storage.remember(told)
    return told
