"""HTTP: all certificates at once: what will be renewed when, and replacing everything."""

import azure.functions as func

from certrelay.renewal import forecast, replacements
from certrelay.renewal.replacements import Criteria, Replacement
from handlers import request_models, response_models, roles, services
from handlers.http import Answer, idempotency_key, number, parsed
from handlers.roles import Role
from handlers.routes import Query, route

blueprint = func.Blueprint()


@route(
    blueprint, "GET", "forecast", Role.READER, answer=response_models.Forecast,
    query=(Query("days", "How far ahead, 1 to 730 (30).", "integer"),),
)  # fmt: skip
def get_forecast(req: func.HttpRequest) -> Answer:
    """What will be renewed when, by which authority, against what its rate allows."""
    found = forecast.expected(services(), number(req, "days", 1, 730) or 30)
    days = [{"date": d.date, "authority": d.authority, "renewals": d.renewals, "capacity": d.capacity}
            for d in found.days]  # fmt: skip
    listed = [{"vault": one.vault, "name": one.name, "authority": one.authority, "due": one.due.isoformat(),
               "expires": one.expires.isoformat()} for one in found.renewals]  # fmt: skip
    return Answer({"days": days, "renewals": listed, "unreadable_vaults": found.unreadable_vaults})


@route(
    blueprint, "POST", "replacements", Role.ADMINISTRATOR,
    body=request_models.StartReplacement, answer=response_models.Replacement, status=202,
)  # fmt: skip
def start_replacement(req: func.HttpRequest) -> Answer:
    """Renew all certificates that match, at the pace of the rates: the day an authority announces a mass revocation."""
    given = parsed(req, request_models.StartReplacement)
    criteria = Criteria(
        tuple(given.vaults), given.authority, tuple(given.names), given.issuer, tuple(given.serial_numbers),
        given.key_type, given.issued_before,
    )  # fmt: skip
    job = replacements.start(services(), criteria, roles.caller(req), idempotency_key(req))
    headers = {"Location": f"/api/replacements/{job.id}", "Retry-After": "60"}
    return Answer(_json(job), 202, headers)


@route(blueprint, "GET", "replacements/{id}", Role.READER, answer=response_models.Replacement)
def get_replacement(req: func.HttpRequest) -> Answer:
    """How far a replacement is."""
    return Answer(_json(replacements.find(services(), req.route_params["id"])))


@route(blueprint, "DELETE", "replacements/{id}", Role.ADMINISTRATOR, answer=response_models.Replacement)
def cancel_replacement(req: func.HttpRequest) -> Answer:
    """Start no further renewals; those that were started go on."""
    return Answer(_json(replacements.cancel(services(), req.route_params["id"])))


def _json(job: Replacement) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state,
        "requested_by": job.requested_by,
        "requested_at": job.requested_at.isoformat(),
        "looked_at": job.looked_at,
        "progress": replacements.progress(services(), job.id),
    }
