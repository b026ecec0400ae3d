"""Files that others collected to break parsers with: each ends in success or in a clear Invalid, and in time.

The sets are those of the PyPI package cryptography-vectors. What cryptography only deprecates is no error here.
"""

import base64
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certrelay.errors import Invalid
from certrelay.pki.alternative_names import other_names
from certrelay.pki.key_bundles import read_bundle, verify_bundle
from certrelay.pki.names import names_of
from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected, Limits, verify_answer, verify_csr
from tests.examples import examples
from tests.pki import answers, bundles
from tests.pki.builders import csr, der, pem, subject

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

VECTORS = Path(cryptography_vectors.__file__).parent
PASSWORDS = (None, "password", "cryptography", "")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
EXPECTED = Expected(SubjectNames("www.contoso.example"), "RSA", 2048, None)
CSR = csr(answers.KEY, subject("www.contoso.example"))
SLOWEST = 20.0


def files(folder: str, *suffixes: str) -> list[Path]:
    found = [path for path in sorted((VECTORS / folder).rglob("*")) if path.suffix in suffixes and path.is_file()]
    assert found
    return found


def outcome(work: Callable[[], object]) -> str:
    """`""` for success, else the sentences of Invalid; anything else that is raised fails the test."""
    started = time.process_time()
    try:
        work()
        text = ""
    except Invalid as error:
        text = str(error)
        assert text
        assert all(len(fault.detail) < 400 and fault.detail.isprintable() for fault in error.faults)
    assert time.process_time() - started < SLOWEST
    return text


def imported(data: bytes, password: str | None) -> str:
    def work() -> None:
        bundle = read_bundle(data, password, NOW)
        assert bundle.chain[0].public_key() == bundle.private_key.public_key()
        assert bundle.pem()
        names_of(bundle.chain[0])
        verify_bundle(bundle, NOW)

    return outcome(work)


def test_every_pkcs12_file_is_imported_or_refused() -> None:
    opened = {}
    for path in files("pkcs12", ".p12"):
        outcomes = [imported(path.read_bytes(), password) for password in PASSWORDS]
        opened[path.name] = [text for text in outcomes if "cannot be opened" not in text]
    assert len(opened) == 31
    assert all(opened.values())
    flat = {name: texts[0] for name, texts in opened.items()}
    for name in ("no-cert-no-name-pwd.p12", "java-truststore.p12"):
        assert flat[name].startswith("there is no private key in the PFX, only ")
    assert flat["no-cert-key-aes256cbc.p12"] == "there is no certificate in the file; send it together with its key"
    assert flat["cert-key-aes256cbc.p12"] == flat["cert-rc2-key-3des.p12"] == flat["name-all-no-pwd.p12"]


@pytest.mark.slow
def test_every_eighth_pkits_pkcs12_file_is_imported_or_refused(request: pytest.FixtureRequest) -> None:
    """With `--soak` all 405: 397 are imported, 3 hold DSA keys, 2 DSA keys without parameters, 3 are expired."""
    chosen = files("x509/PKITS_data/pkcs12", ".p12")[:: 1 if request.config.getoption("--soak") else 8]
    outcomes = [imported(path.read_bytes(), "password") for path in chosen]
    assert outcomes.count("") > 0.95 * len(chosen) > 45


def test_every_pkcs7_file_is_read_or_refused() -> None:
    outcomes = {
        path.name: outcome(lambda path=path: answers.parse_certificates(path.read_bytes()))  # type: ignore[misc]
        for path in files("pkcs7", ".pem", ".der", ".p7b")
    }
    assert outcomes["amazon-roots.p7b"] == outcomes["isrg.pem"] == ""
    assert "not of the kind" in outcomes["enveloped.pem"]


def test_every_certificate_file_is_read_or_refused() -> None:
    outcomes = []
    for path in files("x509", ".pem", ".der", ".crt", ".cer"):
        if "requests" in path.parts or "smime" in path.parts:
            continue

        def work(path: Path = path) -> None:
            found = answers.parse_certificates(path.read_bytes())
            for certificate in found:
                names_of(certificate)
                other_names(certificate)
            chain = answers.ordered_chain(found, found[0].public_key(), tolerate_gap=True)
            assert chain

        outcomes.append(outcome(work))
    assert outcomes.count("") > 500


def test_every_certificate_is_no_answer_to_our_request() -> None:
    for path in files("x509/custom", ".pem", ".der"):
        data = path.read_bytes()
        assert outcome(lambda data=data: verify_answer(data, CSR, EXPECTED, Limits(), NOW))  # type: ignore[misc]


