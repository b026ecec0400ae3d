"""HTTP: create and import certificates, look at their operations, cancel them."""

import azure.functions as func

from handlers import models, render, services
from handlers.edge import Answer, caller, endpoint, idempotency_key, parsed
from lifecycle import creations, imports, requests
from lifecycle.model import Operation

RETRY_AFTER_SECONDS = "2"
PATH = "vaults/{vault}/certificates/{name}"

blueprint = func.Blueprint()


def _where(req: func.HttpRequest) -> tuple[str, str]:
    return req.route_params["vault"], req.route_params["name"]


def _operation(operation: Operation, status: int = 200) -> Answer:
    headers = {}
    if not operation.state.ended:
        where = render.certificate_path(operation.vault, operation.name)
        headers = {"Location": f"{where}/pending?request_id={operation.id}", "Retry-After": RETRY_AFTER_SECONDS}
    return Answer(render.operation_json(operation), status, headers)


@blueprint.route(route=f"{PATH}/create", methods=["POST"])
@endpoint
def create_certificate(req: func.HttpRequest) -> Answer:
    asked = parsed(req, models.CreateCertificate).to_asked()
    key = idempotency_key(req)
    operation = creations.create(services(), *_where(req), asked, requested_by=caller(req), idempotency_key=key)
    return _operation(operation, 202)


@blueprint.route(route=f"{PATH}/import", methods=["POST"])
@endpoint
def import_certificate(req: func.HttpRequest) -> Answer:
    given = parsed(req, models.ImportCertificate).to_import()
    vault, name = _where(req)
    imported = imports.import_certificate(services(), vault, name, given, requested_by=caller(req))
    answer = render.certificate_json(vault, name, imported.bundle)
    return Answer(answer | {"changes": list(imported.changes), "imported": imported.is_new})


@blueprint.route(route=f"{PATH}/pending", methods=["GET"])
@endpoint
def get_certificate_operation(req: func.HttpRequest) -> Answer:
    vault, name = _where(req)
    services().vault_settings(vault)
    identifier = req.params.get("request_id")
    found = requests.find(services(), identifier) if identifier else requests.latest(services(), vault, name)
    return _operation(found)


@blueprint.route(route=f"{PATH}/pending", methods=["PATCH"])
@endpoint
def cancel_certificate_operation(req: func.HttpRequest) -> Answer:
    parsed(req, models.CancelOperation)
    vault, name = _where(req)
    services().vault_settings(vault)
    return _operation(requests.cancel(services(), vault, name))


@blueprint.route(route="operations/{id}", methods=["GET"])
@endpoint
def get_operation(req: func.HttpRequest) -> Answer:
    return _operation(requests.find(services(), req.route_params["id"]))
