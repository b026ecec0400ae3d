"""Asking authorities when their certificates should be renewed (ACME Renewal Information, RFC 9773)."""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from certrelay.connectors.base import RenewalWindow, SuggestsRenewal
from certrelay.errors import CertRelayError
from certrelay.keyvault.certificate import CertificateItem
from certrelay.keyvault.tags import authority_of
from certrelay.log import logger
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord

ASK_AGAIN = timedelta(hours=1)
PATIENCE = 3  # failures in a row until an authority or a vault is left alone for the rest of a sweep
LONG_AGO = datetime.min.replace(tzinfo=UTC)

log = logger("sweep")


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """One certificate whose authority is to be asked; those that have waited longest sort first."""

    since: datetime
    item: CertificateItem = field(compare=False)
    note: RenewalRecord = field(compare=False)


def question(services: Services, item: CertificateItem, note: RenewalRecord) -> Question | None:
    """The question whose time has come, if the certificate's authority answers such questions."""
    known = services.settings.authorities.get(authority_of(item.tags) or "")
    if known is None or not hasattr(known.connector_class, "renewal_window"):
        return None
    since = note.ask_at or LONG_AGO
    return Question(since, item, note) if since <= services.now() else None


def ask(
    services: Services, questions: Iterable[Question], until: datetime
) -> Iterator[tuple[CertificateItem, RenewalRecord]]:
    """The certificates with the answers as noted, until there is no more time. No suggestion stops nobody: the dates
    decide then, and the question is put again in an hour."""
    silent_authorities: Counter[str] = Counter()
    silent_vaults: Counter[str] = Counter()
    for one in questions:
        authority, vault = authority_of(one.item.tags) or "", one.note.vault
        if services.now() >= until or max(silent_authorities[authority], silent_vaults[vault]) >= PATIENCE:
            continue
        try:
            told = _answered(services, authority, one)
            silent_authorities[authority] = silent_vaults[vault] = 0
        except Exception as error:
            if isinstance(error, CertRelayError):  # the certificate could not be read: its authority was not asked
                silent_vaults[vault] += 1
            else:
                silent_authorities[authority] += 1
            where = f"{one.note.vault}/{one.item.name}"
            log.warning("%s has no suggestion for %s now (%s)", authority, where, type(error).__name__)
            told = replace(one.note, ask_at=services.now() + ASK_AGAIN)
        services.storage.renewals.save(told, one.note)
        yield one.item, told


def _answered(services: Services, authority: str, one: Question) -> RenewalRecord:
    connector = services.connector(authority)
    assert isinstance(connector, SuggestsRenewal)  # noqa: S101 - question() saw it
    bundle = services.vault(one.note.vault).get(one.item.name)
    window = connector.renewal_window(base64.b64decode(bundle["cer"])) if bundle and bundle.get("cer") else None
    if window is not None and (window.start.tzinfo is None or window.end.tzinfo is None):
        raise ValueError("a renewal window says no time zone")
    return with_window(one.note, window, services.jitter.random(), services.now())


def with_window(record: RenewalRecord, window: RenewalWindow | None, chance: float, now: datetime) -> RenewalRecord:
    """The record with the authority's answer. The moment in the window is drawn by `chance` (0 to 1) once, and kept as
    long as the window stays the same (RFC 9773, section 4.2)."""
    if window is None:
        return replace(record, window_start=None, window_end=None, renew_at=None, ask_at=now + timedelta(hours=24))
    same = (record.window_start, record.window_end) == (window.start, window.end)
    drawn = window.start + max(window.end - window.start, timedelta(0)) * chance
    return replace(
        record, window_start=window.start, window_end=window.end,
        renew_at=record.renew_at if same else drawn, explanation_url=window.explanation_url or "",
        ask_at=now + timedelta(seconds=min(max(window.retry_after, 60.0), 86_400.0)),
    )  # fmt: skip
