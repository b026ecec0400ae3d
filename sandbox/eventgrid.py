"""Event Grid's push delivery to a webhook: validation handshake, retries with back-off, both event schemas.

https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema and …/delivery-and-retry.
Delivery runs in its own thread and on the machine's clock; `submit` never waits.
"""

import functools
import heapq
import itertools
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

Event = dict[str, Any]

_log = logging.getLogger(__name__)
SCHEMAS = ("EventGridSchema", "CloudEventSchemaV1_0")
_REMEMBERED = 10_000  # events
_FINAL = {400, 401, 413}  # never retried for a webhook, see …/delivery-and-retry#retry-schedule


@dataclass
class Subscription:
    """Where events are delivered. `schema`: `EventGridSchema` or `CloudEventSchemaV1_0`. Times are seconds.

    `duplicates` is how many extra copies of each event are sent: Event Grid only promises "at least once".
    `event_types` None means all. `batch` is the largest number of events in one request.
    """

    webhook: str
    schema: str = "EventGridSchema"
    duplicates: int = 0
    batch: int = 1
    name: str = "CERTRELAY"
    event_types: list[str] | None = None
    retry_delays: list[float] = field(default_factory=lambda: [0.5, 1, 2, 4, 8, 16, 30])
    max_attempts: int = 30
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.schema not in SCHEMAS:
            raise ValueError(f"schema must be one of {', '.join(SCHEMAS)}")
        if not (_is_whole(self.duplicates, 0) and _is_whole(self.batch, 1) and _is_whole(self.max_attempts, 1)):
            raise ValueError("duplicates, batch and max_attempts must be whole numbers")
        delays = self.retry_delays
        if not isinstance(delays, list) or not delays or not all(_is_span(delay) for delay in [*delays, self.timeout]):
            raise ValueError("retry_delays and timeout must be seconds")
        if not isinstance(self.event_types, list | None):
            raise ValueError("event_types must be a list")
        check_webhook(self.webhook)

    def pause(self, attempts: int) -> float:
        return self.retry_delays[min(attempts, len(self.retry_delays)) - 1]


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_span(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 3600


class Publisher:
    """Delivers submitted events. Without a subscription it drops them, as Event Grid does."""

    def __init__(self, topic: str, on_done: Callable[[str], None] = lambda _: None) -> None:
        self.subscription: Subscription | None = None
        self.validated = False
        self.delivered: deque[Event] = deque(maxlen=_REMEMBERED)
        self.dead: deque[Event] = deque(maxlen=_REMEMBERED)
        self._topic = topic
        self._on_done = on_done
        self._waiting: list[tuple[float, int, int, Event]] = []  # due, order, attempts made, event
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._stopped = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="eventgrid", daemon=True)

    def start(self) -> None:
        """Start delivering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop delivering. The submitter keeps what is not delivered."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(2)  # a webhook that hangs must not delay the shutdown
        if "_session" in self.__dict__:
            self._session.close()

    @functools.cached_property
    def _session(self) -> Any:
        import requests  # a quarter of a vault's start, and only whoever delivers needs it

        session = requests.Session()
        session.trust_env = False
        session.max_redirects = 0  # to be sent elsewhere is a failure, as any answer but 200 to 204
        return session

    def subscribe(self, subscription: Subscription | None) -> None:
        """Replace the subscription. The handshake is repeated until the webhook answers it.

        None ends it and drops the undelivered events.
        """
        with self._wake:
            dropped = [event["id"] for *_, event in self._waiting] if subscription is None else []
            if dropped:
                self._waiting = []
            self.subscription = subscription
            self.validated = False
            self._handshakes = 0
            self._wake.notify()
        for identifier in dropped:
            self._on_done(identifier)

    def submit(self, event: Event) -> None:
        """Accept an event in the Event Grid schema for delivery."""
        with self._wake:
            subscription = self.subscription
            wanted = subscription and event["eventType"] in (subscription.event_types or [event["eventType"]])
            if wanted:
                heapq.heappush(self._waiting, (time.monotonic(), next(self._order), 0, event))
                self._wake.notify()
        if not wanted:
            self._on_done(event["id"])

    def status(self) -> dict[str, Any]:
        """The subscription, whether its webhook is validated, and how many events are waiting, delivered or dropped."""
        with self._wake:
            return {
                "subscription": asdict(self.subscription) if self.subscription else None,
                "validated": self.validated,
                "waiting": len(self._waiting),
                "busy": self._busy,
                "delivered": len(self.delivered),
                "dead": len(self.dead),
            }

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                subscription, batch = self._next()
                if self._stopped:
                    return
                self._busy = True
            if subscription is None:
                continue
            if not self.validated:
                self._handshake(subscription)
            else:
                self._deliver(subscription, batch)

    def _next(self) -> tuple[Subscription | None, list[tuple[int, Event]]]:
        """Wait for something to do: a handshake, or events that are due."""
        subscription = self.subscription
        if subscription and not self.validated:
            if self._handshakes:
                self._wake.wait(subscription.pause(self._handshakes))
            return self.subscription, []
        if subscription is None or not self._waiting:
            self._wake.wait()
            return None, []
        remaining = self._waiting[0][0] - time.monotonic()
        if remaining > 0:
            self._wake.wait(remaining)
            return None, []
        batch: list[tuple[int, Event]] = []
        while self._waiting and self._waiting[0][0] <= time.monotonic() and len(batch) < subscription.batch:
            _, _, attempts, event = heapq.heappop(self._waiting)
            batch.append((attempts, event))
        return subscription, batch

    def _handshake(self, subscription: Subscription) -> None:
        accepted = (_validate_cloud if _is_cloud(subscription) else self._validate)(self, subscription)
        with self._wake:
            if self.subscription is subscription:
                self.validated = accepted
                self._handshakes += 1

    def _validate(self, _: "Publisher", subscription: Subscription) -> bool:
        code = str(uuid.uuid4())
        event = {
            "id": str(uuid.uuid4()),
            "topic": self._topic,
            "subject": "",
            "data": {"validationCode": code},
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.0000000Z", time.gmtime()),
            "metadataVersion": "1",
            "dataVersion": "1",
        }
        answer = self._post(subscription, [event], "SubscriptionValidation", 0)
        if answer is None or answer.status_code != 200:
            return False
        try:
            return bool(answer.json().get("validationResponse") == code)
        except (ValueError, AttributeError):
            return False

    def _deliver(self, subscription: Subscription, batch: list[tuple[int, Event]]) -> None:
        attempts = max(attempt for attempt, _ in batch)
        events = [event for _, event in batch]
        answer = self._post(subscription, events, "Notification", attempts)
        for _ in range(subscription.duplicates if answer is not None and answer.ok else 0):
            self._post(subscription, events, "Notification", attempts)
        status = answer.status_code if answer is not None else 0
        for event in events:
            if 200 <= status <= 204:
                self._finish(event, self.delivered)
            elif status in _FINAL or attempts + 1 >= subscription.max_attempts:
                _log.warning("event %s of %s is dropped: status %s", event["id"], event["subject"], status)
                self._finish(event, self.dead)
            else:
                self._retry(subscription, attempts + 1, event)

    def _retry(self, subscription: Subscription, attempts: int, event: Event) -> None:
        with self._wake:
            due = time.monotonic() + subscription.pause(attempts)
            heapq.heappush(self._waiting, (due, next(self._order), attempts, event))

    def _finish(self, event: Event, where: deque[Event]) -> None:
        with self._wake:
            where.append(event)
        self._on_done(event["id"])

    def _post(self, subscription: Subscription, events: list[Event], kind: str, attempts: int) -> Any:
        """The answer (requests.Response), or None."""
        headers = {
            "aeg-event-type": kind,
            "aeg-subscription-name": subscription.name,
            "aeg-delivery-count": str(attempts),
            "aeg-data-version": "1",
            "aeg-metadata-version": "1",
            "Content-Type": "application/json; charset=utf-8",
        }
        body: Any = events
        if _is_cloud(subscription):
            translated = [cloud_event(event) for event in events]
            body = translated if subscription.batch > 1 else translated[0]
            kind = "cloudevents-batch" if subscription.batch > 1 else "cloudevents"
            headers["Content-Type"] = f"application/{kind}+json; charset=utf-8"
            headers["WebHook-Request-Origin"] = "eventgrid.azure.net"
        try:
            return self._session.post(
                subscription.webhook, data=json.dumps(body).encode(), headers=headers, timeout=subscription.timeout
            )
        except OSError:  # RequestException is one
            return None


def _validate_cloud(publisher: Publisher, subscription: Subscription) -> bool:
    """CloudEvents 1.0 webhooks: OPTIONS with the origin, which the webhook must allow."""
    try:
        answer = publisher._session.options(
            subscription.webhook,
            headers={"WebHook-Request-Origin": "eventgrid.azure.net"},
            timeout=subscription.timeout,
        )
    except OSError:  # RequestException is one
        return False
    return answer.ok and answer.headers.get("WebHook-Allowed-Origin") in ("*", "eventgrid.azure.net")


def _is_cloud(subscription: Subscription) -> bool:
    return subscription.schema == "CloudEventSchemaV1_0"


def cloud_event(event: Event) -> Event:
    """Translate an event to the CloudEvents 1.0 schema."""
    return {
        "id": event["id"],
        "source": event["topic"],
        "specversion": "1.0",
        "type": event["eventType"],
        "subject": event["subject"],
        "time": event["eventTime"],
        "data": event["data"],
    }


def check_webhook(url: str) -> str:
    """The URL, if it is on this machine: the sandbox posts nowhere else. Raises ValueError."""
    if (
        not isinstance(url, str)
        or urlsplit(url).scheme not in ("http", "https")
        or urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
    ):
        raise ValueError(f"not a webhook on this machine: {url}")
    return url
