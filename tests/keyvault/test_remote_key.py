"""The key in Key Vault as cryptography's builders see it; here with a local key behind the same `sign` operation."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certrelay.keyvault.remote_key import Key, SignDigest, remote_key, signature_hash
from tests.connectors.signing_requests import PrivateKey, private_key

HASHES: dict[str, Any] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
KINDS = ["rsa-2048", "rsa-4096", "ec-256", "ec-384", "ec-521"]
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def signer(key: PrivateKey) -> SignDigest:
    """Key Vault's `sign`: an algorithm of RFC 7518 and a digest."""

    def sign(algorithm: str, digest: bytes) -> bytes:
        chosen = HASHES[algorithm[2:]]
        if isinstance(key, ec.EllipticCurvePrivateKey):
            size = (key.key_size + 7) // 8
            pair = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(chosen))))
            return b"".join(part.to_bytes(size) for part in pair)
        pss = padding.PSS(padding.MGF1(chosen), chosen.digest_size)
        return key.sign(digest, padding.PKCS1v15() if algorithm.startswith("RS") else pss, Prehashed(chosen))

    return sign


def remote(kind: str) -> Key:
    key = private_key(kind)
    return remote_key(key.public_key(), signer(key))


def certificate(key: Key) -> x509.Certificate:
    return (
        x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, NOW, NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, signature_hash(key.public_key()))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_it_signs_certificates_requests_crls_and_ocsp_responses(kind: str) -> None:
    key = remote(kind)
    algorithm = signature_hash(key.public_key())
    made = certificate(key)
    made.verify_directly_issued_by(made)
    assert x509.CertificateSigningRequestBuilder(NAME).sign(key, algorithm).is_signature_valid
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(NAME)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .sign(key, algorithm)
    )
    assert crl.is_signature_valid(key.public_key())
    builder = ocsp.OCSPResponseBuilder().responder_id(ocsp.OCSPResponderEncoding.HASH, made)
    builder = builder.add_response(made, made, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, NOW, None, None, None)
    assert builder.sign(key, algorithm).response_status == ocsp.OCSPResponseStatus.SUCCESSFUL


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("rsa-2048", "sha256"), ("rsa-4096", "sha384"), ("ec-256", "sha256"), ("ec-384", "sha384"), ("ec-521", "sha512")],
)
def test_the_hash_fits_the_key(kind: str, expected: str) -> None:
    assert signature_hash(private_key(kind).public_key()).name == expected


@pytest.mark.parametrize("bits", HASHES)
@pytest.mark.parametrize("salt", [padding.PSS.DIGEST_LENGTH, "length"])
def test_pss_is_verified_by_the_public_key(bits: str, salt: Any) -> None:
    key, algorithm = remote("rsa-2048"), HASHES[bits]
    chosen = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size if salt == "length" else salt)
    assert isinstance(key, rsa.RSAPrivateKey)
    key.public_key().verify(key.sign(b"data", chosen, algorithm), b"data", chosen, algorithm)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=2000), kind=st.sampled_from(["ec-256", "ec-384", "ec-521"]))
def test_any_data_is_signed_as_a_native_key_signs_it(data: bytes, kind: str) -> None:
    key = remote(kind)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    algorithm = ec.ECDSA(signature_hash(key.public_key()))
    key.public_key().verify(key.sign(data, algorithm), data, algorithm)


def test_a_digest_may_be_given_instead_of_the_data() -> None:
    key = remote("ec-256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    made = hashes.Hash(hashes.SHA256())
    made.update(b"data")
    signature = key.sign(made.finalize(), ec.ECDSA(Prehashed(hashes.SHA256())))
    key.public_key().verify(signature, b"data", ec.ECDSA(hashes.SHA256()))


def test_what_key_vault_cannot_sign_is_refused_before_it_is_asked() -> None:
    def never(_algorithm: str, _digest: bytes) -> bytes:
        raise AssertionError("asked")

    rsa_key = remote_key(private_key("rsa-2048").public_key(), never)
    ec_key = remote_key(private_key("ec-256").public_key(), never)
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert isinstance(ec_key, ec.EllipticCurvePrivateKey)
    with pytest.raises(ValueError, match="SHA-256"):
        rsa_key.sign(b"", padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(ValueError, match="SHA-256"):
        rsa_key.sign(b"", padding.PKCS1v15(), hashes.SHA3_256())
    with pytest.raises(ValueError, match="salt"):
        rsa_key.sign(b"", padding.PSS(padding.MGF1(hashes.SHA256()), 7), hashes.SHA256())
    with pytest.raises(ValueError, match="sha256"):
        ec_key.sign(b"", ec.ECDSA(hashes.SHA384()))
    with pytest.raises(ValueError, match="neither RSA nor EC"):
        remote_key(ec.generate_private_key(ec.SECP256K1()).public_key(), never)


def test_a_signature_of_a_wrong_length_is_refused() -> None:
    key = remote_key(private_key("ec-256").public_key(), lambda _algorithm, _digest: b"short")
    with pytest.raises(ValueError, match="wrong length"):
        certificate(key)


@pytest.mark.parametrize("kind", ["rsa-2048", "ec-256"])
def test_the_private_key_cannot_be_had(kind: str) -> None:
    key = remote(kind)
    with pytest.raises(NotImplementedError):
        key.private_numbers()
    with pytest.raises(NotImplementedError):
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
    assert key.key_size == private_key(kind).key_size
    assert key.public_key() == private_key(kind).public_key()
