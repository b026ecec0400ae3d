"""The pending certificate: get, cancel, delete, merge."""

import base64
from dataclasses import replace

from sandbox.vault import lifecycle, render
from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import bad_parameter, forbidden, invalid_property, pending_not_found
from sandbox.vault.model import Certificate, Operation
from sandbox.vault.pkcs import der, order_chain, read_x5c

_NOT_IN_PROGRESS = "Pending status must be in progress to allow update."
_KEY_MISMATCH = (
    "The public key of the end-entity certificate in the specified X.509 certificate content does not match the public "
    "part of the specified private key. Please check if certificate is valid"
)


def _pending(call: Call) -> tuple[Certificate, Operation]:
    certificate = call.live()
    if certificate is None or certificate.pending is None:
        raise pending_not_found(call.name)
    wanted = call.query.get("request_id")
    if wanted and wanted.lower() != certificate.pending.request_id:
        raise pending_not_found(call.name)
    return certificate, certificate.pending


def get(call: Call) -> Answer:
    """GetCertificateOperation; the CSR alone (base64) for a client that accepts `application/pkcs10`."""
    certificate, pending = _pending(call)
    if "application/pkcs10" in call.accept.lower():
        csr = base64.b64encode(pending.csr).decode()
        return Answer(csr, headers={"Content-Type": "application/pkcs10; charset=utf-8"})
    headers = {"Retry-After": "10"} if pending.status == "inProgress" else {}
    return Answer(render.operation(call, certificate, pending), headers=headers)


def update(call: Call) -> Answer:
    """UpdateCertificateOperation: ask for cancellation."""
    cancel = call.flag("cancellation_requested")
    with call.vault.lock:
        certificate, pending = _pending(call)
        if cancel is None:
            raise invalid_property("cancellation_requested")
        if pending.status != "inProgress":
            raise forbidden(_NOT_IN_PROGRESS)
        if cancel and not pending.cancellation_requested:
            # Without an issuer who could cancel the order, it stays in progress (recorded): only deleting it ends it.
            due = call.vault.clock.now() + call.vault.settings.cancel_delay
            moment = None if pending.issuer == "Unknown" else due
            pending = replace(pending, cancellation_requested=True, cancel_due=moment)
            certificate = call.vault.save(replace(certificate, pending=pending))
    return Answer(render.operation(call, certificate, pending))


def delete(call: Call) -> Answer:
    """DeleteCertificateOperation, works in every state. A version that was never completed remains, disabled."""
    with call.vault.lock:
        certificate, pending = _pending(call)
        call.vault.save(replace(certificate, pending=None))
    return Answer(render.operation(call, certificate, pending))


def merge(call: Call) -> Answer:
    """MergeCertificate: the chain for the pending key, the leaf anywhere in it."""
    _pending(call)  # the service answers 404 before it looks at the body
    tags, enabled = call.tags(), call.enabled()
    items = call.body.get("x5c")
    if items is None:
        items = []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise invalid_property("x5c")
    certificates = read_x5c(items)
    with call.vault.lock:
        certificate, pending = _pending(call)
        _check_mergeable(pending)
        version = certificate.version(pending.version)
        assert version
        leaf = next((item for item in certificates if lifecycle.matches(item, version.key)), None)
        if leaf is None:
            raise bad_parameter(_KEY_MISMATCH)
        if not call.vault.settings.merge_expired and leaf.not_valid_after_utc.timestamp() <= call.vault.clock.now():
            raise bad_parameter("X509 Certificate is already expired")
        given = [leaf, *(item for item in certificates if item != leaf)]
        chain = given if version.preserve_cert_order else order_chain(leaf, certificates)
        merged = lifecycle.finish(
            call.vault,
            certificate,
            chain,
            [der(item) for item in chain],
            tags=tags,
            enabled=enabled,
        )
    location = f"{render.certificate_url(call, merged)}?api-version={call.api_version}"
    return Answer(render.bundle(call, merged), 201, {"Location": location})


def _check_mergeable(pending: Operation) -> None:
    if pending.status == "completed":
        raise forbidden(
            f"Merge is forbidden on pending object created with issuer : {pending.issuer} while it is completed."
        )
    if pending.issuer != "Unknown" and pending.status == "inProgress":
        # The typo is the service's.
        raise forbidden(
            f"Merge is forbidden on pending object created with issuer : {pending.issuer} while it is in progess."
        )
