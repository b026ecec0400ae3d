"""EC keys as GnuTLS, old versions of Java and Bouncy Castle wrote them: their number is longer or shorter than RFC 5915
has it. OpenSSL, GnuTLS and Java read them all."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.errors import Invalid
from certrelay.pki.der import encoded, inside
from certrelay.pki.key_bundles import read_bundle
from tests.pki import files
from tests.pki.builders import NOW, Authority, der, pem, subject

CURVES = [(ec.SECP256R1(), 32), (ec.SECP384R1(), 48), (ec.SECP521R1(), 66)]
IDS = ["P-256", "P-384", "P-521"]
ROOT = Authority.root()


def small_key(curve: ec.EllipticCurve, size: int) -> ec.EllipticCurvePrivateKey:
    """Whose number has 16 leading zeros."""
    return ec.derive_private_key(int.from_bytes(b"\x81" * (size - 2)), curve)


def sec1(key: ec.EllipticCurvePrivateKey, scalar: bytes) -> bytes:
    whole = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    version, _, *rest = inside(whole)
    return files.sequence(version.whole, files.octets(scalar), *(part.whole for part in rest))


def pkcs8(key: ec.EllipticCurvePrivateKey, scalar: bytes) -> bytes:
    whole = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    version, algorithm, private = inside(whole)
    _, _, *rest = inside(private.content)
    inner = files.sequence(files.integer(1), files.octets(scalar), *(part.whole for part in rest))
    attributes = encoded(0xA0, b"")
    return files.sequence(version.whole, algorithm.whole, files.octets(inner), attributes)


def every_form(key: ec.EllipticCurvePrivateKey, scalar: bytes) -> dict[str, bytes]:
    leaf = ROOT.sign(key.public_key(), subject("www.contoso.example"))
    certificate, der_form = pem(leaf), der(leaf)
    algorithm, ciphertext = files.pbes2(pkcs8(key, scalar), "x", 2048)
    encrypted = files.sequence(algorithm, files.octets(ciphertext))
    return {
        "SEC1": files.pem_block("EC PRIVATE KEY", sec1(key, scalar)) + certificate,
        "PKCS#8": files.pem_block("PRIVATE KEY", pkcs8(key, scalar)) + certificate,
        "encrypted": files.pem_block("ENCRYPTED PRIVATE KEY", encrypted) + certificate,
        "DER": pkcs8(key, scalar) + der_form,
        "PFX": files.pfx(files.safe(files.bag(1, pkcs8(key, scalar)), files.certificate_bag(der_form))),
    }


@pytest.mark.parametrize(("curve", "size"), CURVES, ids=IDS)
@pytest.mark.parametrize("form", ["SEC1", "PKCS#8", "encrypted", "DER", "PFX"])
def test_a_number_with_too_many_or_too_few_zeros_is_read(form: str, curve: ec.EllipticCurve, size: int) -> None:
    key = small_key(curve, size)
    number = key.private_numbers().private_value
    for length in (size - 2, size - 1, size, size + 1, size + 2):
        data = every_form(key, number.to_bytes(length))[form]
        assert read_bundle(data, "x", NOW).private_key.public_key() == key.public_key()


@pytest.mark.parametrize(("curve", "size"), CURVES, ids=IDS)
def test_a_number_that_is_not_the_keys_is_damaged(curve: ec.EllipticCurve, size: int) -> None:
    key = small_key(curve, size)
    for scalar in (b"", b"\0", b"\x01", b"\xff" * size, b"\x01" + bytes(size), b"\x81" * (size + 1), bytes(5000)):
        for form in ("SEC1", "PKCS#8", "PFX"):
            with pytest.raises(Invalid, match=r"the private key (cannot be read: it is damaged|is too large)"):
                read_bundle(every_form(key, scalar)[form], "x", NOW)
