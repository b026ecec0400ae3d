"""The demo's observer believes nothing that is not so."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sandbox.demo import Story, make_pfx
from sandbox.observer import Seen, Unexpected, in_order, verify_chain
from sandbox.progress import Progress

NOW = datetime.now(UTC)
NAME = "www.contoso.example"


def make(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """A certificate; a CA's when its name says so."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    is_ca = subject.endswith("CA")
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=90))
    builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(issuer_key, critical=False)
    if is_ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture(scope="module")
def keys() -> list[ec.EllipticCurvePrivateKey]:
    return [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]


@pytest.fixture(scope="module")
def chain(keys: list[ec.EllipticCurvePrivateKey]) -> list[x509.Certificate]:
    """Leaf, intermediate, root."""
    leaf, intermediate, root = keys
    return [
        make(NAME, "Issuing CA", leaf, intermediate),
        make("Issuing CA", "Root CA", intermediate, root),
        make("Root CA", "Root CA", root, root),
    ]


def seen(chain: list[x509.Certificate], key: ec.EllipticCurvePrivateKey, tags: Mapping[str, str] | None = None) -> Seen:
    return Seen("1", tags or {}, chain[0], chain[1:], key)


def root_file(directory: Path, root: x509.Certificate) -> Path:
    path = directory / "root.pem"
    path.write_bytes(root.public_bytes(Encoding.PEM))
    return path


def test_the_certificates_of_a_pfx_are_put_in_order(chain: list[x509.Certificate]) -> None:
    leaf, intermediate, root = chain
    assert in_order(leaf, [root, intermediate]) == [intermediate, root]
    assert in_order(leaf, [intermediate, root]) == [intermediate, root]
    assert in_order(leaf, []) == []


def test_a_stranger_in_a_pfx_is_noticed(chain: list[x509.Certificate]) -> None:
    stranger, _, _ = make_pfx("stranger.example", NOW)
    with pytest.raises(Unexpected, match="no part of the chain"):
        in_order(chain[0], [chain[1], stranger])
    with pytest.raises(Unexpected, match="no part of the chain"):
        in_order(chain[0], [chain[2], chain[2]])


def test_a_chain_up_to_the_root_is_believed(
    chain: list[x509.Certificate], keys: list[ec.EllipticCurvePrivateKey], tmp_path: Path
) -> None:
    verify_chain(seen(chain, keys[0]), root_file(tmp_path, chain[2]), NAME, NOW)


@pytest.mark.parametrize(
    ("name", "days"), [("www.fabrikam.example", 0), (NAME, 91), (NAME, -2)], ids=["name", "expired", "too early"]
)
def test_another_name_or_another_time_is_not_believed(
    chain: list[x509.Certificate], keys: list[ec.EllipticCurvePrivateKey], tmp_path: Path, name: str, days: int
) -> None:
    with pytest.raises(Unexpected, match="does not lead to the authority's root"):
        verify_chain(seen(chain, keys[0]), root_file(tmp_path, chain[2]), name, NOW + timedelta(days=days))


def test_a_chain_to_another_root_of_the_same_name_is_not_believed(
    chain: list[x509.Certificate], keys: list[ec.EllipticCurvePrivateKey], tmp_path: Path
) -> None:
    other = make("Root CA", "Root CA", keys[0], keys[0])
    with pytest.raises(Unexpected, match="does not lead to the authority's root"):
        verify_chain(seen(chain, keys[0]), root_file(tmp_path, other), NAME, NOW)


def test_another_private_key_does_not_match(
    chain: list[x509.Certificate], keys: list[ec.EllipticCurvePrivateKey]
) -> None:
    assert seen(chain, keys[0]).key_matches
    assert not seen(chain, keys[1]).key_matches


class Vault:
    """A vault that shows what it is told to."""

    def __init__(self, second: Seen, versions: list[str]) -> None:
        self._second, self._versions = second, versions

    def see(self, _: str) -> Seen:
        return self._second

    def versions(self, _: str) -> list[str]:
        return self._versions


def renewed(monkeypatch: pytest.MonkeyPatch, first: Seen, second: Seen, versions: int = 2) -> None:
    monkeypatch.setattr(Story, "_check", lambda *_: None)
    story = Story(Progress(), {}, None, Vault(second, ["v"] * versions))  # type: ignore[arg-type]
    story._check_renewal(first)


def test_a_renewal_must_be_a_second_version_with_a_new_key_and_the_same_tags(
    chain: list[x509.Certificate], keys: list[ec.EllipticCurvePrivateKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"team": "web"}
    first = Seen("1", tags, chain[0], chain[1:], keys[0])
    same_key = Seen("2", tags, chain[0], chain[1:], keys[0])
    other = make(NAME, "Issuing CA", keys[2], keys[1])
    for second, versions, reason in (
        (same_key, 1, "there are 1 versions"),
        (first, 2, "still the first"),
        (same_key, 2, "the key of the first"),
        (Seen("2", {}, other, chain[1:], keys[2]), 2, "the tags changed"),
        (Seen("2", tags, chain[1], chain[2:], keys[1]), 2, "another issuer"),
        (Seen("2", tags, other, chain[1:], keys[2]), 2, "does not expire later"),
    ):
        with pytest.raises(Unexpected, match=reason):
            renewed(monkeypatch, first, second, versions)
