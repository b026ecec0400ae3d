"""HTTP: change, renew, revoke, adopt, release, delete and recover certificates."""

import azure.functions as func

from certrelay.certificates import adopt, edit, revoke
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.revoke import Revocation
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.renewal.renew import Changes
from handlers import render, request_models, response_models, roles, services
from handlers.certificates import PATH, operation_answer, where
from handlers.http import Answer, idempotency_key, parsed
from handlers.roles import Role
from handlers.routes import route

blueprint = func.Blueprint()


@route(blueprint, "PATCH", f"{PATH}/policy", Role.OPERATOR, body=request_models.Policy, answer=response_models.Anything)
def update_certificate_policy(req: func.HttpRequest) -> Answer:
    """Merge changes into the policy, as Key Vault does; they hold from the next version on."""
    return Answer(edit.update_policy(services(), *where(req), parsed(req, request_models.Policy).to_json()))


@route(
    blueprint, "PATCH", PATH, Role.OPERATOR, body=request_models.UpdateCertificate, answer=response_models.Certificate
)
def update_certificate(req: func.HttpRequest) -> Answer:
    """Replace the tags (CertRelay's own stay), or switch the newest version on or off."""
    given = parsed(req, request_models.UpdateCertificate)
    vault, name = where(req)
    return Answer(render.certificate_json(vault, name, edit.update(services(), vault, name, given.tags, given.enabled)))


@route(blueprint, "DELETE", PATH, Role.OPERATOR, answer=response_models.Anything)
def delete_certificate(req: func.HttpRequest) -> Answer:
    """Soft-delete it, with all versions; it can be recovered."""
    deleted = edit.delete(services(), *where(req))
    kept = ("deletedDate", "scheduledPurgeDate", "tags")
    return Answer({key: deleted[key] for key in kept if key in deleted})


@route(
    blueprint,
    "POST",
    "vaults/{vault}/deletedcertificates/{name}/recover",
    Role.OPERATOR,
    answer=response_models.Anything,
)
def recover_certificate(req: func.HttpRequest) -> Answer:
    """Bring a soft-deleted certificate back."""
    vault, name = where(req)
    return Answer(render.certificate_json(vault, name, edit.recover(services(), vault, name)))


@route(
    blueprint, "POST", f"{PATH}/renew", Role.OPERATOR,
    body=request_models.RenewCertificate, answer=response_models.Operation, status=202,
)  # fmt: skip
def renew_certificate(req: func.HttpRequest) -> Answer:
    """Renew it now, due or not: same policy, names and tags; by another authority if one is named."""
    given = parsed(req, request_models.RenewCertificate)
    vault, name = where(req)
    operation = renew.renew(
        services(),
        vault,
        name,
        Origin(requested_by=roles.caller(req), reason="asked for", idempotency_key=idempotency_key(req)),
        Changes(authority=given.authority, reuse_key=given.reuse_key),
    )
    return operation_answer(operation, 202)


@route(
    blueprint,
    "POST",
    f"{PATH}/revoke",
    Role.OPERATOR,
    body=request_models.RevokeCertificate,
    answer=response_models.Revoked,
)
def revoke_certificate(req: func.HttpRequest) -> Answer:
    """Have a version revoked by its authority, with a reason of RFC 5280; renew it as well with replace."""
    given = parsed(req, request_models.RevokeCertificate)
    vault, name = where(req)
    origin = Origin(requested_by=roles.caller(req), idempotency_key=idempotency_key(req))
    revocation = Revocation(given.version or "", given.reason, given.replace)
    bundle, operation = revoke.revoke(services(), vault, name, revocation, origin)
    shown = render.operation_json(operation) if operation else None
    return Answer({"certificate": render.certificate_json(vault, name, bundle), "operation": shown})


@route(
    blueprint,
    "POST",
    f"{PATH}/adopt",
    Role.OPERATOR,
    body=request_models.AdoptCertificate,
    answer=response_models.Certificate,
)
def adopt_certificate(req: func.HttpRequest) -> Answer:
    """Have a certificate that was made elsewhere renewed by an authority from now on."""
    given = parsed(req, request_models.AdoptCertificate)
    vault, name = where(req)
    trigger = given.trigger.model_dump(exclude_none=True) if given.trigger else None
    asked = Adoption(given.authority, given.validity_days, trigger, given.force)
    return Answer(render.certificate_json(vault, name, adopt.adopt(services(), vault, name, asked)))


@route(blueprint, "POST", f"{PATH}/release", Role.OPERATOR, answer=response_models.Certificate)
def release_certificate(req: func.HttpRequest) -> Answer:
    """Renew it no longer; nothing else changes."""
    vault, name = where(req)
    return Answer(render.certificate_json(vault, name, adopt.release(services(), vault, name)))
