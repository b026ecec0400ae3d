"""Keys that belong to no certificate, by the public SDK."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificatePolicy
from azure.keyvault.keys import KeyClient, KeyCurveName
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

from sandbox.vault import VaultServer
from tests.sandbox.vault.program import Program
from tests.sandbox.vault.support import Authority, Rest, certify

pytestmark = pytest.mark.slow

DIGEST = hashlib.sha256(b"what is signed").digest()


@pytest.fixture
def sign(server: VaultServer, credential: ManagedIdentityCredential) -> Callable[[str], bytes]:
    def signed(kid: str) -> bytes:
        with CryptographyClient(kid, credential, connection_verify=str(server.ca_bundle)) as crypto:
            signature = crypto.sign(SignatureAlgorithm.es256, DIGEST).signature
            assert crypto.verify(SignatureAlgorithm.es256, DIGEST, signature).is_valid
            return bytes(signature)

    return signed


def test_a_key_is_made_found_and_signs_and_never_shows_itself(
    keys: KeyClient, name: str, sign: Callable[[str], bytes]
) -> None:
    made = keys.create_ec_key(name, curve=KeyCurveName.p_256, key_operations=["sign", "verify"], tags={"team": "web"})
    found = keys.get_key(name)
    assert (found.id, found.properties.tags, found.key_operations) == (made.id, {"team": "web"}, ["sign", "verify"])
    public: Any = found.key
    assert public.d is None
    assert len(sign(str(made.id))) == 64


def test_making_it_again_makes_a_version_and_the_older_one_signs_on_until_it_is_disabled(
    keys: KeyClient, name: str, sign: Callable[[str], bytes]
) -> None:
    first, second = keys.create_ec_key(name), keys.create_ec_key(name)
    assert keys.get_key(name).id == second.id
    assert {item.id for item in keys.list_properties_of_key_versions(name)} == {first.id, second.id}
    sign(str(first.id))
    keys.update_key_properties(name, first.properties.version, enabled=False)
    with pytest.raises(HttpResponseError, match="disabled"):
        keys.get_key(name, first.properties.version)
    with pytest.raises(HttpResponseError, match="disabled"):
        sign(str(first.id))
    sign(str(second.id))


def test_an_rsa_key_that_may_only_sign_does_not_decrypt_and_has_its_size(keys: KeyClient, name: str) -> None:
    made = keys.create_rsa_key(name, size=3072, key_operations=["sign", "verify"])
    public: Any = made.key
    assert len(public.n) == 384
    assert made.key_operations == ["sign", "verify"]


def test_what_is_no_key_or_a_certificates_is_refused(keys: KeyClient, client: CertificateClient, name: str) -> None:
    with pytest.raises(ResourceNotFoundError):
        keys.get_key(name)
    client.begin_create_certificate(name, CertificatePolicy.get_default()).result()
    with pytest.raises(HttpResponseError, match="managed by Key Vault"):
        keys.create_ec_key(name)
    with pytest.raises(HttpResponseError, match="managed by Key Vault"):
        keys.update_key_properties(name, enabled=False)
    with pytest.raises(HttpResponseError):
        keys.create_rsa_key(f"{name}-small", size=1024)


def test_a_key_keeps_its_name_from_certificates(rest: Rest, authority: Authority, name: str) -> None:
    policy = {"issuer": {"name": "Self"}, "key_props": {"kty": "EC"}, "x509_props": {"subject": "CN=a.example"}}
    leaf = certify("a.example", authority.key.public_key(), "a.example", authority.key)
    pfx = pkcs12.serialize_key_and_certificates(None, authority.key, leaf, None, NoEncryption())
    assert rest("POST", f"/certificates/{name}/import", json={"value": b64encode(pfx).decode()}).ok
    backup = rest("POST", f"/certificates/{name}/backup").json()["value"]
    assert rest("DELETE", f"/certificates/{name}").ok
    assert rest("DELETE", f"/deletedcertificates/{name}").ok
    assert rest("POST", f"/keys/{name}/create", json={"kty": "EC"}).ok
    for path, body in (
        (f"{name.upper()}/create", {"policy": policy}),
        (f"{name}/import", {"value": b64encode(pfx).decode()}),
        ("restore", {"value": backup}),
    ):
        refused = rest("POST", f"/certificates/{path}", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "Conflict")
    assert rest("POST", f"/certificates/{name}-other/create", json={"policy": policy}).status_code == 202


def test_the_key_of_a_deleted_certificate_keeps_its_name_until_it_is_purged(
    rest: Rest, client: CertificateClient, keys: KeyClient, name: str
) -> None:
    client.begin_create_certificate(name, CertificatePolicy.get_default()).result()
    client.begin_delete_certificate(name).result()
    refused = rest("POST", f"/keys/{name}/create", json={"kty": "EC"})
    assert refused.status_code == 409
    assert refused.json()["error"]["innererror"]["code"] == "ObjectIsDeletedButRecoverable"
    assert f"Key {name} is currently in a deleted but recoverable state" in refused.json()["error"]["message"]
    client.purge_deleted_certificate(name)
    assert keys.create_ec_key(name).name == name


def test_a_key_outlives_the_server(tmp_path: Path) -> None:
    def run(method: str, path: str, **body: str) -> str:
        program = Program(tmp_path, "--data", str(tmp_path / "data"))
        try:
            answer = program.send(method, path, **({"json": body} if body else {}))
            answer.raise_for_status()
            return str(answer.json()["key"]["kid"]).rsplit("/", 1)[-1]
        finally:
            program.end()

    assert run("POST", "/keys/lasting/create", kty="EC") == run("GET", "/keys/lasting")
