"""HTTP: Key Vault's issuers and certificate contacts."""

from typing import Any

import azure.functions as func

from certrelay.certificates import issuers
from handlers import request_models, response_models
from handlers.http import Answer, parsed
from handlers.roles import Role, acting_for
from handlers.routes import Blueprint, route

# The host tries functions in the order of their names: `admin_…` comes before all functions whose paths have a
# certificate's name, so that `certificates/contacts` and `certificates/issuers/policy` never reach those.
blueprint: Blueprint = {}


def _issuer(req: func.HttpRequest, body: dict[str, Any] | None = None) -> Answer:
    vault, name = req.route_params["vault"], req.route_params["issuer"]
    return Answer(issuers.issuer(acting_for(req), vault, name, req.method, body))


def _contacts(req: func.HttpRequest, body: dict[str, Any] | None = None) -> Answer:
    return Answer(issuers.contacts(acting_for(req), req.route_params["vault"], req.method, body))


@route(blueprint, Role.READER, answer=response_models.Listed)
def admin_list_issuers(req: func.HttpRequest) -> Answer:
    """The issuers of a vault."""
    return Answer({"value": issuers.issuers(acting_for(req), req.route_params["vault"])})


@route(blueprint, Role.READER, answer=response_models.Anything)
def admin_get_issuer(req: func.HttpRequest) -> Answer:
    """One issuer, without its password."""
    return _issuer(req)


@route(blueprint, Role.ADMINISTRATOR, body=request_models.SetIssuer, answer=response_models.Anything)
def admin_set_issuer(req: func.HttpRequest) -> Answer:
    """Create or replace an issuer (DigiCert, GlobalSign)."""
    return _issuer(req, parsed(req, request_models.SetIssuer).model_dump(exclude_none=True))


@route(blueprint, Role.ADMINISTRATOR, body=request_models.SetIssuer, answer=response_models.Anything)
def admin_update_issuer(req: func.HttpRequest) -> Answer:
    """Update parts of an issuer."""
    return _issuer(req, parsed(req, request_models.SetIssuer).model_dump(exclude_none=True))


@route(blueprint, Role.ADMINISTRATOR, answer=response_models.Anything)
def admin_delete_issuer(req: func.HttpRequest) -> Answer:
    """Delete an issuer."""
    return _issuer(req)


@route(blueprint, Role.READER, answer=response_models.Contacts)
def admin_get_contacts(req: func.HttpRequest) -> Answer:
    """The certificate contacts of a vault, who get Key Vault's own e-mails."""
    return _contacts(req)


@route(blueprint, Role.ADMINISTRATOR, body=request_models.SetContacts, answer=response_models.Contacts)
def admin_set_contacts(req: func.HttpRequest) -> Answer:
    """Replace the certificate contacts."""
    return _contacts(req, parsed(req, request_models.SetContacts).model_dump(exclude_none=True))


@route(blueprint, Role.ADMINISTRATOR, answer=response_models.Contacts)
def admin_delete_contacts(req: func.HttpRequest) -> Answer:
    """Delete the certificate contacts; returns the deleted ones."""
    return _contacts(req)
