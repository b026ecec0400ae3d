"""The secret that belongs to a certificate: its PFX or PEM."""

import base64

from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import KeyVaultError, forbidden, not_found
from sandbox.vault.model import Certificate, Version
from sandbox.vault.pfx import write_pfx
from sandbox.vault.pkcs import write_pem
from sandbox.vault.policy import PEM
from sandbox.vault.render import attributes, recovery


def facet(call: Call, kind: str) -> tuple[Certificate, Version]:
    """The certificate and version behind a key or secret; `kind` is `Key` or `Secret`. Raises 404 and 403."""
    certificate = call.vault.find(call.name)
    identifier = call.params.get("version")
    if certificate is None or certificate.deletion:
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
            "attributes": attributes(version) | recovery(call.vault.settings),
            **({"tags": dict(version.tags)} if version.tags else {}),
            "kid": f"{call.base}/keys/{certificate.name}/{version.id}",
        }
    )


def value(version: Version) -> str:
    """PEM, or base64 of a PFX with an empty password; without the key when that is not exportable.

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
    """SetSecret and the like on a certificate's secret."""
    certificate = call.vault.find(call.name)
    operation = {"PUT": "set", "DELETE": "delete", "PATCH": "update"}.get(call.params.get("method", "PUT"), "set")
    if certificate and not certificate.deletion:
        raise forbidden(
            f'Operation "{operation}" is not allowed as this object\'s lifetime is managed by Key Vault.',
            "SecretManagedByKeyVault",
        )
    raise KeyVaultError(400, "NotSupported", "The sandbox holds no secrets but those of certificates.")
