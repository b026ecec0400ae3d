"""Name constraints, judged as openssl judges them; and what RFC 5280, section 4.2.1.10, says in its own examples."""

import functools
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certrelay.connectors.private_ca.profile import general_names
from certrelay.pki import verify
from certrelay.pki.name_constraints import names_not_allowed
from certrelay.pki.subject import SubjectNames
from tests.connectors.private_ca.private_authority import openssl, pem_file
from tests.connectors.signing_requests import private_key
from tests.pki import builders, verification

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "constrained")])
DNS, MAIL, URI = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier


def net(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_network(text))


def subject(common_name: str | None = None) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def certificate(
    issuer: x509.Name, name: x509.Name, extensions: list[tuple[x509.ExtensionType, bool]], owner: str
) -> x509.Certificate:
    key = private_key("ec-256", owner).public_key()
    builder = x509.CertificateBuilder(issuer, name, key, x509.random_serial_number(), NOW, NOW + timedelta(days=9))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(private_key("ec-256", "root"), hashes.SHA256())


@functools.cache
def authority(
    permitted: tuple[x509.GeneralName, ...] = (), excluded: tuple[x509.GeneralName, ...] = ()
) -> x509.Certificate:
    constraints = x509.NameConstraints(permitted or None, excluded or None)
    is_ca = x509.BasicConstraints(ca=True, path_length=None)
    return certificate(ROOT, ROOT, [(is_ca, True), (constraints, True)], "root")


def openssl_allows(directory: Path, root: x509.Certificate, names: SubjectNames) -> bool:
    alternatives = general_names(names)
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if alternatives:
        extensions.append((x509.SubjectAlternativeName(alternatives), not names.common_name))
    return openssl_takes(directory, root, certificate(ROOT, subject(names.common_name), extensions, "leaf"))


def openssl_takes(directory: Path, root: x509.Certificate, leaf: x509.Certificate) -> bool:
    anchor = pem_file(directory / "root.pem", root)
    try:
        openssl("verify", "-CAfile", anchor, pem_file(directory / "leaf.pem", leaf))
    except AssertionError as refused:
        signs = ("subtree violation", "name constraint", "name syntax")
        assert any(sign in str(refused) for sign in signs), refused
        return False
    return True


def allows(root: x509.Certificate, names: SubjectNames) -> bool:
    return not names_not_allowed(subject(names.common_name), general_names(names), root)


CASES: list[tuple[x509.Certificate, SubjectNames, bool]] = [
    (authority((DNS("example.com"),)), SubjectNames(None, ("example.com",)), True),
    (authority((DNS("example.com"),)), SubjectNames(None, ("a.b.example.com",)), True),
    (authority((DNS("example.com"),)), SubjectNames(None, ("badexample.com",)), False),
    (authority((DNS("example.com"),)), SubjectNames(None, ("a.example.com", "example.net")), False),
    (authority((DNS("example.com"),)), SubjectNames("host.example.net"), False),
    (authority((DNS("example.com"),)), SubjectNames("host.example.com"), True),
    (authority((DNS("example.com"),)), SubjectNames("A person"), True),
    (authority((DNS("example.com"),)), SubjectNames(None, (), (), ("10.0.0.1",)), True),
    (authority((DNS(".example.com"),)), SubjectNames(None, ("*.example.com",)), True),
    (authority((DNS(".example.com"),)), SubjectNames(None, ("*.a.EXAMPLE.com",)), True),
    (authority((DNS(".example.com"),)), SubjectNames(None, ("example.com",)), False),
    (authority((DNS("www.example.com"),)), SubjectNames(None, ("*.example.com",)), False),
    (authority((), (DNS(".example.com"),)), SubjectNames(None, ("*.example.com",)), False),
    (authority((), (DNS(".a.example.com"),)), SubjectNames(None, ("*.example.com",)), True),
    (authority((), (DNS("bad.example.com"),)), SubjectNames(None, ("x.bad.example.com",)), False),
    (authority((), (DNS("bad.example.com"),)), SubjectNames(None, ("good.example.com",)), True),
    (authority((net("10.0.0.0/8"),)), SubjectNames(None, (), (), ("10.1.2.3",)), True),
    (authority((net("10.0.0.0/8"),)), SubjectNames(None, (), (), ("11.1.2.3",)), False),
    (authority((net("fd00::/8"),)), SubjectNames(None, (), (), ("fd00::1",)), True),
    (authority((), (net("10.0.0.0/8"),)), SubjectNames(None, (), (), ("10.1.2.3",)), False),
    (authority((MAIL("example.com"),)), SubjectNames(None, (), ("a@example.com",)), True),
    (authority((MAIL("example.com"),)), SubjectNames(None, (), ("a@x.example.com",)), False),
    (authority((MAIL(".example.com"),)), SubjectNames(None, (), ("a@x.example.com",)), True),
    (authority((MAIL("a@example.com"),)), SubjectNames(None, (), ("b@example.com",)), False),
    (authority((MAIL("a@example.com"),)), SubjectNames(None, (), ("a@EXAMPLE.com",)), True),
    (authority((URI("example.com"),)), SubjectNames(None, (), (), (), ("https://example.com/x",)), True),
    (authority((URI("example.com"),)), SubjectNames(None, (), (), (), ("https://a.example.com/x",)), False),
    (authority((URI(".example.com"),)), SubjectNames(None, (), (), (), ("https://a.example.com:1/x",)), True),
    (authority((x509.DirectoryName(subject("Me")),)), SubjectNames("Me"), True),
    (authority((x509.DirectoryName(subject("Me")),)), SubjectNames("You"), False),
    (authority((x509.DirectoryName(subject("My  Company")),)), SubjectNames("MY COMPANY"), True),
    (authority((), (x509.DirectoryName(subject("My Company")),)), SubjectNames("my company"), False),
    (authority((x509.DirectoryName(subject("Äther")),)), SubjectNames("äther"), False),
]


