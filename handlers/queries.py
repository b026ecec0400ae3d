"""HTTP: read certificates, their versions, policies and histories."""

from dataclasses import asdict
from typing import Any

import azure.functions as func

from certrelay.access import ownership
from certrelay.certificates import issuers, read
from certrelay.certificates.read import Filters, Line
from certrelay.keyvault.certificate import thumbprint_of, version_of
from certrelay.keyvault.tags import authority_of
from certrelay.notifications.outbox import fallback_of
from certrelay.pki.description import what_it_says
from certrelay.renewal import alerts
from certrelay.services import Services
from handlers import render, response_models
from handlers.certificates import where
from handlers.http import Answer, listed, number, query
from handlers.roles import Role, acting_for
from handlers.routes import Blueprint, choices, route, text, whole

FILTERS = (
    text("authority", "Only certificates that this authority renews."),
    text("issuer", "Only certificates whose policy has this issuer; a page may be short."),
    whole("expiring_within_days", "Only certificates that expire within this number of days.", 0, 100_000),
    choices(
        "state", "Only certificates in one of these states, with commas between them.",
        "managed", "unmanaged", "enabled", "disabled", "due", "expiring", "expired",
    ),
    whole("max", "How many certificates to return at most (default 25).", 1, 100),
    text("continuation", "The continuation of the previous response.", 9000),
)  # fmt: skip

blueprint: Blueprint = {}


@route(blueprint, Role.READER, query=FILTERS, answer=response_models.CertificateList)
def list_certificates(req: func.HttpRequest) -> Answer:
    """The certificates of a vault, page by page; a page may be short, and is the last if it has no continuation."""
    filters = Filters(
        query(req, "authority"),
        query(req, "issuer"),
        number(req, "expiring_within_days"),
        listed(req, "state"),
    )
    limit, vault = number(req, "max") or 25, req.route_params["vault"]
    acting = acting_for(req)
    items, continuation = read.certificates(acting, vault, filters, limit, query(req, "continuation"))
    lines = read.lines(acting, vault, items)
    return Answer({"value": [_line(acting, line) for line in lines], "continuation": continuation})


@route(blueprint, Role.READER, answer=response_models.Listed)
def list_deleted_certificates(req: func.HttpRequest) -> Answer:
    """The soft-deleted certificates of a vault, which can be recovered."""
    return Answer({"value": issuers.deleted(acting_for(req), req.route_params["vault"])})


@route(blueprint, Role.READER, answer=response_models.Anything)
def get_certificate_policy(req: func.HttpRequest) -> Answer:
    """The policy, which applies to the next version."""
    return Answer(read.policy(acting_for(req), *where(req)), cached=True)


@route(blueprint, Role.READER, answer=response_models.Versions)
def list_certificate_versions(req: func.HttpRequest) -> Answer:
    """All versions of a certificate."""
    return Answer({"value": [_version(item) for item in read.versions(acting_for(req), *where(req))]})


@route(blueprint, Role.READER, answer=response_models.History)
def get_certificate_history(req: func.HttpRequest) -> Answer:
    """The ended operations of a certificate, newest first: who requested them, what happened, and why. Its owners."""
    acting, (vault, name) = acting_for(req), where(req)
    owners = [render.owner_change_json(change) for change in ownership.owners(acting, vault, name)]
    ended = [render.operation_json(operation) for operation in read.history(acting, vault, name)]
    return Answer({"value": ended, "owners": owners})


@route(blueprint, Role.READER, answer=response_models.Certificate)
def get_certificate_version(req: func.HttpRequest) -> Answer:
    """One version of a certificate."""
    vault, name = where(req)
    bundle = read.bundle(acting_for(req), vault, name, req.route_params["version"])
    return Answer(render.certificate_json(vault, name, bundle), cached=True)


@route(blueprint, Role.READER, answer=response_models.CertificateDetail)
def get_certificate(req: func.HttpRequest) -> Answer:
    """The newest version of a certificate, with its chain and its renewal plan."""
    acting, (vault, name) = acting_for(req), where(req)
    detail = read.detail(acting, vault, name)
    due = detail.plan.due.isoformat() if detail.plan.due else None
    extra: dict[str, Any] = {
        **render.owner_json(detail.owner),
        "signed_by": detail.made.authority if detail.made else None,
        "renewal": {"due": due, "reason": detail.plan.reason},
        "chain": render.certificates_pem(detail.chain),
        "path": [what_it_says(der) for der in detail.chain],
    }
    if detail.endpoint:
        extra["endpoint"] = render.endpoint_json(acting, detail.endpoint)
    if detail.made and (fallback := fallback_of(detail.made)):
        extra["fallback"] = fallback
    return Answer(render.certificate_json(vault, name, detail.bundle) | extra, cached=True)


def _line(acting: Services, line: Line) -> dict[str, Any]:
    item, due = line.item, line.plan.due
    kept = {key: value for key, value in asdict(item).items() if key in ("name", "enabled", "thumbprint")}
    rendered = kept | {
        "expires": item.expires.isoformat() if item.expires else None,
        "authority": authority_of(item.tags),
        "state": alerts.state(item, acting.now()),
        "renewal_due": due.isoformat() if due else None,
        "renewal_reason": line.plan.reason,
        "failed_renewals": line.failures,
        "last_failure": line.last_failure or None,
        **render.owner_json(line.owner),
        "names": line.names.first if line.names else None,
        "more_names": line.names.more if line.names else 0,
        "tags": dict(item.tags),
    }
    return rendered | ({"endpoint": render.endpoint_json(acting, line.endpoint)} if line.endpoint else {})


def _version(item: dict[str, Any]) -> dict[str, Any]:
    attributes = item.get("attributes") or {}
    return {"version": version_of(item), "attributes": attributes, "thumbprint": thumbprint_of(item)}
