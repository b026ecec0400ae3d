"""docs/what-is-refused.md: an example of every row of its tables, after the cases of x509-limbo."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.pki.builders import NOW, Authority, dns, ec_key, pem, rsa_key, with_explicit_curve, with_sha1
from tests.pki.files import pem_block, signed_again
from tests.pki.verification import ISSUING, ROOT, answer, leaf, refusal, verified

PAGE = (Path(__file__).parents[2] / "docs" / "what-is-refused.md").read_text(encoding="utf-8")
STRANGE = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
DAY = timedelta(days=1)
VERSION = 0xA0


def table(header: str) -> list[tuple[str, ...]]:
    """The rows of the table whose first cell of the header this is."""
    [lines] = re.findall(rf"^\| {header} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [tuple(cell.strip() for cell in line.strip().strip("|").split("|")) for line in lines.splitlines()]


def below(issuing: Authority, **options: Any) -> bytes:
    return pem(leaf(signer=issuing, **options), issuing.certificate, ROOT.certificate)


def of_a_sha1_issuer() -> bytes:
    root = Authority.root(key=rsa_key(2))
    issuing = root.intermediate()
    return pem(leaf(signer=issuing), with_sha1(issuing.certificate, rsa_key(2)), root.certificate)


def with_a_spelled_out_curve() -> bytes:
    issuing = ROOT.intermediate()
    made = leaf(signer=issuing)
    return pem(made, with_explicit_curve(issuing.certificate, ROOT.key), ROOT.certificate)


def too_deep() -> bytes:
    upper = ROOT.intermediate("Upper", path_length=0)
    lower = upper.intermediate("Lower")
    return pem(leaf(signer=lower), lower.certificate, upper.certificate, ROOT.certificate)


def with_a_malformed_extension() -> bytes:
    broken = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.37"), b"\x30\x05")
    return answer(leaf(ekus=(), extensions=[broken]))


def with_a_final_dot() -> bytes:
    return answer(leaf(sans=dns("www.contoso.example.", "api.contoso.example")))


def of_version_1() -> bytes:
    made = signed_again(leaf(), ISSUING.key, lambda each: b"" if each.tag == VERSION else None)
    return pem_block("CERTIFICATE", made) + pem(ISSUING.certificate, ROOT.certificate)


def with_too_many_names() -> bytes:
    return answer(leaf(sans=dns(*(f"n{number}.contoso.example" for number in range(1001)))))


NARROW = x509.NameConstraints([x509.DNSName("example.net")], None)

REFUSED: dict[tuple[str, str], tuple[Callable[[], bytes], str]] = {
    ("key of the CSR", "certificate"): (
        lambda: answer(leaf(public_key=ec_key().public_key())), "no certificate in the answer has the public key"
    ),
    ("names", "certificate"): (lambda: answer(leaf(sans=dns("www.contoso.example"))), "api.contoso.example"),
    ("form of the names", "certificate"): (with_a_final_dot, "no client matches"),
    ("validity", "all but a dispensable root"): (
        lambda: below(ROOT.intermediate(begins=NOW - 9 * DAY, days=8)), "expired on"
    ),
    ("signature", "all but the root"): (of_a_sha1_issuer, "over a hash that is not safe"),
    ("key", "all but the root"): (
        lambda: below(ROOT.intermediate(key=rsa.generate_private_key(65537, 1024))), "at least 2048 are needed"
    ),
    ("curve", "all but the root"): (with_a_spelled_out_curve, "spells out instead of naming it"),
    ("basic constraints", "issuers"): (too_deep, "allows 0 intermediates below it and has 1"),
    ("basic constraints", "certificate"): (lambda: answer(leaf(ca=True)), "is a CA certificate, which was not"),
    ("key usage", "issuers"): (
        lambda: below(ROOT.intermediate(usages=("crl_sign",))), "its key usage does not allow it"
    ),
    ("extended key usage", "certificate"): (
        lambda: answer(leaf(ekus=[ExtendedKeyUsageOID.CODE_SIGNING])), "extended key usage"
    ),
    ("extended key usage", "issuers that are not self-issued"): (
        lambda: below(ROOT.intermediate(ekus=[ExtendedKeyUsageOID.CODE_SIGNING])), "allows only codeSigning"
    ),
    ("name constraints", "certificate, and issuers that are not self-issued"): (
        lambda: below(ROOT.intermediate(critical=[NARROW])), "may not certify www.contoso.example"
    ),
    ("critical extensions", "all"): (lambda: answer(leaf(critical=[STRANGE])), "which is not known"),
    ("version", "all"): (of_version_1, "is of version 1, which has none"),
    ("the same extension twice, malformed DER", "all"): (with_a_malformed_extension, "cannot be read"),
    ("size", "answer"): (with_too_many_names, "at most 1000 are allowed"),
}  # fmt: skip


def test_every_row_of_what_is_refused_has_an_example() -> None:
    assert [(rule, where) for rule, where, *_ in table("rule")] == list(REFUSED)


@pytest.mark.parametrize("row", REFUSED, ids=": ".join)
def test_what_the_page_says_is_refused(row: tuple[str, str]) -> None:
    made, text = REFUSED[row]
    assert text in refusal(made())


def with_an_expired_root() -> bytes:
    old = Authority.root(key=ec_key(), begins=NOW - 99 * DAY, days=98)
    issuing = old.intermediate()
    return pem(leaf(signer=issuing), issuing.certificate, old.certificate)


def with_a_weak_root() -> bytes:
    root = Authority.root(key=rsa.generate_private_key(65537, 1024))
    issuing = root.intermediate()
    return pem(leaf(signer=issuing), issuing.certificate, root.certificate)


def with_key_identifiers(critical: bool) -> bytes:
    own = [x509.AuthorityKeyIdentifier.from_issuer_public_key(ISSUING.key.public_key())] if critical else []
    return answer(leaf(critical=own))


def with_a_dotted_constraint() -> bytes:
    below_only = x509.NameConstraints([x509.DNSName(".contoso.example")], None)
    return below(ROOT.intermediate(critical=[below_only]))


TOLERATED: dict[str, Callable[[], bytes]] = {
    "a root that is not trusted anywhere": lambda: answer(leaf()),
    "a weak key, an old signature or odd extensions of a root": with_a_weak_root,
    "an expired root": with_an_expired_root,
    "a leading dot in a name constraint": with_a_dotted_constraint,
    "a certificate that is valid in a second": lambda: answer(leaf(begins=NOW + DAY)),
    "a missing key identifier": lambda: with_key_identifiers(critical=False),
    "a critical key identifier": lambda: with_key_identifiers(critical=True),
    "name constraints in an end-entity certificate": lambda: answer(leaf(critical=[NARROW])),
}


@pytest.mark.parametrize("what", TOLERATED)
def test_what_the_page_says_is_not_refused(what: str) -> None:
    assert verified(TOLERATED[what]())