@pytest.mark.parametrize(("root", "names", "expected"), CASES)
def test_a_name_is_allowed_exactly_when_openssl_allows_it(
    tmp_path: Path, root: x509.Certificate, names: SubjectNames, expected: bool
) -> None:
    assert allows(root, names) == expected
    assert openssl_allows(tmp_path, root, names) == expected


labels = st.lists(st.sampled_from(["a", "b", "example", "xexample"]), max_size=2)


@settings(max_examples=40, deadline=None)
@given(name=labels, permitted=labels, excluded=labels)
def test_any_host_is_allowed_exactly_when_openssl_allows_it(
    tmp_path_factory: pytest.TempPathFactory, name: list[str], permitted: list[str], excluded: list[str]
) -> None:
    root = authority((DNS(".".join([*permitted, "test"])),), (DNS(".".join([*excluded, "a", "test"])),))
    names = SubjectNames(None, (".".join([*name, "test"]),))
    assert allows(root, names) == openssl_allows(tmp_path_factory.mktemp("any"), root, names)


@pytest.mark.parametrize("excluded", ["www.example.com", "example.com", "a.www.example.com"])
def test_a_wildcard_that_may_stand_for_an_excluded_host_is_refused(excluded: str) -> None:
    is_hit = excluded != "a.www.example.com"
    assert allows(authority((), (DNS(excluded),)), SubjectNames(None, ("*.example.com",))) != is_hit


@pytest.mark.parametrize("uri", ["https://10.0.0.1/x", "urn:uuid:1", "https://[::1]/"])
def test_a_uri_without_a_host_name_is_refused_where_uris_are_constrained(uri: str) -> None:
    names = SubjectNames(None, (), (), (), (uri,))
    assert not allows(authority((URI(".example.com"),)), names)
    assert not allows(authority((), (URI(".example.com"),)), names)


def test_user_principal_names_are_refused_where_other_names_are_constrained() -> None:
    other = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")
    names = SubjectNames(None, (), (), (), (), ("someone@example.com",))
    assert not allows(authority((other,)), names)
    assert not allows(authority((), (other,)), names)
    assert allows(authority((DNS("example.com"),)), names)


ADDRESSES = [
    ((MAIL("example.com"),), (), "a@example.com", True),
    ((MAIL("example.com"),), (), "a@EXAMPLE.com", True),
    ((MAIL("example.com"),), (), "a@example.net", False),
    ((MAIL("example.com"),), (), "a@b@example.com", True),
    ((MAIL("a@example.com"),), (), "b@example.com", False),
    ((), (MAIL(".example.com"),), "a@x.example.com", False),
    ((), (MAIL(".example.com"),), "a@example.com", True),
    ((MAIL("example.com"),), (), "no address", False),
    ((), (MAIL("example.net"),), "no address", False),
    ((MAIL("example.com"),), (), "Ada <a@example.com>", False),
    ((DNS("example.com"),), (), "a@example.net", True),
]


@pytest.mark.parametrize("alternatives", [(), ("www.example.com",)], ids=["alone", "with-a-dns-name"])
@pytest.mark.parametrize(("permitted", "excluded", "address", "expected"), ADDRESSES, ids=str)
def test_an_address_in_the_subject_is_allowed_exactly_when_openssl_allows_it(
    tmp_path: Path,
    permitted: tuple[x509.GeneralName, ...],
    excluded: tuple[x509.GeneralName, ...],
    address: str,
    expected: bool,
    alternatives: tuple[str, ...],
) -> None:
    """RFC 5280, section 4.2.1.10, demands it only where there are no alternative names."""
    root = authority(permitted, excluded)
    holder = builders.subject(email_address=address)
    names = general_names(SubjectNames(None, alternatives))
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.SubjectAlternativeName(names), False)] if names else []
    leaf = certificate(ROOT, holder, extensions, "leaf")
    assert (not names_not_allowed(holder, names, root)) == expected
    assert openssl_takes(tmp_path, root, leaf) == expected