def test_every_request_file_is_refused_for_another_name() -> None:
    for path in files("x509/requests", ".pem", ".der"):
        data = path.read_bytes()
        if path.suffix == ".pem":
            data = base64.b64decode("".join(data.decode().split("-----")[2].split()))
        assert outcome(lambda data=data: verify_csr(data, EXPECTED))  # type: ignore[misc]


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["PKCS8", "Traditional_OpenSSL_Serialization", "PEM_Serialization", "DER_Serialization", "EC", "OpenSSH"]
)
def test_every_key_file_is_read_or_refused_and_never_leaks(folder: str) -> None:
    for path in files(f"asymmetric/{folder}", ".pem", ".der", ".key", ".pub"):
        for password in (*PASSWORDS, "123456", "foobar", "asdf"):
            text = imported(path.read_bytes(), password)
            assert text  # none has a certificate
            assert not password or password == "password" or password not in text


@pytest.mark.parametrize("folder", ["asymmetric/Ed25519", "asymmetric/X25519", "asymmetric/DH", "asymmetric/MLDSA"])
def test_every_other_kind_of_key_is_refused(folder: str) -> None:
    for path in files(folder, ".pem", ".der"):
        assert imported(path.read_bytes(), None)
        assert outcome(lambda path=path: answers.parse_certificates(path.read_bytes()))  # type: ignore[misc]


def mutations(*originals: bytes) -> st.SearchStrategy[bytes]:
    """One of the originals with a few bytes changed, cut out or put in."""

    def changed(choice: tuple[bytes, list[tuple[float, int, bytes]]]) -> bytes:
        data = choice[0]
        for where, removed, added in choice[1]:
            place = int(where * len(data))
            data = data[:place] + added + data[place + removed :]
        return data

    edit = st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 1, 1, 2, 50, 5000]), st.binary(max_size=3))
    return st.tuples(st.sampled_from(originals), st.lists(edit, min_size=1, max_size=4)).map(changed)


FUZZ = settings(max_examples=examples(700), deadline=None, suppress_health_check=list(HealthCheck))
P7BS = (
    answers.P7B,
    answers.P7B_PEM,
    answers.indefinite(answers.P7B),
    base64.b64encode(answers.P7B),
)
PEMS = (bundles.key_as() + pem(*bundles.CHAIN), pem(*bundles.CHAIN))
ENCRYPTED = (VECTORS / "pkcs12/cert-key-aes256cbc.p12").read_bytes()
PFXS = (bundles.pfx(None), ENCRYPTED, (VECTORS / "pkcs12/cert-rc2-key-3des.p12").read_bytes())


@pytest.mark.slow
@FUZZ
@given(mutations(*PFXS))
def test_a_mutated_pfx_is_imported_or_refused(data: bytes) -> None:
    imported(data, "cryptography")


@pytest.mark.slow
@FUZZ
@given(mutations(*P7BS, *PEMS, der(answers.LEAF)))
def test_mutated_certificates_are_read_or_refused(data: bytes) -> None:
    outcome(lambda: answers.ordered_chain(answers.parse_certificates(data), answers.KEY.public_key()))


@pytest.mark.slow
@FUZZ
@given(mutations(*PEMS, bundles.key_as(PrivateFormat.TraditionalOpenSSL, "cryptography")))
def test_a_mutated_pem_is_imported_or_refused(data: bytes) -> None:
    imported(data, "cryptography")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert imported(data, "cryptography")
    assert outcome(lambda: answers.parse_certificates(data))
    assert outcome(lambda: verify_csr(data, EXPECTED))


@settings(max_examples=examples(300), deadline=None)
@given(mutations(CSR))
def test_a_mutated_request_is_verified_or_refused(data: bytes) -> None:
    outcome(lambda: verify_csr(data, Expected(SubjectNames("www.contoso.example"), "EC", None, "P-256")))


@settings(max_examples=examples(300), deadline=None)
@given(mutations(*P7BS, pem(*answers.CHAIN)))
def test_a_mutated_answer_is_verified_or_refused(data: bytes) -> None:
    expected = Expected(SubjectNames("www.contoso.example"), "EC", None, "P-256")
    limits = Limits(90, public_trust=True, issuer_pins=("0" * 64,))
    assert outcome(lambda: verify_answer(data, CSR, expected, limits, NOW))
