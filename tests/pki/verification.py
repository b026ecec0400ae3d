"""What was asked, answers to it, and how verification refuses them."""

from typing import Any

import pytest
from cryptography import x509

from certrelay.errors import Unverified
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected, Limits, verify_answer, verify_csr
from tests.pki.builders import NOW, Authority, csr, dns, pem, rsa_key, subject

KEY = rsa_key()
ROOT = Authority.root()
ISSUING = ROOT.intermediate()
NAMES = SubjectNames("www.contoso.example", ("www.contoso.example", "api.contoso.example"))
EXPECTED = Expected(NAMES, "RSA", 2048, None)
SANS = dns("www.contoso.example", "api.contoso.example")
SUBJECT = subject("www.contoso.example")
CSR = csr(KEY, SUBJECT, [SANS])
PRECERT_POISON = x509.PrecertPoison()


def leaf(
    name: x509.Name = SUBJECT, sans: x509.SubjectAlternativeName | None = SANS, **options: Any
) -> x509.Certificate:
    extensions = [*([sans] if sans else []), *options.pop("extensions", [])]
    public_key = options.pop("public_key", KEY.public_key())
    signer = options.pop("signer", ISSUING)
    return signer.sign(public_key, name, extensions=extensions, **options)  # type: ignore[no-any-return]


def answer(*certificates: x509.Certificate) -> bytes:
    return pem(*certificates, ISSUING.certificate, ROOT.certificate)


def verified(data: bytes, expected: Expected = EXPECTED, limits: Limits | None = None) -> tuple[bytes, ...]:
    return verify_answer(data, CSR, expected, limits or Limits(), NOW).chain


def refusal(data: bytes, expected: Expected = EXPECTED, limits: Limits | None = None) -> str:
    with pytest.raises(Unverified) as caught:
        verified(data, expected, limits)
    return str(caught.value)


def csr_refusal(request: bytes, expected: Expected = EXPECTED) -> str:
    with pytest.raises(Unverified) as caught:
        verify_csr(request, expected)
    return str(caught.value)
