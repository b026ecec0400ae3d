"""What a certificate says, and which requests are rejected."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certrelay.connectors.base import ConnectorError, Rejected, Unavailable
from certrelay.pki.subject import SubjectNames
from tests.connectors.private_ca.private_authority import NAMES, World, issued
from tests.connectors.signing_requests import private_key, signing_request


def test_a_leaf_follows_rfc_5280(world: World, shared: Any) -> None:
    name, root, containers = shared
    connector = world.connector(
        name, crl_distribution_point="http://x.test/a.crl", aia_issuer_url="http://x.test/a.cer", **containers
    )
    leaf = issued(connector.submit(signing_request(NAMES, private_key("rsa-2048"))))
    found = {type(one.value): one for one in leaf.extensions}
    assert found[x509.BasicConstraints].critical
    assert found[x509.KeyUsage].critical
    assert found[x509.KeyUsage].value.key_encipherment
    assert not found[x509.KeyUsage].value.key_cert_sign
    assert not found[x509.SubjectAlternativeName].critical
    root_key = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert found[x509.AuthorityKeyIdentifier].value.key_identifier == root_key
    expected = x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
    assert found[x509.SubjectKeyIdentifier].value == expected
    assert found[x509.CRLDistributionPoints].value[0].full_name[0].value == "http://x.test/a.crl"
    assert found[x509.AuthorityInformationAccess].value[0].access_location.value == "http://x.test/a.cer"
    assert 0 < leaf.serial_number < 2**128


def test_alternative_names_are_critical_when_the_subject_is_empty(world: World, shared: Any) -> None:
    name, _, containers = shared
    leaf = issued(world.connector(name, **containers).submit(signing_request(SubjectNames(None, ("a.example.com",)))))
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert not leaf.subject.rdns


def test_no_certificate_outlives_the_authority_or_the_limit(world: World, shared: Any) -> None:
    name, root, containers = shared
    long = signing_request(NAMES, validity=timedelta(days=3000))
    assert issued(world.connector(name, **containers).submit(long)).not_valid_after_utc == root.not_valid_after_utc
    limited = issued(
        world.connector(name, max_validity_days=7, **containers).submit(replace(long, operation_id=uuid.uuid4().hex))
    )
    assert limited.not_valid_after_utc - world.now() <= timedelta(days=7)


def test_no_certificate_outlives_an_authority_above_its_own(world: World, shared: Any) -> None:
    name, _, containers = shared
    _, above = world.root(validity=timedelta(days=60))
    connector = world.connector(name, chain_certificates=above.public_bytes(Encoding.PEM).decode(), **containers)
    leaf = issued(connector.submit(signing_request(NAMES, validity=timedelta(days=300))))
    assert leaf.not_valid_after_utc == above.not_valid_after_utc


def test_an_expired_authority_signs_nothing(world: World, shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, containers = shared
    monkeypatch.setattr(world, "offset", timedelta(days=101))
    connector = world.connector(name, **containers)
    outcome = connector.submit(signing_request(NAMES, validity=timedelta(days=300)))
    assert isinstance(outcome, Unavailable)
    assert "valid only from" in outcome.reason
    with pytest.raises(ConnectorError, match="valid only from"):
        connector.check()


def test_names_come_from_the_request_and_not_from_the_csr(world: World, shared: Any) -> None:
    name, _, containers = shared
    evil = signing_request(SubjectNames("evil.example.net", ("evil.example.net",)))
    leaf = issued(world.connector(name, **containers).submit(replace(evil, names=NAMES)))
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "a.example.com"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example.com", "b.example.com"]


def test_a_csr_that_asks_for_a_ca_gets_none(world: World, shared: Any) -> None:
    name, _, containers = shared
    request = replace(signing_request(NAMES, is_ca=True), is_ca=False)
    leaf = issued(world.connector(name, **containers).submit(request))
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_ca_certificates_are_issued_only_where_that_is_switched_on(world: World, shared: Any) -> None:
    name, _, containers = shared
    outcome = world.connector(name, **containers).submit(signing_request(SubjectNames("Sub"), is_ca=True))
    assert isinstance(outcome, Rejected)
    assert "issue_ca_certificates" in outcome.reason


def test_an_extended_key_usage_that_is_not_allowed_is_rejected(world: World, shared: Any) -> None:
    name, _, containers = shared
    only_servers = (ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,)
    connector = world.connector(name, extended_key_usages=only_servers, **containers)
    outcome = connector.submit(signing_request(NAMES))
    assert isinstance(outcome, Rejected)
    assert ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string in outcome.reason


def test_a_csr_that_its_key_did_not_sign_is_rejected(world: World, shared: Any) -> None:
    name, _, containers = shared
    request = signing_request(NAMES)
    broken = bytearray(request.csr)
    broken[-2] ^= 1
    outcome = world.connector(name, **containers).submit(replace(request, csr=bytes(broken)))
    assert isinstance(outcome, Rejected)


def test_a_weak_key_is_rejected(world: World, shared: Any) -> None:
    name, _, containers = shared
    outcome = world.connector(name, **containers).submit(signing_request(NAMES, private_key("rsa-1024")))
    assert isinstance(outcome, Rejected)
    assert "2048" in outcome.reason
