"""The state of one vault: certificates, issuers and contacts, indexed by name and by when something becomes due."""

import bisect
import heapq
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import Clock
from sandbox.vault.crypto import KeyPool
from sandbox.vault.model import Certificate, from_json, to_json
from sandbox.vault.schedule import next_due
from sandbox.vault.store import Change, Store

Event = dict[str, Any]


@dataclass
class Settings:
    """A sandbox vault's settings. Delays are seconds of the sandbox clock."""

    url: str = "https://127.0.0.1"
    name: str = "sandbox"
    region: str = "westeurope"
    self_delay: float = 0.3
    partnered_delay: float = 5.0
    cancel_delay: float = 0.1
    delete_delay: float = 0.0
    recover_delay: float = 0.0
    purge_delay: float = 0.0
    retention_days: int = 90
    purge_protection: bool = False
    merge_expired: bool = True
    issuers: dict[str, dict[str, Any]] = field(default_factory=dict)  # behaviour by issuer name or provider


def _state(certificate: Certificate) -> str:
    """Which lists name it: `deleted`, `completed`, or `begun` when no version has a certificate yet."""
    if certificate.deletion:
        return "deleted"
    return "completed" if certificate.completed else "begun"


def _head(certificate: Certificate) -> str:
    """What a starting vault needs to know of a stored certificate without parsing all of it."""
    return json.dumps([_state(certificate), next_due(certificate)])


def _read_head(text: str) -> tuple[str, float | None]:
    state, due = json.loads(text)
    return state, due


class NameIndex:
    """Names in alphabetical order, without regard to case."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def put(self, key: str, present: bool) -> None:
        """Add the key to the index, or remove it."""
        position = bisect.bisect_left(self._names, key)
        found = position < len(self._names) and self._names[position] == key
        if present and not found:
            self._names.insert(position, key)
        elif found and not present:
            del self._names[position]

    def after(self, key: str) -> Iterator[str]:
        """The names after this one."""
        position = bisect.bisect_right(self._names, key)
        while position < len(self._names):
            yield self._names[position]
            position += 1

    def page(self, key: str, size: int) -> list[str]:
        """The next names after this one."""
        position = bisect.bisect_right(self._names, key)
        return self._names[position : position + size]


class Vault:
    """One vault. Readers need no lock, since every value is immutable; writers hold `lock` from reading to saving."""

    def __init__(self, clock: Clock, store: Store, settings: Settings) -> None:
        self.clock = clock
        self.settings = settings
        self.lock = threading.RLock()
        self.keys = KeyPool()
        self.publish: Callable[[Event], None] = lambda _: None
        self.completed = NameIndex()
        self.live = NameIndex()
        self.deleted = NameIndex()
        self._store = store
        self._certificates: dict[str, Certificate | str] = {}  # JSON until it is first read
        self._documents: dict[tuple[str, str], Any] = {}
        self.undelivered: list[Event] = []  # left by the previous process
        self._due: list[tuple[float, str]] = []
        self._planned: dict[str, float] = {}
        for kind, key, value in store.load():
            if kind == "certificate":
                head, _, text = value.partition("\n")
                self._certificates[key] = text
                self._index(key, *_read_head(head))
            elif kind == "event":
                self.undelivered.append(json.loads(value))
            else:
                self._documents[kind, key] = json.loads(value)
        self._kept_events = {event["id"] for event in self.undelivered}

    def now(self) -> int:
        """Whole UNIX seconds of the sandbox clock."""
        return int(self.clock.now())

    # -- certificates ---------------------------------------------------------------------------------------------

    def find(self, name: str) -> Certificate | None:
        """The certificate of this name, deleted ones included."""
        key = name.lower()
        found = self._certificates.get(key)
        if isinstance(found, str):
            with self.lock:
                found = self._certificates.get(key)
                if isinstance(found, str):
                    found = self._certificates[key] = from_json(found)
        return found

    def save(self, certificate: Certificate, events: Iterable[Event] = ()) -> Certificate:
        """Store the new state and its events in one transaction, then make them visible."""
        self.save_many([certificate], events)
        return certificate

    def save_many(self, certificates: Iterable[Certificate], events: Iterable[Event] = ()) -> None:
        """Like `save` for several certificates: all or none."""
        certificates, events = list(certificates), list(events)
        changes: list[Change] = [
            ("certificate", item.name.lower(), f"{_head(item)}\n{to_json(item)}") for item in certificates
        ]
        if self.document("subscription"):
            # Stored until delivery, so that a crash loses none.
            changes += [("event", event["id"], json.dumps(event)) for event in events]
            self._kept_events |= {event["id"] for event in events}
        with self.lock:
            self._store.write(changes)
            for item in certificates:
                self._keep(item.name.lower(), item)
        for event in events:
            self.publish(event)

    def purge(self, certificate: Certificate) -> None:
        """Remove the certificate permanently."""
        key = certificate.name.lower()
        with self.lock:
            self._store.write([("certificate", key, None)])
            self._certificates.pop(key, None)
            for index in (self.live, self.completed, self.deleted):
                index.put(key, False)

    def _keep(self, key: str, certificate: Certificate) -> None:
        self._certificates[key] = certificate
        self._index(key, _state(certificate), next_due(certificate))

    def _index(self, key: str, state: str, due: float | None) -> None:
        self.live.put(key, state != "deleted")
        self.completed.put(key, state == "completed")
        self.deleted.put(key, state == "deleted")
        self._plan(key, due)

    # -- what becomes due -----------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When something may become due next (UNIX seconds), or None."""
        with self.lock:
            return self._due[0][0] if self._due else None

    def _plan(self, key: str, due: float | None) -> None:
        """Schedule the certificate. A superseded entry stays in the heap and is skipped."""
        if due is not None and self._planned.get(key) != due:
            self._planned[key] = due
            heapq.heappush(self._due, (due, key))

    def pop_due(self) -> Certificate | None:
        """A certificate for which something is due now, or None."""
        now = self.clock.now()
        with self.lock:
            while self._due and self._due[0][0] <= now:
                due, key = heapq.heappop(self._due)
                if self._planned.get(key) == due:
                    del self._planned[key]
                certificate = self.find(key)
                actual = next_due(certificate) if certificate else None
                if actual is not None and actual <= now:
                    return certificate
                self._plan(key, actual)
            return None

    # -- everything else ------------------------------------------------------------------------------------------

    def document(self, kind: str, key: str = "") -> Any:
        """A stored JSON value (issuer, contacts, event, …), or None."""
        return self._documents.get((kind, key))

    def documents(self, kind: str) -> list[tuple[str, Any]]:
        """All values of a kind, by key."""
        return sorted((key, value) for (found, key), value in list(self._documents.items()) if found == kind)

    def put_document(self, kind: str, key: str, value: Any) -> None:
        """Store a JSON value; None deletes it."""
        with self.lock:
            self._store.write([(kind, key, None if value is None else json.dumps(value))])
            if value is None:
                self._documents.pop((kind, key), None)
            else:
                self._documents[kind, key] = value

    def forget_event(self, identifier: str) -> None:
        """Remove an event from the store: it was delivered or dropped."""
        with self.lock:
            if identifier in self._kept_events:
                self._store.write([("event", identifier, None)])
                self._kept_events.discard(identifier)

    def close(self) -> None:
        """Release the store."""
        self.keys.stop()
        self._store.close()
