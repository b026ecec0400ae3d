"""HTTP: change, renew, revoke, adopt, release, delete and recover certificates."""

import azure.functions as func

from certrelay.access import ownership
from certrelay.certificates import adopt, edit, revoke
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.revoke import Revocation
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.renewal.renew import Changes
from handlers import render, request_models, response_models, roles
from handlers.certificates import wait_of, waited_answer, where
from handlers.http import Answer, idempotency_key, is_set, parsed
from handlers.roles import Role, acting_for
from handlers.routes import PREFER, Blueprint, flag, route

blueprint: Blueprint = {}


FORCE = flag("force", "true: even if Key Vault then no longer renews the certificate.")


@route(
    blueprint, Role.OPERATOR,
    body=request_models.Policy, answer=response_models.Anything, query=(FORCE,),
)  # fmt: skip
def update_certificate_policy(req: func.HttpRequest) -> Answer:
    """Merge changes into the policy, as Key Vault does; they apply from the next version on."""
    changes = parsed(req, request_models.Policy).to_json()
    return Answer(edit.update_policy(acting_for(req), *where(req), changes, is_set(req, "force")))


@route(blueprint, Role.OPERATOR, body=request_models.UpdateCertificate, answer=response_models.Certificate)
def update_certificate(req: func.HttpRequest) -> Answer:
    """Replace the tags (CertRelay's own stay), and enable or disable the newest version."""
    body = parsed(req, request_models.UpdateCertificate)
    vault, name = where(req)
    updated = edit.update(acting_for(req), vault, name, body.tags, body.enabled, body.force)
    return Answer(render.certificate_json(vault, name, updated))


@route(blueprint, Role.OPERATOR, answer=response_models.Anything)
def delete_certificate(req: func.HttpRequest) -> Answer:
    """Soft-delete a certificate with all its versions; it can be recovered."""
    deleted = edit.delete(acting_for(req), *where(req))
    keys = ("deletedDate", "scheduledPurgeDate", "tags")
    return Answer({key: deleted[key] for key in keys if key in deleted})


@route(blueprint, Role.OPERATOR, answer=response_models.Anything)
def recover_certificate(req: func.HttpRequest) -> Answer:
    """Recover a soft-deleted certificate."""
    vault, name = where(req)
    return Answer(render.certificate_json(vault, name, edit.recover(acting_for(req), vault, name)))


@route(
    blueprint, Role.REQUESTER,
    body=request_models.RenewCertificate, answer=response_models.Operation, status=202, headers=(PREFER,),
)  # fmt: skip
def renew_certificate(req: func.HttpRequest) -> Answer:
    """Renew a certificate now, due or not: same policy, names and tags; optionally with another authority."""
    body = parsed(req, request_models.RenewCertificate)
    (vault, name), seconds = where(req), wait_of(req)
    origin = Origin(
        requested_by=roles.caller(req), reason="requested", idempotency_key=idempotency_key(req), hold=bool(seconds)
    )
    changes = Changes(authority=body.authority, reuse_key=body.reuse_key)
    operation = renew.renew(acting_for(req), vault, name, origin, changes)
    return waited_answer(req, operation, seconds)


@route(blueprint, Role.OPERATOR, body=request_models.RevokeCertificate, answer=response_models.Revoked)
def revoke_certificate(req: func.HttpRequest) -> Answer:
    """Revoke a version at its authority, with a reason of RFC 5280; with replace, also renew the certificate."""
    body = parsed(req, request_models.RevokeCertificate)
    vault, name = where(req)
    origin = Origin(requested_by=roles.caller(req), idempotency_key=idempotency_key(req))
    revocation = Revocation(body.version or "", body.reason, body.replace)
    bundle, operation = revoke.revoke(acting_for(req), vault, name, revocation, origin)
    renewal = render.operation_json(operation) if operation else None
    return Answer({"certificate": render.certificate_json(vault, name, bundle), "operation": renewal})


@route(blueprint, Role.OPERATOR, body=request_models.AdoptCertificate, answer=response_models.Certificate)
def adopt_certificate(req: func.HttpRequest) -> Answer:
    """Let an authority renew a certificate from now on that was created elsewhere."""
    body = parsed(req, request_models.AdoptCertificate)
    vault, name = where(req)
    trigger = body.trigger.model_dump(exclude_none=True) if body.trigger else None
    adoption = Adoption(body.authority, body.validity_days, trigger, body.force)
    return Answer(render.certificate_json(vault, name, adopt.adopt(acting_for(req), vault, name, adoption)))


@route(blueprint, Role.OPERATOR, answer=response_models.Certificate)
def release_certificate(req: func.HttpRequest) -> Answer:
    """Stop renewing a certificate; nothing else changes."""
    vault, name = where(req)
    return Answer(render.certificate_json(vault, name, adopt.release(acting_for(req), vault, name)))


@route(blueprint, Role.OPERATOR, body=request_models.SetOwner, answer=response_models.Owner)
def transfer_certificate(req: func.HttpRequest) -> Answer:
    """Transfer a certificate to another owner; the history keeps the owners before."""
    vault, name = where(req)
    changed = ownership.transfer(acting_for(req), vault, name, parsed(req, request_models.SetOwner).owner.lower())
    return Answer({"vault": vault, "name": name, **render.owner_change_json(changed.changes[-1])})
