"""HTTP: create and import certificates; read, cancel and delete operations; fetch a CSR, provide its certificate."""

import base64
import binascii
from dataclasses import replace

import azure.functions as func

from certrelay.access import ownership
from certrelay.certificates import create, edit, import_file, read
from certrelay.errors import Fault, Invalid
from certrelay.operations import find, intervene, waiting
from certrelay.storage.operation import Operation
from certrelay.storage.owners import Owner
from handlers import render, request_models, response_models, roles
from handlers.http import Answer, idempotency_key, is_set, parsed, preferred_wait, query
from handlers.roles import Role, acting_for
from handlers.routes import PREFER, Blueprint, choice, flag, route, text

RETRY_AFTER_SECONDS = "2"
CSR_TYPE, PEM_TYPE = "application/pkcs10", "application/x-pem-file"
CERTIFICATE_TYPES = (
    "application/pkix-cert",
    "application/pkcs7-mime",
    "application/x-pem-file",
    "application/octet-stream",
)

blueprint: Blueprint = {}


def where(req: func.HttpRequest) -> tuple[str, str]:
    """The vault alias and the certificate name in the path. Raises NotFound (unknown vault), Invalid (name)."""
    vault, name = req.route_params["vault"], req.route_params["name"]
    acting_for(req).vault_settings(vault)
    if faults := create.where_faults(acting_for(req), vault, name):
        raise Invalid(faults)
    return vault, name


def operation_answer(operation: Operation, status: int = 200, owner: Owner | None = None) -> Answer:
    """A response with an operation; while it is open, Location and Retry-After say where and when to poll."""
    headers = {}
    if not operation.state.ended:
        path = render.certificate_path(operation.vault, operation.name)
        headers = {"Location": f"{path}/pending?request_id={operation.id}", "Retry-After": RETRY_AFTER_SECONDS}
    return Answer(render.operation_json(operation, owner), status, headers, cached=status == 200)


def wait_of(req: func.HttpRequest) -> int | None:
    """The seconds that the caller would rather wait. Raises Invalid. Read it before anything is written."""
    return preferred_wait(req, waiting.LONGEST_WAIT)


def waited_answer(req: func.HttpRequest, operation: Operation, seconds: int | None, status: int = 202) -> Answer:
    """The response to a request that has an operation done: with `seconds`, 200 if it ends within them."""
    if seconds is None:
        return operation_answer(operation, status)
    operation = waiting.until_ended(acting_for(req), operation, seconds)
    answer = operation_answer(operation, 200 if operation.state.ended else status)
    return replace(answer, cached=False, headers=answer.headers | {"Preference-Applied": f"wait={seconds}"})


@route(
    blueprint, Role.REQUESTER,
    body=request_models.CreateCertificate, answer=response_models.Operation, status=202, headers=(PREFER,),
)  # fmt: skip
def create_certificate(req: func.HttpRequest) -> Answer:
    """Create a certificate or a new version of one, with an authority or one of Key Vault's own issuers."""
    spec = parsed(req, request_models.CreateCertificate).to_spec()
    vault, name = req.route_params["vault"], req.route_params["name"]
    key, caller, seconds = idempotency_key(req), roles.caller(req), wait_of(req)
    operation = create.create(
        acting_for(req), vault, name, spec, requested_by=caller, idempotency_key=key, hold=bool(seconds)
    )
    return waited_answer(req, operation, seconds)


@route(blueprint, Role.REQUESTER, body=request_models.ImportCertificate, answer=response_models.Imported)
def import_certificate(req: func.HttpRequest) -> Answer:
    """Import a certificate with its private key, from a PFX, PEM or DER file."""
    command = parsed(req, request_models.ImportCertificate).to_command()
    vault, name = req.route_params["vault"], req.route_params["name"]
    imported = import_file.import_certificate(acting_for(req), vault, name, command, requested_by=roles.caller(req))
    answer = render.certificate_json(vault, name, imported.bundle)
    return Answer(answer | {"changes": list(imported.changes), "imported": imported.is_new})


