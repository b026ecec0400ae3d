"""Asking authorities when their certificates should be renewed (ACME Renewal Information, RFC 9773)."""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from certrelay.connectors.base import NoRenewalWindow, RenewalWindow, SuggestsRenewal
from certrelay.errors import CertRelayError
from certrelay.keyvault.certificate import CertificateItem, item_of
from certrelay.keyvault.tags import authority_of
from certrelay.log import logger
from certrelay.services import Services
from certrelay.storage.operation import State
from certrelay.storage.renewal_record import RenewalRecord

SUGGESTED = "suggested by the authority"  # the reason of a renewal
SHORTEST_RETRY, LONGEST_RETRY = 60.0, 86_400.0  # seconds; section 4.3.2
# Section 4.3.3: six hours after a long-term error, or what the client is configured to. An authority that cannot be
# reached is asked again sooner, a few questions an hour.
AFTER_REFUSAL, AFTER_SILENCE = timedelta(hours=6), timedelta(hours=1)
WITHOUT_SUGGESTIONS = timedelta(hours=24)
FARTHEST = timedelta(days=2)  # no time to ask is so far ahead, unless a wrong clock has set it
PATIENCE = 3  # failures in a row until an authority or a vault is left alone for the rest of a sweep
LONG_AGO = datetime.min.replace(tzinfo=UTC)
MAX_URL_LENGTH = 1000
# A certificate whose predecessor was replaced before YOUNG of its lifetime had passed is not replaced before REST has.
YOUNG, REST = 1 / 10, 1 / 20

log = logger("sweep")


@dataclass(frozen=True, slots=True, order=True)
class Inquiry:
    """One certificate whose authority is to be asked; those that have waited longest sort first."""

    since: datetime
    item: CertificateItem = field(compare=False)
    record: RenewalRecord = field(compare=False)


def suggests(services: Services, authority: str) -> bool:
    """Whether an authority of the settings suggests renewals."""
    known = services.settings.authorities.get(authority)
    return known is not None and hasattr(known.connector_class, "renewal_window")


def inquiry(services: Services, item: CertificateItem, record: RenewalRecord) -> Inquiry | None:
    """The inquiry that is due, if the certificate's authority suggests renewals and it has not expired."""
    if not suggests(services, record.signer or authority_of(item.tags) or ""):
        return None
    since, now = record.ask_at or LONG_AGO, services.now()
    is_time = since <= now or since > now + FARTHEST
    return Inquiry(since, item, record) if is_time and (item.expires is None or now < item.expires) else None


def ask(
    services: Services, inquiries: Iterable[Inquiry], until: datetime
) -> Iterator[tuple[CertificateItem, RenewalRecord]]:
    """The certificates with their records as answered and stored, until there is no more time.

    An authority that does not answer stops nothing: the dates of its certificates decide, and it is asked again."""
    silent_authorities: Counter[str] = Counter()
    silent_vaults: Counter[str] = Counter()
    for one in inquiries:
        authority, vault = one.record.signer or authority_of(one.item.tags) or "", one.record.vault
        if services.now() >= until or max(silent_authorities[authority], silent_vaults[vault]) >= PATIENCE:
            continue
        try:
            record = _answered(services, authority, one)
            silent_authorities[authority] = silent_vaults[vault] = 0
        except Exception as error:
            if isinstance(error, CertRelayError):  # the certificate could not be read: its authority was not asked
                silent_vaults[vault] += 1
            else:
                silent_authorities[authority] += 1
            where = f"{vault}/{one.item.name}"
            log.warning("%s did not answer when %s should be renewed (%s)", authority, where, type(error).__name__)
            record = replace(one.record, ask_at=services.now() + AFTER_SILENCE)
        services.storage.renewals.save(record, one.record)
        yield one.item, record


