"""One chain of certificates in the forms that authorities answer with."""

from collections.abc import Iterable

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from certrelay.errors import Invalid
from certrelay.pki import chains
from certrelay.pki.contents import read_certificates
from tests.pki.builders import NOW, Authority, der, dns, ec_key, subject

KEY = ec_key()
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
LEAF = ISSUING.sign(KEY.public_key(), subject("www.contoso.example"), extensions=[dns("www.contoso.example")])
CHAIN = (LEAF, ISSUING.certificate, ROOT.certificate)
P7B = pkcs7.serialize_certificates(list(CHAIN), Encoding.DER)
P7B_PEM = pkcs7.serialize_certificates(list(CHAIN), Encoding.PEM)
CMS_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")


def parse_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """All certificates of an answer. Raises Invalid where there is none, or one that cannot be read."""
    found = read_certificates(data)
    if found.unreadable:
        raise Invalid(found.unreadable[0].refusal)
    found.require_certificates()
    return tuple(found.certificates)


def ordered_chain(
    certificates: Iterable[x509.Certificate], key: PublicKeyTypes, *, tolerate_gap: bool = False
) -> tuple[x509.Certificate, ...]:
    return chains.ordered_chain(certificates, key, NOW, tolerate_gap=tolerate_gap)


def signed_data(*certificates: x509.Certificate) -> bytes:
    """Certs-only (RFC 5652, section 5), in the order given."""
    choices = [cms.CertificateChoices({"certificate": cms.Certificate.load(der(each))}) for each in certificates]
    content = {
        "version": "v1",
        "digest_algorithms": [],
        "encap_content_info": {"content_type": "data"},
        "certificates": cms.CertificateSet(choices),
        "signer_infos": [],
    }
    made: bytes = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(content)}).dump()
    return made


def indefinite(data: bytes) -> bytes:
    """The outer three levels of a PKCS#7 in BER with indefinite lengths."""

    def inner(element: bytes) -> bytes:
        size = 2 if element[1] < 0x80 else 2 + (element[1] & 0x7F)
        return element[size:]

    explicit = inner(data)[len(CMS_SIGNED_DATA) :]
    signed = inner(explicit)
    end = b"\0\0"
    return b"\x30\x80" + CMS_SIGNED_DATA + b"\xa0\x80" + b"\x30\x80" + inner(signed) + end + end + end
