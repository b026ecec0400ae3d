"""Mutants of hostile files, 200 of each kind or with `--soak` 1,000: none costs too much, and each ends in a sentence.

The work is counted, not only timed: iterations of key derivations, signatures, comparisons of names, memory of scrypt.
"""

import random
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from certrelay.errors import Invalid
from certrelay.pki import chains, name_constraints, password_encryption, verify
from certrelay.pki.key_bundles import read_bundle
from certrelay.pki.password_encryption import MAX_SCRYPT_COST, MAX_WORK
from certrelay.pki.verify import Limits, verify_answer
from tests.pki import files
from tests.pki.builders import NOW, Authority, der, dns, ec_key, pem, sign
from tests.pki.hostile import CSR, EXPECTED, KEY, PKCS8, ROOT, hidden_iterations, made, scrypt

FEW, MANY = 200, 1000
PATIENCE = 20.0  # seconds of CPU for a single mutant, on a machine ten times slower than an idle one
PASSWORD = "x"


def leaf(*extensions: x509.ExtensionType, signer: Authority = ROOT) -> x509.Certificate:
    return made(*(extensions or (dns("www.contoso.example"),)), signer=signer)


def certificates_of_one_name() -> bytes:
    name = ROOT.certificate.subject
    strangers = [sign(other, name, other.public_key(), name) for other in (ec_key() for _ in range(4))]
    return b"".join(map(der, [leaf() for _ in range(4)] + strangers))


def constrained() -> bytes:
    trees = [x509.DNSName(f"x{number}.example") for number in range(60)]
    authority = ROOT.intermediate(critical=[x509.NameConstraints(trees, None)])
    return pem(leaf(dns(*(f"a{number}.example" for number in range(60))), signer=authority), authority.certificate)


def ordinary_pfx() -> bytes:
    return serialize_key_and_certificates(b"a", KEY, leaf(), [ROOT.certificate], BestAvailableEncryption(b"x"))


KINDS: dict[str, Callable[[], bytes]] = {
    "hidden iterations": hidden_iterations,
    "scrypt": scrypt,
    "an ordinary PFX": ordinary_pfx,
    "a PFX in BER": lambda: files.as_ber(hidden_iterations()),
    "bags in bags": lambda: files.pfx(files.safe(files.bag(6, files.sequence(files.bag(6, files.sequence()))))),
    "certificates of one name": certificates_of_one_name,
    "name constraints": constrained,
    "PKCS#7": lambda: files.pkcs7(der(leaf()), der(ROOT.certificate)),
    "critical false": lambda: PKCS8 + files.pem_block("CERTIFICATE", files.critical_false(leaf(), ROOT.key)),
    "path length": lambda: PKCS8 + files.pem_block("CERTIFICATE", files.with_path_length(leaf(), ROOT.key)),
    "key and parameters": lambda: files.pem_block("EC PARAMETERS", b"\x06\x01\x2a") + PKCS8 + pem(leaf()),
    "a trusted certificate": lambda: PKCS8 + files.pem_block("TRUSTED CERTIFICATE", der(leaf()) + files.sequence()),
    "a key with a password": lambda: (
        pem(leaf()) + KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    ),
}

ANSWERS = {"certificates of one name", "name constraints", "PKCS#7"}


def mutants(data: bytes, count: int, chance: random.Random) -> Iterator[bytes]:
    """Bytes and bits changed, numbers made large, parts cut out, doubled, swapped; the end cut off."""
    large = [b"\x7f\xff\xff\xff", b"\x84\x7f\xff\xff\xff", b"\x00", b"\xff", b"\x30\x80", b"\x02\x04\x7f\xff\xff\xff"]
    for _ in range(count):
        made = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            at, length = chance.randrange(len(made)), chance.choice((1, 2, 4, 30, 200))
            match chance.randrange(6):
                case 0:
                    made[at] ^= 1 << chance.randrange(8)
                case 1:
                    made[at] = chance.randrange(256)
                case 2:
                    new = chance.choice(large)
                    made[at : at + len(new)] = new
                case 3:
                    del made[at : at + length]
                case 4:
                    made[at:at] = bytes(made[at : at + length]) * chance.choice((1, 1, 3, 50))
                case _:
                    made = made[: at + 1]
            made = made or bytearray(b"0")
        yield bytes(made)