@route(
    blueprint, Role.READER, answer=response_models.Operation,
    query=(text("request_id", "The id of an operation; by default the latest one.", 200),),
)  # fmt: skip
def get_certificate_operation(req: func.HttpRequest) -> Answer:
    """An operation of a certificate: its progress, or how it ended."""
    vault, name = where(req)
    operation = find.of_certificate(acting_for(req), vault, name, query(req, "request_id"))
    return operation_answer(operation, owner=ownership.owner(acting_for(req), vault, name))


@route(blueprint, Role.REQUESTER, body=request_models.CancelOperation, answer=response_models.Operation)
def cancel_certificate_operation(req: func.HttpRequest) -> Answer:
    """Request cancellation of the operation; it takes effect unless the certificate is merged first."""
    parsed(req, request_models.CancelOperation)
    return operation_answer(intervene.cancel(acting_for(req), *where(req)))


@route(
    blueprint, Role.OPERATOR, answer=response_models.Operation,
    query=(flag("force", "true: also delete a pending operation that CertRelay did not create."),),
)  # fmt: skip
def delete_certificate_operation(req: func.HttpRequest) -> Answer:
    """Delete a stuck operation, in Key Vault too, so that the name is free again."""
    ended = edit.delete_pending(acting_for(req), *where(req), force=is_set(req, "force"))
    return operation_answer(ended) if ended else Answer(None, 204)


@route(
    blueprint, Role.READER, raw_answer=(CSR_TYPE, PEM_TYPE),
    query=(choice("format", "The encoding (default der).", "pem", "der"),),
)  # fmt: skip
def get_certificate_signing_request(req: func.HttpRequest) -> Answer:
    """The CSR (RFC 2986) of the pending operation, to have it signed by hand."""
    csr = read.csr(acting_for(req), *where(req))
    encoding = query(req, "format")
    if encoding == "pem" or (encoding is None and "pem" in req.headers.get("accept", "")):
        return Answer(render.csr_pem(csr), content_type=PEM_TYPE)
    return Answer(csr, content_type=CSR_TYPE)


@route(
    blueprint, Role.OPERATOR,
    body=request_models.MergeCertificate, raw_body=CERTIFICATE_TYPES, answer=response_models.Operation, status=200,
    headers=(PREFER,),
)  # fmt: skip
def merge_certificate(req: func.HttpRequest) -> Answer:
    """Provide the signed certificate and its chain: PEM, DER or PKCS#7, in any order. It is verified like any other."""
    vault, name = where(req)
    is_json = req.headers.get("content-type", "application/json").split(";")[0].strip().endswith("json")
    answer = _answer(parsed(req, request_models.MergeCertificate)) if is_json else req.get_body()
    seconds = wait_of(req)
    return waited_answer(req, intervene.provide_answer(acting_for(req), vault, name, answer), seconds, 200)


@route(blueprint, Role.READER, answer=response_models.Operation)
def get_operation(req: func.HttpRequest) -> Answer:
    """An operation by its id, open or ended."""
    operation = find.by_id(acting_for(req), req.route_params["id"])
    return operation_answer(operation, owner=ownership.owner(acting_for(req), operation.vault, operation.name))


def _answer(body: request_models.MergeCertificate) -> bytes:
    if (body.x5c is None) == (body.certificate is None):
        raise Invalid([Fault("", "needs either x5c or certificate")])
    if body.certificate is not None:
        return body.certificate.encode()
    parts = []
    for index, written in enumerate(body.x5c or ()):
        try:
            der = base64.b64decode(written, validate=True)
        except (binascii.Error, ValueError):
            raise Invalid([Fault(f"/x5c/{index}", "must be base64")]) from None
        parts.append(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n")
    return b"".join(parts)
