"""HTTP: all certificates at once: the forecast of renewals, and replacements."""

from dataclasses import asdict
from typing import Any

import azure.functions as func

from certrelay.renewal import forecast, replacements
from certrelay.renewal.replacements import Criteria, Replacement
from certrelay.services import Services
from handlers import fleet_models, request_models, roles, status_models
from handlers.http import Answer, idempotency_key, number, parsed, query
from handlers.roles import Role, acting_for
from handlers.routes import Blueprint, choice, route, text, whole

blueprint: Blueprint = {}


@route(
    blueprint, Role.READER, answer=fleet_models.Forecast,
    query=(
        whole("days", "How many days ahead (default 30).", 1, 730),
        whole("max", "How many renewals to return at most (default 500).", 1, 1000),
        text("continuation", "The continuation of the previous response.", 9000),
    ),
)  # fmt: skip
def get_forecast(req: func.HttpRequest) -> Answer:
    """What will be renewed when, by which authority, and how much the rate limits allow; the renewals page by page."""
    limit, continuation = number(req, "max") or 500, query(req, "continuation")
    expected = forecast.expected(acting_for(req), number(req, "days") or 30, limit, continuation)
    renewals = [{"vault": r.vault, "name": r.name, "authority": r.authority, "due": r.due.isoformat(),
                 "expires": r.expires.isoformat()} for r in expected.renewals]  # fmt: skip
    found: dict[str, Any] = {
        "days": [asdict(day) for day in expected.days],
        "vault_days": [asdict(day) for day in expected.vault_days],
        "renewals": renewals,
        "unreadable_vaults": expected.unreadable_vaults,
        "continuation": expected.continuation,
    }
    return Answer(found)


@route(
    blueprint, Role.ADMINISTRATOR,
    body=request_models.StartReplacement, answer=fleet_models.Replacement, status=202,
)  # fmt: skip
def start_replacement(req: func.HttpRequest) -> Answer:
    """Renew all certificates that match, as fast as the rate limits allow: for a mass revocation by an authority."""
    body = parsed(req, request_models.StartReplacement)
    criteria = Criteria(
        tuple(body.vaults), body.authority, tuple(body.names), body.issuer, tuple(body.serial_numbers),
        body.key_type, body.issued_before,
    )  # fmt: skip
    job = replacements.start(acting_for(req), criteria, roles.caller(req), idempotency_key(req))
    headers = {"Location": f"/api/replacements/{job.id}", "Retry-After": "60"}
    return Answer(_json(acting_for(req), job), 202, headers)


@route(
    blueprint, Role.READER, answer=status_models.ReplacementList,
    query=(
        choice("state", "Only replacements in this state.", "running", "started", "settled", "canceled"),
        whole("max", "How many replacements to return at most (default 25).", 1, 100),
        text("continuation", "The continuation of the previous response.", 9000),
    ),
)  # fmt: skip
def list_replacements(req: func.HttpRequest) -> Answer:
    """All replacements, page by page."""
    state, limit = query(req, "state"), number(req, "max") or 25
    found, continuation = replacements.page(acting_for(req), limit, query(req, "continuation"), state)
    return Answer({"value": [_line(job) for job in found], "continuation": continuation})


@route(blueprint, Role.READER, answer=fleet_models.Replacement)
def get_replacement(req: func.HttpRequest) -> Answer:
    """A replacement and its progress."""
    acting = acting_for(req)
    return Answer(_json(acting, replacements.find(acting, req.route_params["id"])))


@route(blueprint, Role.ADMINISTRATOR, answer=fleet_models.Replacement)
def cancel_replacement(req: func.HttpRequest) -> Answer:
    """Cancel a replacement: start no further renewals; those that were started continue."""
    acting = acting_for(req)
    return Answer(_json(acting, replacements.cancel(acting, req.route_params["id"])))


def _line(job: Replacement) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state,
        "requested_by": job.requested_by,
        "requested_at": job.requested_at.isoformat(),
        "looked_at": job.looked_at,
        **({"requested_by_name": job.requested_by_name} if job.requested_by_name else {}),
    }


def _json(acting: Services, job: Replacement) -> dict[str, object]:
    refused = [asdict(one) for one in replacements.refused(acting, job.id)]
    return _line(job) | {"progress": replacements.progress(acting, job.id), "refused": refused}