class Work:
    """What one file has cost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.iterations = self.memory = self.signatures = self.comparisons = 0
        pbkdf2, pkcs12 = password_encryption._pbkdf2_derived, password_encryption._pkcs12_derived
        derived = Scrypt

        def counted_pbkdf2(digest: str, salt: bytes, rounds: int, size: int, password: bytes) -> bytes:
            self.iterations += rounds
            return pbkdf2(digest, salt, min(rounds, 20), size, password)

        def counted_pkcs12(digest: str, salt: bytes, rounds: int, purpose: int, size: int, password: bytes) -> bytes:
            self.iterations += 3 * rounds
            return pkcs12(digest, salt, min(rounds, 20), purpose, size, password)

        def counted_scrypt(salt: bytes, length: int, n: int, r: int, p: int) -> object:
            self.memory += 128 * n * r * p
            return derived(salt, length, 2, 1, 1)

        signed_by, allowed = chains.is_signed_by, name_constraints.names_not_allowed

        def counted_signature(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
            self.signatures += 1
            return signed_by(certificate, issuer)

        def counted_comparisons(
            name: x509.Name, names: list[x509.GeneralName], issuer: x509.Certificate, *, is_ca: bool = False
        ) -> list[str]:
            self.comparisons += name_constraints.comparisons(name, names, issuer)
            return list(allowed(name, names, issuer, is_ca=is_ca))

        monkeypatch.setattr(password_encryption, "_pbkdf2_derived", counted_pbkdf2)
        monkeypatch.setattr(password_encryption, "_pkcs12_derived", counted_pkcs12)
        monkeypatch.setattr(password_encryption, "Scrypt", counted_scrypt)
        monkeypatch.setattr(chains, "is_signed_by", counted_signature)
        monkeypatch.setattr(verify, "names_not_allowed", counted_comparisons)

    def is_bounded(self) -> bool:
        signatures = chains.MAX_SIGNATURES + 2 * chains.MAX_CHAIN
        return (
            self.iterations <= MAX_WORK
            and self.memory <= 128 * MAX_SCRYPT_COST
            and self.signatures <= signatures
            and self.comparisons <= name_constraints.MAX_COMPARISONS
        )

    def clear(self) -> None:
        self.iterations = self.memory = self.signatures = self.comparisons = 0


def told(use: Callable[[bytes], object], data: bytes) -> str:
    try:
        use(data)
    except Invalid as error:
        return str(error)
    return ""


def file(data: bytes) -> object:
    return read_bundle(data, PASSWORD, NOW)


def answer(data: bytes) -> object:
    return verify_answer(data, CSR, EXPECTED, Limits(), NOW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_mutants_cost_no_more_than_is_allowed(
    kind: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    count = MANY if request.config.getoption("--soak") else FEW
    monkeypatch.setattr(chains, "MAX_SIGNATURES", 10)  # fewer certificates are enough to exceed it
    original, work, slowest = KINDS[kind](), Work(monkeypatch), 0.0
    use = answer if kind in ANSWERS else file
    for data in [original, *mutants(original, count, random.Random(kind))]:
        work.clear()
        begun = time.process_time()
        assert len(told(use, data)) < 2200
        slowest = max(slowest, time.process_time() - begun)
        assert work.is_bounded(), (vars(work), data.hex())
    assert slowest < PATIENCE


def test_the_work_is_counted_so_that_the_test_above_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    told(file, ordinary_pfx())
    assert work.iterations > 0
    told(answer, constrained())
    told(answer, pem(leaf(), ROOT.certificate))
    assert work.signatures > 0
    assert work.comparisons > 0
    work.iterations = MAX_WORK + 1
    assert not work.is_bounded()


@pytest.mark.parametrize("kind", ["hidden iterations", "scrypt"])
def test_a_hidden_cost_is_refused_and_nothing_is_paid(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    assert "too many iterations" in told(file, KINDS[kind]())
    assert work.iterations <= 10
    assert work.memory == 0
