"""Asking authorities when their certificates should be renewed (ACME Renewal Information, RFC 9773)."""

import base64
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from certrelay.errors import CertRelayError
from certrelay.keyvault.client import CertificateItem
from certrelay.keyvault.tags import authority_of
from connectors.base import SuggestsRenewal
from lifecycle.notes import Note
from lifecycle.services import Services

ASK_AGAIN = timedelta(hours=1)
PATIENCE = 3  # failures in a row until an authority or a vault is left alone for the rest of a sweep
LONG_AGO = datetime.min.replace(tzinfo=UTC)

log = logging.getLogger("certrelay.sweep")


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """One certificate whose authority is to be asked; those that have waited longest sort first."""

    since: datetime
    item: CertificateItem = field(compare=False)
    note: Note = field(compare=False)


def question(services: Services, item: CertificateItem, note: Note) -> Question | None:
    """The question whose time has come, if the certificate's authority answers such questions."""
    known = services.settings.authorities.get(authority_of(item.tags) or "")
    if known is None or not hasattr(known.connector_class, "renewal_window"):
        return None
    since = note.ask_at or LONG_AGO
    return Question(since, item, note) if since <= services.now() else None


def ask(services: Services, questions: Iterable[Question], until: datetime) -> Iterator[tuple[CertificateItem, Note]]:
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
        services.storage.remember(told, one.note)
        yield one.item, told


def _answered(services: Services, authority: str, one: Question) -> Note:
    connector = services.connector(authority)
    assert isinstance(connector, SuggestsRenewal)  # noqa: S101 - question() saw it
    bundle = services.vault(one.note.vault).get(one.item.name)
    window = connector.renewal_window(base64.b64decode(bundle["cer"])) if bundle and bundle.get("cer") else None
    if window is not None and (window.start.tzinfo is None or window.end.tzinfo is None):
        raise ValueError("a renewal window says no time zone")
    return one.note.suggested(window, services.jitter.random(), services.now())
