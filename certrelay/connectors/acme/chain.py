"""The chains that an ACME server offers for one certificate (RFC 8555, section 7.4.2)."""

import requests
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from certrelay.connectors.acme.problem import UnusableAnswer
from certrelay.connectors.base import Issued, Outcome, Unavailable


def checked(answer: requests.Response) -> bytes:
    leads_to(answer, "")
    return answer.content


def issued(chain: bytes, csr: bytes) -> Outcome:
    """Some servers give one order to all who ask for the same names, and whoever is first gets its certificate."""
    try:
        keys = [one.public_key() for one in x509.load_pem_x509_certificates(chain)]
    except (ValueError, UnsupportedAlgorithm):
        return Issued(chain)  # whoever verifies it says what is wrong with it
    if x509.load_der_x509_csr(csr).public_key() in keys:
        return Issued(chain)
    return Unavailable("the server gave one order to two requests, and the other one was faster", restart=True)


def leads_to(answer: requests.Response, root: str) -> bool:
    """Whether the topmost certificate's issuer has this common name, or this subject key identifier in hex."""
    try:
        top = x509.load_pem_x509_certificates(answer.content)[-1]
        names = [name.value for name in top.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)]
        keys = [one.value for one in top.extensions if isinstance(one.value, x509.AuthorityKeyIdentifier)]
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise UnusableAnswer("it answered something other than certificates in PEM") from None
    digest = root.replace(":", "").lower()
    return root in names or any(key.key_identifier and key.key_identifier.hex() == digest for key in keys)
