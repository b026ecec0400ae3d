"""Backup and restore of a certificate with all its versions.

A backup is opaque and tamper-proof, like the service's. It is not secret: any sandbox can restore it, as any vault of
the subscription can in Azure.
"""

import hashlib
import os
import zlib
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox.vault import lifecycle, render
from sandbox.vault.call import Answer, Call
from sandbox.vault.errors import bad_parameter, conflict, name_of_a_key
from sandbox.vault.model import Certificate, from_json, to_json
from sandbox.vault.pkcs import decode_base64

_PREFIX = b"&AzureKeyVaultKeyBackupV1.microsoft.com"
_CIPHER = AESGCM(hashlib.sha256(b"sandbox vault backup").digest())
_MAX_VERSIONS = 500
_NONCE = 12


def backup(call: Call) -> Answer:
    """BackupCertificate."""
    certificate = call.certificate()
    if len(certificate.versions) > _MAX_VERSIONS:
        raise bad_parameter(f"A certificate with more than {_MAX_VERSIONS} versions cannot be backed up.")
    nonce = os.urandom(_NONCE)
    sealed = _CIPHER.encrypt(nonce, zlib.compress(to_json(replace(certificate, pending=None)).encode()), _PREFIX)
    return Answer({"value": render.base64url(_PREFIX + nonce + sealed)})


def restore(call: Call) -> Answer:
    """RestoreCertificate: the same versions under the same name, without a pending operation."""
    value = call.text("value")
    certificate = _opened(value or "")
    with call.vault.lock:
        lifecycle.settle(call.vault, certificate.name)
        if call.vault.find(certificate.name):
            url = render.certificate_url(call, certificate, certificate.current.id)
            raise conflict(
                f"Conflict while restoring certificate {url} - certificate already exists or concurrent access"
            )
        if call.vault.document("key", certificate.name.lower()):
            raise name_of_a_key(certificate.name)
        call.vault.save(certificate)
    return Answer(render.bundle(call, certificate))


def _opened(value: str) -> Certificate:
    try:
        data = decode_base64(value)
        if not data.startswith(_PREFIX):
            raise ValueError("not a backup")
        sealed = data[len(_PREFIX) :]
        return from_json(zlib.decompress(_CIPHER.decrypt(sealed[:_NONCE], sealed[_NONCE:], _PREFIX)).decode())
    except (ValueError, InvalidTag):
        raise bad_parameter("Backup blob contains invalid or corrupt version.") from None
