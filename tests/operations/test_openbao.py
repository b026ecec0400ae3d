"""The main job with a certificate authority that nobody here wrote: OpenBao."""

import base64
import json

import pytest
from azure.core.rest import HttpRequest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.operations.submit import Origin
from certrelay.renewal import renew
from certrelay.storage.operation import Operation, State
from sandbox.azurite import Azurite
from sandbox.openbao import OpenBao
from tests.world import ALIAS, World, make_world


@pytest.fixture
def bao_world(lonely_world: World, azurite: Azurite, openbao: OpenBao) -> World:
    settings = {"connector": "vault_pki", "url": openbao.address, "mount": openbao.mount, "role": openbao.role}
    login = {"role_id": openbao.role_id, "secret_id": "@OPENBAO_SECRET_ID"}
    authorities = f', "openbao": {json.dumps({**settings, **login})}'
    server = lonely_world.server
    return make_world(server, azurite, server.clock, authorities, OPENBAO_SECRET_ID=openbao.secret_id)


def made(world: World, name: str, *dns_names: str) -> Operation:
    asked = CertificateSpec(authority="openbao", dns_names=dns_names, tags={"team": "web"})
    create.create(world.services, ALIAS, name, asked, requested_by="test")
    return world.finish(name)


def test_openbao_signs_the_vaults_key_and_the_secret_is_a_pfx_with_it(bao_world: World) -> None:
    name = bao_world.name()
    ended = made(bao_world, name, "www.contoso.example", "shop.contoso.example")
    assert ended.state is State.COMPLETED, ended.failure
    bundle = bao_world.vault.get(name)
    assert bundle is not None
    leaf = x509.load_der_x509_certificate(base64.b64decode(bundle["cer"]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"www.contoso.example", "shop.contoso.example"}
    answer = bao_world.vault._client.send_request(HttpRequest("GET", f"/secrets/{name}/?api-version=2025-07-01"))
    pfx = load_pkcs12(base64.b64decode(answer.json()["value"]), None)
    assert pfx.key is not None
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert pfx.key.public_key().public_bytes(*encoding) == leaf.public_key().public_bytes(*encoding)
    assert len(pfx.additional_certs) == 2, "the intermediate and the root"


def test_a_name_that_openbaos_policy_denies_fails_with_its_reason(bao_world: World) -> None:
    name = bao_world.name()
    ended = made(bao_world, name, "www.evil.example")
    assert ended.failure is not None
    assert ended.failure.code == "RequestRejected"
    assert "www.evil.example" in ended.failure.message
    assert bao_world.vault.pending(name) is None


def test_openbao_renews_on_a_clock_that_it_does_not_share(bao_world: World) -> None:
    name = bao_world.name()
    first = made(bao_world, name, "www.contoso.example")
    bao_world.clock.advance(61 * 86_400)
    renew.renew_if_due(bao_world.services, ALIAS, name, Origin(requested_by="test", reason="due"))
    second = bao_world.finish(name)
    assert (second.state, second.replaces) == (State.COMPLETED, first.version), second.failure
    assert len(bao_world.versions(name)) == 2
