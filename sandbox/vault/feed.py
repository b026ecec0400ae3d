"""The vault's events on their way to a webhook: which are delivered, and which have been raised so far."""

from collections import deque
from dataclasses import asdict

from sandbox.eventgrid import Publisher, Subscription
from sandbox.vault import events
from sandbox.vault.vault import Event, Vault

_RAISED = 10_000  # events remembered


class EventFeed:
    """Delivers what the vault raises to the one subscription, if there is one. `raised` holds the last events."""

    def __init__(self, vault: Vault) -> None:
        self.raised: deque[Event] = deque(maxlen=_RAISED)
        self.publisher = Publisher(events.topic(vault.settings.name), vault.forget_event)
        self._vault = vault
        vault.publish = self._publish

    def start(self, webhook: str | None) -> None:
        """Begin to deliver, first what an earlier process left: to its subscription, or to `webhook` (URL) instead."""
        self.publisher.start()
        kept = self._vault.document("subscription") or {}
        if webhook:
            self.subscribe(Subscription(webhook))
        elif "to" in kept:
            self.publisher.subscribe(Subscription(**kept["to"]))
        for event in self._vault.undelivered:
            self._publish(event)

    def stop(self) -> None:
        """End delivery. Undelivered events stay in the vault's store."""
        self.publisher.stop()

    def subscribe(self, subscription: Subscription | None) -> None:
        """Replace the subscription; None ends it. Only versions created after the first subscription raise events."""
        with self._vault.lock:
            kept = self._vault.document("subscription") or {"created": self._vault.now()}
            stored = None if subscription is None else {**kept, "to": asdict(subscription)}
            self._vault.put_document("subscription", "", stored)
        self.publisher.subscribe(subscription)

    def _publish(self, event: Event) -> None:
        self.raised.append(event)
        kept = self._vault.document("subscription")
        certificate = self._vault.find(event["subject"])
        version = certificate.version(event["data"]["Version"]) if certificate else None
        if kept is None or version is None or version.created < kept["created"]:
            self._vault.forget_event(event["id"])
            return
        self.publisher.submit(event)
