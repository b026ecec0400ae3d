"""The looks of a sweep at endpoints: what is served, and the event when that is not the newest version for too long.

docs/decisions/0011-last-mile.md has the reasons.
"""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from certrelay.endpoints import Endpoint
from certrelay.errors import CertRelayError, NotReady
from certrelay.keyvault.certificate import CertificateItem, thumbprint, thumbprint_of
from certrelay.log import about, logger
from certrelay.notifications import outbox
from certrelay.pki.certificate import loaded
from certrelay.renewal import endpoints
from certrelay.renewal.endpoints import LONG_AGO, State
from certrelay.renewal.handshake import Looker, Unreachable
from certrelay.services import Services
from certrelay.storage.endpoint_record import EndpointRecord

AGAIN = timedelta(hours=23, minutes=30)  # so that an hourly sweep that is early does not make it 25 hours
PARALLEL = 8

log = logger("endpoints")


@dataclass(frozen=True, slots=True, order=True)
class _Look:
    since: datetime  # of the last one
    vault: str
    name: str
    endpoint: Endpoint = field(compare=False)
    record: EndpointRecord = field(compare=False)


class Looks:
    """The looks of one sweep."""

    def __init__(self, services: Services, looker: Looker | None = None) -> None:
        self._services, self._looker = services, looker or Looker()
        self._waiting: list[_Look] = []
        self.states: Counter[str] = Counter()
        self.not_deployed: list[str] = []

    def collect(self, alias: str, page: list[CertificateItem]) -> None:
        """Note which certificates of a page are to be looked at: where the newest version is served, once a day."""
        now, usable = self._services.now(), [item for item in page if item.enabled and item.thumbprint]
        try:
            found = endpoints.records(self._services, alias, usable)
        except NotReady as error:
            log.warning("the endpoints of a page of vault %s are left to the next sweep: %s", alias, error)
            return
        for record in found.values():
            endpoint = endpoints.allowed(self._services.settings, record.endpoint)
            last = record.looked_at or LONG_AGO
            if endpoint is None or (record.served == record.newest and not record.error and abs(now - last) < AGAIN):
                self._count(record)
            else:
                self._waiting.append(_Look(last, alias, record.name, endpoint, record))

    def run(self, until: datetime) -> None:
        """Look, several at a time, those first that have waited longest; what there is no time for is left."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            futures = {pool.submit(self._look, look, until): look for look in sorted(self._waiting)}
            for future in as_completed(futures):
                self._finish(futures[future], future)

    def _look(self, look: _Look, until: datetime) -> tuple[bytes, ...] | None:
        """What is served; None if there was no time. Raises Unreachable."""
        if self._services.now() >= until:
            return None
        networks = self._services.settings.networks_of(look.endpoint) or ()
        return self._looker.look(look.endpoint, networks, look.record.newest)

    def _finish(self, look: _Look, future: Future[tuple[bytes, ...] | None]) -> None:
        record = look.record
        with about(vault=look.vault, certificate=look.name):
            try:
                seen = self._seen(look, future)
                if seen is not None:
                    record = _told(self._services, seen)
                    self._services.storage.renewals.save_endpoint(record)
            except NotReady as error:
                log.warning("what is served at %s could not be noted: %s", look.endpoint, error)
            except Exception:
                log.exception("the endpoint could not be looked at")
        self._count(record)

    def _seen(self, look: _Look, future: Future[tuple[bytes, ...] | None]) -> EndpointRecord | None:
        now, record = self._services.now(), look.record
        try:
            leaves = future.result()
        except Unreachable as error:
            log.info("%s cannot be looked at: %s", look.endpoint, error)
            return replace(record, looked_at=now, error=str(error), failing_since=record.failing_since or now)
        if leaves is None:
            return None
        leaf, is_earlier = self._served(record, leaves)
        begins, ends = _validity(leaf)
        return replace(
            record, looked_at=now, error="", failing_since=None, served=thumbprint(leaf), served_from=begins,
            served_until=ends, is_earlier=is_earlier,
        )  # fmt: skip

    def _served(self, record: EndpointRecord, leaves: tuple[bytes, ...]) -> tuple[bytes, bool]:
        """Which of the served certificates counts, and whether it is an earlier version.

        Key Vault is asked only for what was not seen before."""
        by_thumbprint = {thumbprint(leaf): leaf for leaf in leaves}
        if record.newest in by_thumbprint:
            return by_thumbprint[record.newest], False
        if record.served in by_thumbprint:
            return by_thumbprint[record.served], record.is_earlier
        try:
            known = {thumbprint_of(item) for item in self._services.vault(record.vault).versions(record.name)}
        except CertRelayError as error:
            log.warning("the versions cannot be read now: %s", error)
            known = set()
        earlier = next((leaf for text, leaf in by_thumbprint.items() if text in known), None)
        return (leaves[0], False) if earlier is None else (earlier, True)

    def _count(self, record: EndpointRecord) -> None:
        found = endpoints.state(self._services.settings, record, self._services.now())
        self.states[found] += 1
        if found is State.NOT_DEPLOYED:
            self.not_deployed.append(f"{record.vault}/{record.name}")


def _told(services: Services, record: EndpointRecord) -> EndpointRecord:
    """Queue the event that is due for what was seen, and return the record, which remembers it if it was queued.

    Its id follows from the version and how often that was deployed before, so that a repeat after a crash is the same
    event, and a server that goes back to an older certificate is another one."""
    data: dict[str, object]
    now, subject = services.now(), f"{record.vault}/{record.name}"
    found = endpoints.state(services.settings, record, now)
    if found is State.DEPLOYED and record.told:
        data = {"event": "not-deployed", "since": record.since, "until": now, "detail": f"{record.endpoint} serves it"}
        identifier = f"recovered.{subject}.{record.endpoint}.{record.told}.{record.recoveries}"
        done = outbox.enqueue(services, "recovered", subject, _texts(data), identifier, now)
        return replace(record, told="", recoveries=record.recoveries + 1) if done else record
    stage = f"{'ending' if endpoints.is_near_its_end(record, now) else 'late'}:{record.newest}"
    if found is not State.NOT_DEPLOYED or record.told in (stage, f"ending:{record.newest}"):
        return record
    data = {
        "endpoint": record.endpoint, "expires": record.served_until, "served": record.served,
        "served_is": "an earlier version" if record.is_earlier else "another certificate", "newest": record.newest,
        "newest_since": record.since,
    }  # fmt: skip
    log.error("not-deployed (%s): %s serves %s", record.served_until, record.endpoint, data["served_is"])
    identifier = f"not-deployed.{subject}.{record.endpoint}.{stage}.{record.recoveries}"
    queued = outbox.enqueue(services, "not-deployed", subject, _texts(data), identifier, now)
    return replace(record, told=stage) if queued else record


def _texts(data: Mapping[str, object]) -> dict[str, object]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in data.items()}


def _validity(leaf: bytes) -> tuple[datetime | None, datetime | None]:
    try:
        found = loaded(leaf)
        return found.not_valid_before_utc, found.not_valid_after_utc
    except ValueError:
        return None, None
