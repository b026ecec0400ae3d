"""Deleted certificates: delete, get, list, recover, purge."""

from dataclasses import replace

from sandbox.vault import lifecycle, render
from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import being_deleted, deleted_certificate_not_found, forbidden
from sandbox.vault.model import Certificate, Deletion


def delete(call: Call) -> Answer:
    """DeleteCertificate: soft, with its key and secret."""
    vault = call.vault
    with vault.lock:
        certificate = call.certificate()
        now = vault.now()
        deletion = Deletion(
            deleted=now,
            visible=vault.clock.now() + vault.settings.delete_delay,
            scheduled_purge=now + vault.settings.retention_days * 86400,
        )
        deleted = vault.save(replace(certificate, deletion=deletion))
    return Answer(render.deleted_bundle(call, deleted))


def _deleted(call: Call) -> Certificate:
    certificate = call.vault.find(call.name)
    if certificate is None or not certificate.deletion or certificate.deletion.ending:
        raise deleted_certificate_not_found(call.name)
    return certificate


def _visible(call: Call, certificate: Certificate) -> bool:
    deletion = certificate.deletion
    return bool(deletion and not deletion.ending and deletion.visible <= call.vault.clock.now())


def get(call: Call) -> Answer:
    """GetDeletedCertificate; 404 until the deletion is complete."""
    certificate = _deleted(call)
    if not _visible(call, certificate):
        raise deleted_certificate_not_found(call.name)
    return Answer(render.deleted_bundle(call, certificate))


def list_all(call: Call) -> Answer:
    """GetDeletedCertificates."""
    pending_too = call.query.get("includepending", "").lower() == "true"

    def fetch(after: str, count: int) -> list[tuple[str, Certificate]]:
        found: list[tuple[str, Certificate]] = []
        with call.vault.lock:
            for key in call.vault.deleted.after(after):
                certificate = call.vault.find(key)
                if certificate and _visible(call, certificate) and (pending_too or certificate.completed):
                    found.append((key, certificate))
                if len(found) == count:
                    break
        return found

    return render.page(call, "/deletedcertificates", fetch, lambda found: render.deleted_item(call, found))


def recover(call: Call) -> Answer:
    """RecoverDeletedCertificate. The certificate is found again after `recover_delay`."""
    with call.vault.lock:
        certificate = _deleted(call)
        _refuse_while_deleting(call, certificate)
        assert certificate.deletion
        moment = call.vault.clock.now() + call.vault.settings.recover_delay
        _end(call, certificate, replace(certificate.deletion, recovered=moment))
    return Answer(render.bundle(call, replace(certificate, deletion=None)))


def purge(call: Call) -> Answer:
    """PurgeDeletedCertificate. The name is free after `purge_delay`."""
    with call.vault.lock:
        certificate = _deleted(call)
        _refuse_while_deleting(call, certificate)
        if call.vault.settings.purge_protection:
            raise forbidden(
                'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault '
                "service will automatically purge it after the retention period has passed"
            )
        assert certificate.deletion
        moment = call.vault.clock.now() + call.vault.settings.purge_delay
        _end(call, certificate, replace(certificate.deletion, purged=moment))
    return Answer(None, 204)


def _end(call: Call, certificate: Certificate, deletion: Deletion) -> None:
    """Begin a recovery or a purge, and complete it if it is due already."""
    call.vault.save(replace(certificate, deletion=deletion))
    lifecycle.settle(call.vault, certificate.name)


def _refuse_while_deleting(call: Call, certificate: Certificate) -> None:
    if not _visible(call, certificate):
        raise being_deleted(certificate.name)
