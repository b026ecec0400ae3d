"""What a connector answered: its certificates, their chain and their names."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from certrelay.connectors.base import SigningRequest
from certrelay.pki.subject import SubjectNames


def certificates(answer: bytes) -> list[x509.Certificate]:
    """All certificates of an answer in PEM, DER or PKCS#7."""
    if b"-----BEGIN CERTIFICATE" in answer:
        return x509.load_pem_x509_certificates(answer)
    if b"-----BEGIN PKCS7" in answer:
        return pkcs7.load_pem_pkcs7_certificates(answer)
    try:
        return [x509.load_der_x509_certificate(answer)]
    except ValueError:
        return pkcs7.load_der_pkcs7_certificates(answer)


def leaf_of(answer: bytes, request: SigningRequest) -> x509.Certificate:
    """The one certificate of the answer that has the CSR's public key."""
    key = x509.load_der_x509_csr(request.csr).public_key()
    leaves = [certificate for certificate in certificates(answer) if certificate.public_key() == key]
    assert len(leaves) == 1
    return leaves[0]


def verify_chain(leaf: x509.Certificate, answer: bytes, roots: Sequence[x509.Certificate]) -> None:
    """From the leaf, by signatures, to one of `roots`."""
    known, current = [*certificates(answer), *roots], leaf
    for _ in range(10):
        if current in roots:
            return
        issuers = [candidate for candidate in known if candidate.subject == current.issuer]
        assert issuers, f"no issuer for {current.subject.rfc4514_string()}"
        current.verify_directly_issued_by(issuers[0])
        current = issuers[0]
    raise AssertionError("the chain does not end")


def alternative_names(leaf: x509.Certificate) -> SubjectNames:
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return SubjectNames()
    principals = [other.value[2:].decode() for other in san.get_values_for_type(x509.OtherName)]
    return SubjectNames(
        dns_names=tuple(san.get_values_for_type(x509.DNSName)),
        email_addresses=tuple(san.get_values_for_type(x509.RFC822Name)),
        ip_addresses=tuple(str(address) for address in san.get_values_for_type(x509.IPAddress)),
        uris=tuple(san.get_values_for_type(x509.UniformResourceIdentifier)),
        user_principal_names=tuple(principals),
    )


def common_names(leaf: x509.Certificate) -> list[str]:
    return [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def verify_names(leaf: x509.Certificate, names: SubjectNames) -> None:
    """Exactly the names that were asked; the common name may come back as a DNS name too."""
    found = alternative_names(leaf)
    asked_dns = set(names.dns_names) | ({names.common_name} & set(found.dns_names))
    assert set(found.dns_names) == asked_dns
    for kind in ("email_addresses", "ip_addresses", "uris", "user_principal_names"):
        assert set(getattr(found, kind)) == set(getattr(names, kind)), kind
    assert common_names(leaf) in ([], [names.common_name]) or set(common_names(leaf)) <= set(names.dns_names)
    assert names.dns_names or common_names(leaf) or not names.common_name or names.common_name in found.dns_names
