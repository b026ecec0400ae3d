"""host.json and the host's own keys.

https://learn.microsoft.com/azure/azure-functions/functions-host-json
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OVERRIDE = "AzureFunctionsJobHost__"  # https://learn.microsoft.com/azure/azure-functions/functions-host-json


@dataclass(frozen=True)
class Queues:
    """Seconds throughout. `lease` is hard-coded in the host (QueueProcessor), ten minutes."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0
    max_polling_interval: float = 2.0
    base64: bool = True
    lease: float = 600.0


@dataclass(frozen=True)
class Keys:
    master: str
    function: str
    eventgrid: str


@dataclass(frozen=True)
class Configuration:
    queues: Queues = field(default_factory=Queues)
    route_prefix: str = "api"
    function_timeout: float = 1800.0

    @classmethod
    def read(cls, directory: Path, environment: Mapping[str, str]) -> "Configuration":
        """What host.json says, or an application setting instead: `AzureFunctionsJobHost__extensions__queues__…`."""
        host = json.loads((directory / "host.json").read_text())
        for name, value in environment.items():
            if name.startswith(OVERRIDE):
                _override(host, name.removeprefix(OVERRIDE).split("__"), value)
        extensions = host.get("extensions") or {}
        queues: dict[str, Any] = extensions.get("queues") or {}
        batch = int(queues.get("batchSize", 16))
        return cls(
            Queues(
                batch_size=batch,
                # QueuesOptions: half a batch for each processor.
                new_batch_threshold=int(queues.get("newBatchThreshold", max(1, batch // 2) * (os.cpu_count() or 1))),
                max_dequeue_count=int(queues.get("maxDequeueCount", 5)),
                visibility_timeout=_seconds(queues.get("visibilityTimeout", "00:00:00")),
                max_polling_interval=_seconds(queues.get("maxPollingInterval", "00:00:02")),
                base64=str(queues.get("messageEncoding", "base64")).lower() == "base64",
            ),
            str((extensions.get("http") or {}).get("routePrefix", "api")).strip("/"),
            _seconds(host.get("functionTimeout", "00:30:00")),
        )


def _override(host: dict[str, Any], path: list[str], value: str) -> None:
    *sections, last = path
    for section in sections:
        host = host.setdefault(section, {})
    host[last] = value


def _seconds(span: str) -> float:
    found = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)", span)
    if found is None:
        raise ValueError(f"host.json: {span!r} is no TimeSpan")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
