"""The profile of `private_ca` for any request: RFC 5280 holds, whatever the CSR says; openssl reads it the same."""

import functools
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certrelay.connectors.base import SigningRequest
from certrelay.connectors.private_ca.bootstrap import Authority, _self_signed
from certrelay.connectors.private_ca.profile import Decided, Profile, Refused, certificate, key_usage
from certrelay.connectors.private_ca.settings import DEFAULT_EXTENDED_KEY_USAGES
from certrelay.pki.subject import SubjectNames
from tests.connectors.answers import alternative_names, common_names
from tests.connectors.private_ca.private_authority import openssl, pem_file
from tests.connectors.signing_requests import private_key
from tests.examples import examples

NOW = datetime.now(UTC).replace(microsecond=0)
USAGES = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
]
PURPOSES = {oid: x509.ObjectIdentifier(oid) for oid in (*DEFAULT_EXTENDED_KEY_USAGES, "1.3.6.1.5.5.7.3.3")}


@functools.cache
def root(path_length: int | None = None) -> x509.Certificate:
    key = private_key("ec-384", "root")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    csr = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA384())
    return _self_signed(csr, key, Authority("root", "CN=root", path_length=path_length), NOW)


def profile(**changes: Any) -> Profile:
    return replace(Profile((root(),), DEFAULT_EXTENDED_KEY_USAGES, False, None, None), **changes)


