"""The targets of the settings for people to look at: who is told of what, how it went last; and a test message."""

import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

from certrelay.errors import NotFound
from certrelay.log import about, logger
from certrelay.notifications import deliver, deliveries
from certrelay.notifications.deliveries import Delivery, Last
from certrelay.notifications.outbox import event_of
from certrelay.services import Services
from certrelay.setting_models import NotificationEvent

log = logger("notifications")


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target: its `kind`, the `host` of its URL (the URL itself may be a password), and the events that it gets."""

    name: str
    kind: str
    host: str
    events: tuple[NotificationEvent, ...]
    last: Last


def states(services: Services) -> list[TargetState]:
    """All targets, in the order of the settings: one request to the tables. Raises NotReady."""
    found = deliveries.last(services)
    return [
        TargetState(name, target.kind, _host(target.url.get_secret_value()), target.events,
                    found.get(name) or Last(None, None))
        for name, target in services.settings.notifications.items()
    ]  # fmt: skip


def send_test(services: Services, name: str, by: str) -> Delivery:
    """Send a test message to the target now, whatever events it gets. It is not tried again.

    `by`: who asked for it. Raises NotFound, listing the targets."""
    if name not in services.settings.notifications:
        known = ", ".join(sorted(services.settings.notifications)) or "none"
        raise NotFound(f"there is no notification target {name!r}; the settings have: {known}", "NotConfigured")
    event = event_of("test", name, {"requested_by": by}, f"test.{uuid.uuid4().hex}", services.now())
    delivery = deliver.send(services, name, event)
    with about(target=name):
        log.info("%s has sent a test message; status of the response: %d", by, delivery.status)
    return delivery


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