@pytest.mark.parametrize("address", ["ä@example.com", "a@bücher.example", "@", "a@", "<a@example.com>"])
def test_an_address_in_the_subject_that_is_none_is_refused_where_addresses_are_constrained(address: str) -> None:
    holder = builders.subject(email_address=address)
    assert names_not_allowed(holder, [], authority((MAIL("example.com"),))) == [address]
    assert names_not_allowed(holder, [], authority((), (MAIL("example.net"),))) == [address]
    assert not names_not_allowed(holder, [], authority((DNS("example.com"),)))


def test_an_answer_with_an_address_that_its_issuer_may_not_certify_is_refused() -> None:
    constraints = x509.NameConstraints([OURS, MAIL("contoso.example")], None)
    root = builders.Authority.root(critical=[constraints])
    for domain, fits in [("contoso.example", True), ("fabrikam.example", False)]:
        key = builders.ec_key()
        name = builders.subject("Issuing", email_address=f"ca@{domain}")
        issuing = builders.Authority(key, root.sign(key.public_key(), name, **builders.ca_options({})))
        made = builders.pem(verification.leaf(signer=issuing), issuing.certificate, root.certificate)
        if fits:
            assert verification.verified(made)
        else:
            assert f"may not certify ca@{domain}, by its name constraints" in verification.refusal(made)


def test_an_authority_without_constraints_allows_everything() -> None:
    root = certificate(ROOT, ROOT, [(x509.BasicConstraints(ca=True, path_length=None), True)], "root")
    assert allows(root, SubjectNames("x", ("example.com",), ("a@b.example",), ("10.0.0.1",)))


def test_every_name_that_is_not_allowed_is_told() -> None:
    names = SubjectNames(None, ("a.test", "b.test", "c.example.com"))
    barred = names_not_allowed(subject(), general_names(names), authority((DNS("example.com"),)))
    assert barred == ["a.test", "b.test"]


OURS = DNS("contoso.example")  # the names of the certificate below


@pytest.mark.parametrize(
    ("names", "constraints", "fits"),
    [
        ([DNS("ca.example.com")], x509.NameConstraints([DNS("example.com"), OURS], None), True),
        ([DNS("ca.example.net")], x509.NameConstraints([DNS("example.com"), OURS], None), False),
        ([DNS("ca.example.net")], x509.NameConstraints(None, [DNS("example.net")]), False),
        ([], x509.NameConstraints([OURS], None), True),
        ([], x509.NameConstraints(None, [x509.DirectoryName(builders.subject("Issuing ca.example.net"))]), False),
    ],
)
def test_the_constraints_of_an_issuer_bind_the_issuers_below_as_well(
    names: list[x509.GeneralName], constraints: x509.NameConstraints, fits: bool
) -> None:
    """RFC 5280, section 6.1.3, (b) and (c). The common name of a CA is none of a host."""
    root = builders.Authority.root(critical=[constraints])
    own = [x509.SubjectAlternativeName(names)] if names else []
    issuing = root.intermediate("Issuing ca.example.net", extensions=own)
    made = builders.pem(verification.leaf(signer=issuing), issuing.certificate, root.certificate)
    if fits:
        assert verification.verified(made)
    else:
        assert "may not certify" in verification.refusal(made)


def test_a_self_issued_certificate_is_not_bound_by_the_constraints_above_it() -> None:
    """RFC 5280, section 6.1.3, (b): a root renewed with a new key."""
    name = builders.subject("Contoso Root CA")
    root = builders.Authority.root(critical=[x509.NameConstraints(None, [x509.DirectoryName(name)])])
    new = root.intermediate("Contoso Root CA")
    issuing = new.intermediate()
    made = builders.pem(verification.leaf(signer=issuing), issuing.certificate, new.certificate, root.certificate)
    assert verification.verified(made)


def test_the_common_name_of_an_issuer_is_no_host_name() -> None:
    root = builders.Authority.root(critical=[x509.NameConstraints([DNS("contoso.example")], None)])
    issuing = root.intermediate("issuing.fabrikam.example")
    made = builders.pem(verification.leaf(signer=issuing), issuing.certificate, root.certificate)
    assert verification.verified(made)


def test_a_certificate_with_the_name_of_its_issuer_is_bound_all_the_same() -> None:
    """RFC 5280, section 6.1.3, (b): self-issued or not, the last certificate of a path is checked."""
    excluded = x509.NameConstraints(None, [DNS("contoso.example")])
    namesake = verification.ROOT.intermediate("www.contoso.example", critical=[excluded])
    made = verification.leaf(signer=namesake)
    assert made.subject == made.issuer
    data = builders.pem(made, namesake.certificate, verification.ROOT.certificate)
    assert "may not certify" in verification.refusal(data)


def test_as_many_names_and_constraints_are_compared_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    root = builders.Authority.root(critical=[x509.NameConstraints([DNS("contoso.example")], None)])
    data = builders.pem(verification.leaf(signer=root), root.certificate)
    monkeypatch.setattr(verify, "MAX_COMPARISONS", 2)
    assert verification.verified(data)
    monkeypatch.setattr(verify, "MAX_COMPARISONS", 1)
    assert "too many to compare: 2 times, and 1 are allowed" in verification.refusal(data)