def request(names: SubjectNames, key: Any, extensions: tuple[x509.ExtensionType, ...] = ()) -> SigningRequest:
    """A CSR with a subject of its own and these extensions, for other names."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "not asked")])
    builder = x509.CertificateSigningRequestBuilder(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    csr = builder.sign(key, algorithm).public_bytes(Encoding.DER)
    return SigningRequest("operation", csr, names, NOW + timedelta(days=9))


def signed(asked: SigningRequest, chosen: Profile | None = None, serial: int = 1) -> x509.Certificate:
    decided = Decided(serial, NOW, NOW + timedelta(days=9))
    return certificate(asked, decided, chosen or profile()).sign(private_key("ec-384", "root"), hashes.SHA384())


LETTERS, ENDS = string.ascii_lowercase, string.ascii_lowercase + string.digits
longer = st.tuples(st.sampled_from(LETTERS), st.text(ENDS + "-", max_size=10), st.sampled_from(ENDS)).map("".join)
label = st.sampled_from(LETTERS) | longer
host = st.lists(label, min_size=2, max_size=4).map(".".join)
unique = functools.partial(st.lists, max_size=3, unique=True)
any_names = st.builds(
    SubjectNames,
    st.none() | host.filter(lambda name: len(name) <= 64),
    unique(host).map(tuple),
    unique(st.tuples(label, host).map("@".join)).map(tuple),
    unique(st.ip_addresses().map(str)).map(tuple),
    unique(host.map(lambda name: f"https://{name}/x")).map(tuple),
    unique(st.tuples(label, host).map("@".join)).map(tuple),
).filter(lambda names: names != SubjectNames())


@pytest.mark.slow
@settings(max_examples=examples(100), deadline=None)
@given(
    names=any_names,
    kind=st.sampled_from(["rsa-2048", "ec-256", "ec-384", "ec-521"]),
    usages=st.none() | st.sets(st.sampled_from(USAGES), min_size=1),
    is_ca=st.booleans(),
    serial=st.integers(1, 2**128 - 1),
)
def test_any_leaf_has_the_names_that_were_asked_and_no_power_to_sign(
    names: SubjectNames, kind: str, usages: set[str] | None, is_ca: bool, serial: int
) -> None:
    constraints = x509.BasicConstraints(ca=is_ca, path_length=None)
    wishes = (constraints, *((key_usage(*usages),) if usages else ()))
    leaf = signed(request(names, private_key(kind), wishes), serial=serial)
    leaf.verify_directly_issued_by(root())
    found = alternative_names(leaf)
    assert replace(found, common_name=names.common_name) == names
    assert common_names(leaf) == ([names.common_name] if names.common_name else [])
    assert leaf.serial_number == serial
    extensions = {type(one.value): one for one in leaf.extensions}
    assert extensions[x509.BasicConstraints].value == x509.BasicConstraints(ca=False, path_length=None)
    usage = extensions[x509.KeyUsage].value
    assert not usage.key_cert_sign
    assert not usage.crl_sign
    assert not (kind.startswith("ec") and usage.key_encipherment)
    assert not (kind.startswith("rsa") and usage.key_agreement)
    assert any(getattr(usage, one) for one in USAGES)
    if x509.SubjectAlternativeName in extensions:
        assert extensions[x509.SubjectAlternativeName].critical == (not names.common_name)


@settings(max_examples=15, deadline=None)
@given(names=any_names)
def test_openssl_finds_any_leaf_strictly_valid(tmp_path_factory: pytest.TempPathFactory, names: SubjectNames) -> None:
    directory: Path = tmp_path_factory.mktemp("leaf")
    chosen = profile(crl_distribution_point="http://x.test/c", aia_issuer_url="http://x.test/i")
    leaf = signed(request(names, private_key("ec-256")), chosen)
    anchor = pem_file(directory / "root.pem", root())
    openssl("verify", "-x509_strict", "-CAfile", anchor, pem_file(directory / "leaf.pem", leaf))


@settings(max_examples=40, deadline=None)
@given(asked=st.sets(st.sampled_from(sorted(PURPOSES))), allowed=st.sets(st.sampled_from(sorted(PURPOSES)), min_size=1))
def test_extended_key_usages_are_those_asked_as_far_as_all_are_allowed(asked: set[str], allowed: set[str]) -> None:
    wish = (x509.ExtendedKeyUsage([PURPOSES[oid] for oid in sorted(asked)]),) if asked else ()
    order = request(SubjectNames("a.test"), private_key(), wish)
    chosen = profile(extended_key_usages=tuple(sorted(allowed)))
    if not asked <= allowed:
        with pytest.raises(Refused, match="extended key usages"):
            signed(order, chosen)
        return
    found = signed(order, chosen).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {oid.dotted_string for oid in found} == (asked or allowed)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (SubjectNames(), "no name"),
        (SubjectNames("x" * 65), "cannot be encoded"),
        (SubjectNames(None, ("bücher.example",)), "cannot be encoded"),
        (SubjectNames(None, (), (), ("300.1.1.1",)), "cannot be encoded"),
    ],
)
def test_names_that_cannot_be_certified_are_refused(names: SubjectNames, says: str) -> None:
    with pytest.raises(Refused, match=says):
        signed(request(names, private_key()))


def test_a_kind_of_key_that_is_not_known_is_refused() -> None:
    with pytest.raises(Refused, match="neither RSA"):
        signed(request(SubjectNames("a.test"), ed25519.Ed25519PrivateKey.generate()))


def test_bytes_that_are_no_csr_are_refused() -> None:
    order = replace(request(SubjectNames("a.test"), private_key()), csr=b"\x30\x00")
    with pytest.raises(Refused, match="malformed"):
        signed(order)


@pytest.mark.parametrize(("labels", "header"), [(1, b"\x0c\x79"), (2, b"\x0c\x81\xb6"), (5, b"\x0c\x82\x01\x6d")])
def test_a_user_principal_name_of_any_length_is_written_as_der(labels: int, header: bytes) -> None:
    name = f"{'a' * 60}@{'.'.join(['b' * 60] * labels)}"
    leaf = signed(request(SubjectNames(None, (), (), (), (), (name,)), private_key()))
    other = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0].value
    assert other == header + name.encode()


def test_an_intermediate_signs_leaves_only_and_none_is_below_path_length_zero() -> None:
    order = replace(request(SubjectNames("Issuing"), private_key()), is_ca=True)
    made = signed(order, profile(issue_ca_certificates=True))
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert made.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    with pytest.raises(Refused, match="path length"):
        signed(order, profile(issue_ca_certificates=True, issuers=(root(0),)))
    above = (root(), root(1))
    with pytest.raises(Refused, match="one above it"):
        signed(order, profile(issue_ca_certificates=True, issuers=above))
    signed(order, profile(issue_ca_certificates=True, issuers=(root(), root(2))))
    with pytest.raises(Refused, match="common name"):
        signed(replace(order, names=SubjectNames(None, ("a.test",))), profile(issue_ca_certificates=True))