def _answered(services: Services, authority: str, one: Inquiry) -> RenewalRecord:
    connector = services.connector(authority)
    assert isinstance(connector, SuggestsRenewal)  # noqa: S101 - inquiry() saw it
    bundle, now = services.vault(one.record.vault).get(one.item.name), services.now()
    try:
        window = connector.renewal_window(base64.b64decode(bundle["cer"])) if bundle and bundle.get("cer") else None
        if window is None:
            return with_window(one.record, None, 0.0, now)
        record = with_window(one.record, _usable(window), services.jitter.random(), now)
    except NoRenewalWindow as reason:
        log.info("%s has no renewal window for %s/%s: %s", authority, one.record.vault, one.item.name, reason)
        return replace(with_window(one.record, None, 0.0, now), ask_at=now + AFTER_REFUSAL)
    if record.explanation_url and record.explanation_url != one.record.explanation_url:
        log.warning("%s explains the window of %s at %s", authority, one.item.name, record.explanation_url)
    return _rested(services, one.item, record)


def _usable(window: RenewalWindow) -> RenewalWindow:
    """The window in UTC, bounded. Raises NoRenewalWindow: RFC 9773, section 4.2, treats it as no answer."""
    try:
        if window.start.tzinfo is None or window.end.tzinfo is None:
            raise NoRenewalWindow("the renewal window has no time zone")
        start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    except OverflowError:
        raise NoRenewalWindow("the renewal window is too far in the future") from None
    if end <= start:
        raise NoRenewalWindow("the renewal window ends before it starts")
    url = str(window.explanation_url or "")
    retry = window.retry_after if math.isfinite(window.retry_after) else AFTER_REFUSAL.total_seconds()
    return RenewalWindow(start, end, retry, url if len(url) <= MAX_URL_LENGTH else None)


def with_window(record: RenewalRecord, window: RenewalWindow | None, chance: float, now: datetime) -> RenewalRecord:
    """The record with the authority's answer. The moment in the window is drawn by `chance` (0 to 1) once, and kept as
    long as the window stays the same (RFC 9773, section 4.2)."""
    if window is None:
        empty: dict[str, Any] = dict.fromkeys(("window_start", "window_end", "renew_at"))
        return replace(record, **empty, explanation_url="", ask_at=now + WITHOUT_SUGGESTIONS)
    same = (record.window_start, record.window_end) == (window.start, window.end)
    drawn = window.start + max(window.end - window.start, timedelta(0)) * chance
    return replace(
        record, window_start=window.start, window_end=window.end,
        renew_at=record.renew_at if same else drawn, explanation_url=window.explanation_url or "",
        ask_at=now + timedelta(seconds=min(max(window.retry_after, SHORTEST_RETRY), LONGEST_RETRY)),
    )  # fmt: skip


def _rested(services: Services, item: CertificateItem, record: RenewalRecord) -> RenewalRecord:
    """The record; its moment is postponed if both this certificate and its predecessor were renewed young.

    An incident is acted upon at once, whatever the certificate's age. But an authority whose windows lie in the past
    for every version would have each replaced at the next sweep."""
    begins = item.not_before or item.created
    if begins is None or item.expires is None or record.renew_at is None:
        return record
    rests_until = begins + (item.expires - begins) * REST
    if record.renew_at >= rests_until or not _predecessor_was_young(services, record):
        return record
    text = "%s/%s was renewed early already, as its authority suggested; the next such renewal is postponed until %s"
    log.warning(text, record.vault, record.name, rests_until.isoformat(timespec="seconds"))
    return replace(record, renew_at=rests_until)


def _predecessor_was_young(services: Services, record: RenewalRecord) -> bool:
    """Whether the newest version is a suggested renewal of a version of whose lifetime less than YOUNG had passed."""
    ended = services.storage.ended(record.vault, record.name)
    last = next((one for one in ended if one.state is State.COMPLETED), None)
    if last is None or not last.replaces or not last.reason.startswith(SUGGESTED):
        return False
    bundle = services.vault(record.vault).get(record.name, last.replaces)
    replaced = item_of(bundle) if bundle else None
    begins = (replaced.not_before or replaced.created) if replaced else None
    if replaced is None or begins is None or replaced.expires is None:
        return False
    return last.requested_at - begins < (replaced.expires - begins) * YOUNG
