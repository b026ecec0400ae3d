"""The world that notifies a receiver, and the delivery of what it has queued."""

import base64
import json
from dataclasses import replace
from typing import Any

from certrelay.notifications import deliver
from certrelay.setting_models import ALL_BUT_COMPLETED, Target
from tests.world import World


def listening(world: World, url: str, kind: str = "webhook") -> World:
    given: Any = {
        "kind": kind,
        "url": url,
        "secret": "canary-key",
        "events": ["completed", *ALL_BUT_COMPLETED],
    }
    settings = replace(world.services.settings, notifications={"ops": Target.model_validate(given)})
    return replace(world, services=replace(world.services, settings=settings))


def delivered(world: World) -> int:
    """Deliver what is in the queue, as its function would."""
    queue = world.services.storage.notifications._client
    messages = list(queue.receive_messages())
    for message in messages:
        deliver.deliver(world.services, json.loads(base64.b64decode(message.content)))
        queue.delete_message(message)
    return len(messages)
