"""The Event Grid trigger's webhook: `/runtime/webhooks/EventGrid?functionName=…&code=…`.

Behaviour after Azure/azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.EventGrid:
EventGridExtensionConfigProvider.cs and HttpRequestProcessor.cs. One invocation an event, in parallel; any failure
answers 500 for the whole batch, so that Event Grid delivers all of it again.
"""

import asyncio
import json
from typing import Any

from sandbox.host.invocations import Invocations
from sandbox.host.worker import Function

type Answer = tuple[int, dict[str, str], bytes]


async def receive(
    invocations: Invocations, function: Function | None, name: str, method: str, headers: dict[str, str], body: bytes
) -> Answer:
    """The webhook's answer: status, headers, body. The key was checked before."""
    if function is None:
        return 404, {}, f"cannot find function: '{name}'".encode()
    if method == "OPTIONS":
        return 200, {"Webhook-Allowed-Origin": headers.get("webhook-request-origin", "*")}, b""
    try:
        found = json.loads(body)
    except ValueError:
        return 400, {}, b"the body is not JSON"
    events = found if isinstance(found, list) else [found]
    kind = headers.get("aeg-event-type", "").lower()
    if kind == "subscriptionvalidation":
        return _validated(events)
    if kind == "unsubscribe":
        return 202, {}, b""
    cloud = "cloudevents" in headers.get("content-type", "") or "ce-specversion" in headers
    if kind != "notification" and not cloud:
        return 400, {}, b""
    values = [invocations.worker.value(event) for event in events]
    results = await asyncio.gather(*(invocations.invoke(function, value) for value in values))
    return (202, {}, b"") if all(result.ok for result in results) else (500, {}, b"an event failed")


def _validated(events: list[Any]) -> Answer:
    try:
        data = events[0]["data"]
        data = json.loads(data) if isinstance(data, str) else data  # CloudEvents double-encode it
        answer = {"validationResponse": data["validationCode"]}
    except (IndexError, KeyError, TypeError, ValueError):
        return 400, {}, b"no validation code"
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
