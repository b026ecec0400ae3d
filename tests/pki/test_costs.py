"""What hostile input could cost is bounded before it is paid: a mebibyte takes two seconds at the most."""

import re
import time

import pytest
from cryptography import x509

from certrelay.errors import Invalid
from certrelay.pki import foreign
from certrelay.pki.alternative_names import general_names
from certrelay.pki.contents import read_certificates
from certrelay.pki.key_bundles import read_bundle
from certrelay.pki.name_constraints import MAX_COMPARISONS, comparisons
from certrelay.pki.verify import Limits, verify_answer
from certrelay.pki.wording import MAX_LIST, bounded, listed
from tests.pki import files
from tests.pki.builders import NOW, der, dns, pem, sign, subject
from tests.pki.hostile import CSR, EXPECTED, HOSTILE, KEY, PKCS8, constrained, made, rsa_file, rsa_numbers

PATIENCE = 8.0  # seconds of CPU, on a machine that is four times slower than one that is idle


@pytest.mark.parametrize("name", HOSTILE)
def test_no_answer_takes_long(name: str) -> None:
    data = HOSTILE[name]()
    assert len(data) <= 1024 * 1024
    started = time.process_time()
    with pytest.raises(Invalid) as caught:
        verify_answer(data, CSR, EXPECTED, Limits(public_trust=True), NOW)
    assert time.process_time() - started < PATIENCE
    assert len(str(caught.value)) < 2200


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_takes_long(name: str) -> None:
    data = HOSTILE[name]()
    started = time.process_time()
    try:
        bundle = read_bundle((PKCS8 + data) if data.startswith(b"-") else data, None, NOW)
    except Invalid as error:
        assert len(str(error)) < 2200
    else:
        assert len("".join(bundle.changes)) < 2200
    assert time.process_time() - started < PATIENCE


@pytest.mark.parametrize("pattern", [foreign._KUBERNETES, foreign._MAIL, foreign._SMIME])
def test_no_pattern_that_is_searched_for_reads_a_text_again_and_again(pattern: re.Pattern[bytes]) -> None:
    """4 KiB of line ends took a pattern 150 ms, in which nobody else was served: the square of what it read."""
    started = time.process_time()
    for part in (b"\n", b" ", b"\t\n", b"{\n", b", ", b'"', b"a", b"kind: ", b"kind:\n", b"subject", b"pkcs7-"):
        pattern.search(part * (100_000 // len(part)))
    assert time.process_time() - started < PATIENCE


def test_a_hundred_names_under_1600_constraints_are_compared_and_more_are_refused_once() -> None:
    authority = constrained(*(x509.DNSName(f"x{number}.example") for number in range(1600)))
    leaf = made(dns(*(f"a{number}.example" for number in range(100))))
    assert comparisons(leaf.subject, general_names(leaf), authority.certificate) == 160_000 < MAX_COMPARISONS
    larger = constrained(*(x509.DNSName(f"x{number}.example") for number in range(4000)))
    data = pem(made(dns(*(f"a{number}.example" for number in range(101))), signer=larger), larger.certificate)
    with pytest.raises(Invalid, match="too many to compare: 404000 times, and 400000 are allowed; ask for fewer names"):
        verify_answer(data, CSR, EXPECTED, Limits(), NOW)


def test_more_than_a_hundred_certificates_are_refused_in_every_form() -> None:
    name = subject("a")
    many = [sign(KEY, name, KEY.public_key(), name) for _ in range(101)]
    for data in (pem(*many), b"".join(map(der, many))):
        with pytest.raises(Invalid, match="more than 100 certificates; send only those of the chain"):
            read_certificates(data)
    stored = files.pfx(files.safe(files.key_bag(KEY), *map(files.certificate_bag, map(der, many))))
    with pytest.raises(Invalid, match="more than 100 certificates"):
        read_bundle(stored, None, NOW)


def test_lists_end_after_ten_and_sentences_after_some_length() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a, b"
    assert listed(f"n{number}" for number in range(107)).endswith("n9 … and 97 more")
    assert len(listed(["x" * 5000] * 9)) < MAX_LIST + 20
    assert bounded(["a"]) == ["a"]
    assert bounded([str(number) for number in range(14)])[10:] == ["… and 4 more faults"]
    assert sum(map(len, bounded(["x" * 5000] * 9, "more"))) < 2020
    assert bounded(["a\nb\x00"]) == ["a?b?"]


def test_a_large_rsa_key_is_refused_in_less_time_than_testing_one_of_its_primes_once() -> None:
    """Checked completely it takes seconds, in which no other thread gets a turn."""
    p, q = 2**4253 - 1, 2**3217 - 1  # Mersenne primes
    data = rsa_file(*rsa_numbers(p, q))
    started = time.process_time()
    assert pow(3, p - 1, p) == 1
    once = time.process_time() - started
    started = time.process_time()
    with pytest.raises(Invalid, match="the RSA key has 7470 bits; Key Vault takes 2048, 3072 and 4096"):
        read_bundle(data, None, NOW)
    assert time.process_time() - started < once


def test_the_numbers_of_an_rsa_key_belong_together() -> None:
    numbers = rsa_numbers(2**2203 - 1, 2**1279 - 1)
    with pytest.raises(Invalid, match="no certificate in the file"):
        read_bundle(rsa_file(*numbers), None, NOW)
    composite = (2**2203 - 1, (2**607 - 1) * (2**521 - 1))
    others = [[*numbers[:at], number + 2, *numbers[at + 1 :]] for at, number in enumerate(numbers)]
    others += [
        [0] * 8,
        [1] * 8,
        [numbers[0], 65537, *numbers[2:3], 1, numbers[0], *numbers[5:]],
        rsa_numbers(*composite),
    ]
    for broken in others:
        with pytest.raises(Invalid, match="it is damaged or of an unknown kind"):
            read_bundle(rsa_file(*broken), None, NOW)
