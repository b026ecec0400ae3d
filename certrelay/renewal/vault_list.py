"""The list of one vault in one sweep: where to read on, whether it is due, and when it is due again."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from certrelay.errors import CertRelayError, Invalid, NotReady
from certrelay.keyvault.certificate import CERTIFICATES, CertificateItem, items_of
from certrelay.log import about, logger
from certrelay.renewal.next_read import LONGEST_REST, read_by
from certrelay.schedules import next_run
from certrelay.services import Services
from certrelay.storage.renewal_record import RenewalRecord
from certrelay.storage.renewals import ListState

CLOCK_SKEW = timedelta(minutes=5)  # between the workers that sweep and those that change certificates
BLOCK = 500  # certificates; a request to a table has at most 1,000 rows
ONE = "/certificates?maxresults=1"

log = logger("sweep")


def in_blocks(pages: Iterable[list[CertificateItem]]) -> Iterator[list[CertificateItem]]:
    """The certificates of these pages, some hundred at a time: what the tables know of them is read by one request.

    An error of the list comes after what was read before it."""
    block: list[CertificateItem] = []
    try:
        for page in pages:
            block += page
            if len(block) >= BLOCK:
                yield block
                block = []
    except CertRelayError:
        if block:
            yield block
        raise
    if block:
        yield block


class OutOfTime(NotReady):
    """A list could not be read to its end in the time that there was."""


def blocks_until(services: Services, alias: str, until: datetime) -> Iterator[list[CertificateItem]]:
    """All certificates of a vault, in blocks. Raises OutOfTime if they cannot be read by then, and CertRelayErrors.

    The time is looked at before each page, and nothing is asked of a vault for which none is left."""

    def pages() -> Iterator[list[CertificateItem]]:
        rest = iter(services.vault(alias).certificates())
        while services.now() < until:
            page = next(rest, None)
            if page is None:
                return
            yield page
        raise OutOfTime("there was no time to read its list to the end")

    return in_blocks(pages())


class VaultList:
    """`states`: number of certificates by authority and state; of the last whole read until it is read again.
    `unsettled`: how many certificates still have to be renewed or asked for; the next sweep reads the list for them.
    `clock_ahead`: how far the app's clock is ahead of Key Vault's, once it answered."""

    def __init__(self, services: Services, alias: str, begun: datetime, period: timedelta) -> None:
        """Reads the saved state. Raises NotReady."""
        self._services, self._alias, self._begun, self._period = services, alias, begun, period
        self._state = services.storage.renewals.list_state(alias)
        self._read_by = begun + LONGEST_REST
        self._pages = 0
        self._is_whole = False
        self.states = Counter({(authority, state): count for authority, state, count in self._state.states})
        self.unsettled = 0
        self.clock_ahead: timedelta | None = None

    @property
    def due(self) -> bool:
        """Whether to read it now, since the next sweep may be too late. A time too far ahead counts as wrong.

        With endpoints to look at it is read by each sweep."""
        state = self._state
        if state.path or state.read_by is None or state.read_at is None or state.read_by > self._begun + LONGEST_REST:
            return True
        changed = state.changed_at is not None and state.changed_at + CLOCK_SKEW >= state.read_at
        return bool(self._services.settings.endpoints) or changed or self._begun + self._period > state.read_by

    def check(self) -> None:
        """Ask for one line, to see whether the vault may be read, and whether the clock is right. CertRelayErrors."""
        self._page(ONE)

    def pages(self, until: datetime) -> Iterator[list[CertificateItem]]:
        """The list from the position where the last sweep stopped, to its end or `until` then. CertRelayErrors."""
        start = path = self._state.path or CERTIFICATES
        self.states.clear()
        while path and self._services.now() <= until:
            try:
                page, path = self._page(path)
            except Invalid:
                if path != start or path == CERTIFICATES:
                    raise
                self._warn("Key Vault no longer accepts the position in its list; reading from the start")
                page, path = [], CERTIFICATES
            self._pages += 1
            yield items_of(page)
        if path:
            self._warn("the lists take too long; the next sweep continues here")
        if path or start != CERTIFICATES:
            self._services.storage.renewals.save_list_state(self._alias, ListState(path))
        self._is_whole = not path and start == CERTIFICATES

    def saw(self, item: CertificateItem, record: RenewalRecord) -> None:
        """The list is due again when this certificate says so, if not sooner."""
        self._read_by = min(self._read_by, read_by(item, record, self._services.now(), self._period))

    def save(self) -> None:
        """Let the list rest if it was read whole and can wait. A page is read as cheaply as it is checked.

        A failure costs no more than a read in the next sweep."""
        can_wait = self._begun + 2 * self._period <= self._read_by
        if not self._is_whole or self._pages < 2 or self.unsettled or not can_wait:
            return
        counts = tuple((authority, state, count) for (authority, state), count in sorted(self.states.items()))
        state = ListState("", self._begun, self._read_by, counts)
        try:
            self._services.storage.renewals.save_list_state(self._alias, state)
        except NotReady as error:
            self._warn(f"when to read the list again could not be saved: {error}")

    def _page(self, path: str) -> tuple[list[dict[str, object]], str]:
        vault = self._services.vault(self._alias)
        page = vault.page(path)
        now = self._services.now()
        self.clock_ahead = now - (vault.date or now)
        return page

    def _warn(self, text: str) -> None:
        with about(vault=self._alias):
            log.warning("%s", text)


def period_of(schedule: str, now: datetime) -> timedelta:
    """How long the next sweep, or the one after it, may take to come."""
    following = next_run(schedule, now)
    after = next_run(schedule, following) if following else None
    if following is None or after is None:
        return LONGEST_REST
    return max(following - now, after - following)
