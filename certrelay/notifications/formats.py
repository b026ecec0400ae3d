"""The formats of the targets: signed CloudEvents for webhooks, sentences for Teams and Slack."""

import base64
import hashlib
import hmac
import html
import json
from collections.abc import Callable
from typing import Any

from certrelay.setting_models import Target, signing_key

type Event = dict[str, Any]


def _webhook(target: Target, event: Event, now: int) -> tuple[bytes, dict[str, str]]:
    """Structured CloudEvents, signed as https://www.standardwebhooks.com says (HMAC-SHA256 of id, time and body).

    A full stop separates these three, so the id must not contain one."""
    body = json.dumps(event).encode()
    identifier = str(event["id"]).replace(".", ":")
    headers = {
        "Content-Type": "application/cloudevents+json",
        "webhook-id": identifier,
        "webhook-timestamp": str(now),
    }
    if target.secret is not None:
        signed = b".".join((identifier.encode(), str(now).encode(), body))
        digest = hmac.digest(signing_key(target.secret), signed, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return body, headers


def _slack(target: Target, event: Event, now: int) -> tuple[bytes, dict[str, str]]:
    """A message with escaped text, so that an authority's text can neither create links nor mention people:
    https://api.slack.com/reference/surfaces/formatting#escaping."""
    text = html.escape(sentence(event), quote=False)
    return json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}


def _teams(target: Target, event: Event, now: int) -> tuple[bytes, dict[str, str]]:
    """An adaptive card, as the Teams workflow "when a webhook request is received" expects it."""
    text = {"type": "TextBlock", "text": sentence(event), "wrap": True}
    card = {"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4"}
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card | {"body": [text]}}
    return json.dumps({"type": "message", "attachments": [attachment]}).encode(), {"Content-Type": "application/json"}


FORMATS: dict[str, Callable[[Target, Event, int], tuple[bytes, dict[str, str]]]] = {
    "webhook": _webhook,
    "slack": _slack,
    "teams": _teams,
}


_REACHED = {"expiring": "expires on {} and has not been renewed", "expired": "EXPIRED on {}"}


def sentence(event: Event) -> str:
    """The event as a sentence for people."""
    data, subject = event["data"], event["subject"]
    match str(event["type"]).rsplit(".", 1)[-1]:
        case "completed":
            issuer = data.get("authority") or "Key Vault"
            return f"{subject}: a new version is in Key Vault ({data.get('kind')}, {issuer}{_fallback(data)})."
        case "failed":
            return (
                f"{subject}: {data.get('kind')} failed{_fallback(data)}: "
                f"{(data.get('error') or {}).get('message', 'no reason given')}"
            )
        case "waiting":
            return f"{subject} waits for a person until {data.get('deadline')}: {data.get('awaits')}."
        case "expiring" | "expired" as reached if data.get("count"):
            first = ", ".join(data.get("certificates") or ())
            return f"{subject}: {data['count']} certificates are {reached}, from {data.get('expires')} on: {first} …"
        case "expiring" | "expired" as reached:
            so_far = f"{subject} {_REACHED[reached].format(data.get('expires'))}"
            return f"{so_far}. {data.get('why', '')}".strip()
        case "not-deployed":
            end = f"which expires on {data['expires']}" if data.get("expires") else "which cannot be read"
            return (
                f"{subject}: {data.get('endpoint')} still serves {data.get('served_is')}, {end}. "
                f"The newest version has been in Key Vault since {data.get('newest_since')}."
            )
        case "recovered":
            return f"{subject}: {data.get('event')} is over. It began at {data.get('since')}."
        case "test":
            return f"A test of CertRelay, sent by {data.get('requested_by')}: its messages to {subject} arrive here."
        case "sweep-late" | "poll-late" | "vault-unreadable" | "authority-down" | "poison" | "clock-wrong" as kind:
            return f"{kind}: {subject}: {data.get('detail')}. Next step: {data.get('next_step')}"
        case _:
            counts = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in data.items())
            return f"CertRelay today: {counts}."


def _fallback(data: Event) -> str:
    """That a fall-back was asked, and why, to go on a sentence with; else ""."""
    found = data.get("fallback")
    return f", a fall-back of {found.get('of')}: {found.get('why')}" if isinstance(found, dict) else ""
