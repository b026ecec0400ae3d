"""HTTP: how the service stands, all operations, who is notified, and the messages of the poison queues."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NoReturn

import azure.functions as func

from certrelay.access import grants
from certrelay.errors import Fault, Invalid
from certrelay.notifications import targets
from certrelay.notifications.deliveries import Delivery
from certrelay.notifications.targets import TargetState
from certrelay.operations import listing
from certrelay.operations.listing import Filters
from certrelay.services import Services
from certrelay.storage.operation import Operation
from certrelay.watch import doctor, poison, status
from certrelay.watch.poison import PoisonMessage
from handlers import csv_text, openapi, render, roles, status_models
from handlers.http import Answer, number, query
from handlers.roles import Role, acting_for
from handlers.routes import Blueprint, choice, route, text, whole

FILTERS = (
    choice("state", "Only operations in this state.", *listing.STATES),
    text("vault", "Only operations of this vault.", 24),
    text("authority", "Only operations of this authority.", 127),
    text("name", "Only operations of certificates whose names begin with this.", 127),
    text("since", "Only operations that were requested at this time or later (ISO 8601 with a time zone).", 40),
    whole("max", "How many operations to return at most (default 50).", 1, 200),
    text("continuation", "The continuation of the previous response.", 9000),
    choice(
        "format", "json (the default) or csv; then the continuation is in the header x-continuation.", "json", "csv"
    ),
)
COLUMNS = (
    "id", "vault", "name", "kind", "step", "authority", "requested_by", "requested_by_name", "requested_at", "ended_at",
    "error_code", "error_message", "target",
)  # fmt: skip

blueprint: Blueprint = {}


@route(
    blueprint, Role.READER, query=FILTERS,
    answer=status_models.OperationList, raw_answer=(csv_text.TYPE,),
)  # fmt: skip
def list_operations(req: func.HttpRequest) -> Answer:
    """The operations of all certificates, open ones first, page by page, as JSON or CSV; a page may be short."""
    filters = Filters(
        query(req, "state"), query(req, "vault"), query(req, "authority"), since=_since(req), name=query(req, "name")
    )
    limit, after = number(req, "max") or 50, query(req, "continuation")
    found, continuation = listing.page(acting_for(req), filters, limit, after)
    if query(req, "format") == "csv":
        headers = {"x-continuation": continuation} if continuation else {}
        return Answer(csv_text.csv_text(COLUMNS, map(_row, found)), headers=headers, content_type=csv_text.TYPE)
    return Answer({"value": [render.operation_json(operation) for operation in found], "continuation": continuation})


@route(blueprint, Role.READER, answer=status_models.Status)
def get_status(req: func.HttpRequest) -> Answer:
    """How the service stands: timers, operations, certificates, incidents, poison messages, version."""
    found = status.read(_for_everything(req, Role.READER))
    certificates = [
        {"authority": authority or None, "state": state, "count": count}
        for authority, state, count in found.certificates
    ]
    answer = {
        "version": openapi.VERSION,
        "now": found.now.isoformat(),
        "runs": [_written(asdict(run)) for run in found.runs],
        "operations": found.operations,
        "authorities": [_written(asdict(one)) for one in found.authorities],
        "certificates": certificates,
        "endpoints": found.endpoints,
        "not_deployed": found.not_deployed,
        "incidents": found.incidents,
        "poison_messages": found.poison_messages,
    }
    return Answer(answer)


@route(blueprint, Role.READER, answer=status_models.Diagnosis)
def get_doctor(req: func.HttpRequest) -> Answer:
    """What is wrong with this deployment, and the command that mends each finding; changes nothing."""
    found = doctor.examine(_for_everything(req, Role.READER))
    return Answer({"ok": all(one.ok for one in found), "findings": [asdict(one) for one in found]})


@route(blueprint, Role.READER, answer=status_models.NotificationTargets)
def list_notification_targets(req: func.HttpRequest) -> Answer:
    """Who is told of what, and how the last deliveries went; without addresses, which may be passwords."""
    found = targets.states(_for_everything(req, Role.READER))
    return Answer({"value": [_target(state) for state in found]})


@route(blueprint, Role.OPERATOR, answer=status_models.Delivery)
def send_test_notification(req: func.HttpRequest) -> Answer:
    """Send a test message to a target now, and say how it was answered."""
    acting = _for_everything(req, Role.OPERATOR)
    return Answer(_delivery(targets.send_test(acting, req.route_params["target"], roles.caller(req))))


@route(blueprint, Role.READER, answer=status_models.PoisonMessages)
def list_poison_messages(req: func.HttpRequest) -> Answer:
    """The messages that could not be processed, newest first, and why."""
    return Answer({"value": [_message(message) for message in poison.messages(_for_everything(req, Role.READER))]})


@route(blueprint, Role.OPERATOR, answer=status_models.PoisonMessage)
def retry_poison_message(req: func.HttpRequest) -> Answer:
    """Put a message back into its queue, when the cause of its failure is gone."""
    return Answer(_message(poison.put_back(_for_everything(req, Role.OPERATOR), req.route_params["id"])))


@route(blueprint, Role.OPERATOR, answer=status_models.PoisonMessage)
def drop_poison_message(req: func.HttpRequest) -> Answer:
    """Forget a message; an open operation goes on without it."""
    return Answer(_message(poison.drop(_for_everything(req, Role.OPERATOR), req.route_params["id"])))


def _for_everything(req: func.HttpRequest, role: Role) -> Services:
    """The services, for a caller with this role for all that there is. Raises NotPermitted."""
    acting = acting_for(req)
    grants.require_everything(acting, role, (), None)
    return acting


def _since(req: func.HttpRequest) -> datetime | None:
    written = query(req, "since")
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written.replace(" ", "+"))  # an unquoted `+` arrives as a space
        if moment.tzinfo is None:
            _refuse_since()
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        _refuse_since()


def _refuse_since() -> NoReturn:
    raise Invalid([Fault("/since", "must be a time with its zone, such as 2026-11-28T06:00:00Z")])


def _message(message: PoisonMessage) -> dict[str, Any]:
    return _written(asdict(message))


def _target(state: TargetState) -> dict[str, Any]:
    last = state.last
    return {
        "name": state.name,
        "kind": state.kind,
        "host": state.host,
        "events": list(state.events),
        "last_delivered": _delivery(last.delivered) if last.delivered else None,
        "last_failed": _delivery(last.failed) if last.failed else None,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return _written(asdict(delivery)) | {"status": delivery.status or None, "delivered": delivery.delivered}


def _written(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _row(operation: Operation) -> dict[str, Any]:
    rendered = render.operation_json(operation)
    error = rendered.get("error") or rendered.get("last_error") or {}
    return rendered | {"error_code": error.get("code"), "error_message": error.get("message")}
