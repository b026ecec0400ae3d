"""The secret that belongs to a certificate: its PFX or PEM."""

import base64
from collections.abc import Callable
from typing import Any

from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import KeyVaultError, forbidden, not_found
from sandbox.vault.model import Certificate, Version
from sandbox.vault.pfx import write_pfx
from sandbox.vault.pkcs import write_pem
from sandbox.vault.policy import PEM
from sandbox.vault.render import attributes, page, recovery, tags


def facet(call: Call, kind: str) -> tuple[Certificate, Version]:
    """The certificate and version behind a key or secret; `kind` is `Key` or `Secret`. Raises 404 and 403."""
    certificate = call.live()
    identifier = call.params.get("version")
    if certificate is None:
        raise not_found(kind, call.name, identifier)
    version = certificate.version(identifier) if identifier else certificate.current
    if version is None:
        raise not_found(kind, call.name, identifier)
    if not version.enabled or not version.certificate:
        raise forbidden(f"Operation get is not allowed on a disabled {kind.lower()}.", f"{kind}Disabled")
    return certificate, version


def get(call: Call) -> Answer:
    """GetSecret."""
    certificate, version = facet(call, "Secret")
    return Answer(
        {
            "value": value(version),
            "contentType": version.content_type,
            "id": f"{call.base}/secrets/{certificate.name}/{version.id}",
            "managed": True,
            "attributes": attributes(version) | recovery(call),
            **tags(version),
            "kid": f"{call.base}/keys/{certificate.name}/{version.id}",
        }
    )


def _item(call: Call, certificate: Certificate, version: Version, *, versioned: bool) -> dict[str, Any]:
    path = f"{call.base}/secrets/{certificate.name}" + (f"/{version.id}" if versioned else "")
    shown = attributes(version) | recovery(call)
    return {"contentType": version.content_type, "id": path, "managed": True, "attributes": shown, **tags(version)}


def list_all(call: Call) -> Answer:
    """GetSecrets: those of completed certificates."""
    return page_of_current(call, "/secrets", _item)


def list_versions(call: Call) -> Answer:
    """GetSecretVersions."""
    return page_of_versions(call, "Secret", "/secrets", _item)


def page_of_current(call: Call, path: str, item: Callable[..., dict[str, Any]]) -> Answer:
    """One page of all completed certificates, each shown by its current version."""

    def fetch(after: str, count: int) -> list[tuple[str, Certificate]]:
        with call.vault.lock:
            keys = call.vault.completed.page(after, count)
            return [(key, found) for key in keys if (found := call.vault.find(key))]

    return page(call, path, fetch, lambda found: item(call, found, found.current, versioned=False))


def page_of_versions(call: Call, kind: str, path: str, item: Callable[..., dict[str, Any]]) -> Answer:
    """One page of the completed versions of the certificate that the path names, ordered by id."""
    certificate = call.live()
    if certificate is None:
        raise not_found(kind, call.name)
    versions = sorted((version.id, version) for version in certificate.versions if version.certificate)

    def fetch(after: str, count: int) -> list[tuple[str, Version]]:
        return [pair for pair in versions if pair[0] > after][:count]

    where = f"{path}/{certificate.name}/versions"
    return page(call, where, fetch, lambda version: item(call, certificate, version, versioned=True))


def value(version: Version) -> str:
    """PEM, or base64 of a PFX with an empty password; without the key if that is not exportable.

    After a merge or an issuer's answer the PFX lists the chain root first, the PEM leaf first. An imported file keeps
    its order when `preserveCertOrder` asks for it; otherwise the leaf comes first.
    """
    assert version.certificate
    key = version.key if version.exportable else None
    leaf_first = (version.certificate, *version.chain)
    if version.content_type == PEM:
        return write_pem(key, version.file_order if version.imported and version.preserve_cert_order else leaf_first)
    order = version.file_order if version.imported else leaf_first[::-1]
    return base64.b64encode(write_pfx(key, version.certificate, order)).decode()


def managed(call: Call) -> Answer:
    """Any write to the secret of a certificate. Raises 403, and 400 for other secrets."""
    operation = {"PUT": "set", "DELETE": "delete", "PATCH": "update"}.get(call.params.get("method", "PUT"), "set")
    if call.live():
        raise forbidden(
            f'Operation "{operation}" is not allowed as this object\'s lifetime is managed by Key Vault.',
            "SecretManagedByKeyVault",
        )
    raise KeyVaultError(400, "NotSupported", "The sandbox only has the secrets of certificates.")
