"""Event Grid: Key Vault's events trigger a check of the certificate; its own dates decide."""

from typing import Any

import azure.functions as func

from certrelay.log import logger
from certrelay.renewal import events
from handlers import services

log = logger("events")


def certificate_events(event: func.EventGridEvent) -> None:
    """Handle one event; an exception makes Event Grid deliver it again."""
    kind = getattr(event, "event_type", None) or getattr(event, "type", "")
    data: Any = event.get_json()
    events.handle(services(), str(kind), data if isinstance(data, dict) else {})
