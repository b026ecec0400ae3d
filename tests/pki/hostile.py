"""Files and answers that are made to cost as much as they can."""

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.pki.subject import SubjectNames
from certrelay.pki.verify import Expected
from tests.pki import files
from tests.pki.builders import Authority, csr, der, dns, ec_key, pem, sign, subject

KEY = ec_key()
ROOT = Authority.root()
SUBJECT = subject("www.contoso.example")
EXPECTED = Expected(SubjectNames("www.contoso.example", ("www.contoso.example",)), "EC", None, "P-256")
CSR = csr(KEY, SUBJECT, [dns("www.contoso.example")])
PKCS8 = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def made(*extensions: x509.ExtensionType, signer: Authority = ROOT) -> x509.Certificate:
    return signer.sign(KEY.public_key(), SUBJECT, extensions=extensions)


def constrained(*trees: x509.GeneralName) -> Authority:
    return ROOT.intermediate(critical=[x509.NameConstraints(list(trees), None)])


def many_names() -> bytes:
    """x509-limbo's nc-dos: 4,000 names under 4,000 constraints."""
    authority = constrained(*(x509.DNSName(f"x{number}.example") for number in range(4000)))
    return pem(
        made(dns(*(f"a{number}.contoso.example" for number in range(4000))), signer=authority), authority.certificate
    )


def slow_names(kind: Callable[[int], x509.GeneralName], tree: Callable[[int], x509.GeneralName]) -> bytes:
    authority = constrained(*map(tree, range(3000)))
    leaf = made(x509.SubjectAlternativeName([kind(number) for number in range(999)]), signer=authority)
    return pem(leaf, authority.certificate)


def many_of_one_name() -> bytes:
    slow = ec_key(ec.SECP521R1())
    name = ROOT.certificate.subject
    return pem(made(), *(sign(slow, name, slow.public_key(), name) for _ in range(98)))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "names and constraints": many_names,
    "directory names and constraints": lambda: slow_names(
        lambda number: x509.DirectoryName(subject(f"a{number}")),
        lambda number: x509.DirectoryName(subject(f"b{number}")),
    ),
    "URIs and constraints": lambda: slow_names(
        lambda number: x509.UniformResourceIdentifier(f"http://a{number}.example/"),
        lambda number: x509.UniformResourceIdentifier(f"b{number}.example"),
    ),
    "names": lambda: der(made(dns(*(f"a{number}.contoso.example" for number in range(30_000))))),
    "a long label": lambda: der(made(dns("xn--" + "9a" * 400_000))),
    "a long subject": lambda: der(
        ROOT.sign(
            KEY.public_key(), x509.Name([attribute for number in range(8000) for attribute in subject(f"a{number}")])
        )
    ),
    "issuers of one name": many_of_one_name,
    "PEM blocks": lambda: b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n" * 17_000,
    "PEM labels": lambda: b"".join(b"-----BEGIN A%d-----\nMAA=\n-----END A%d-----\n" % (n, n) for n in range(20_000)),
    "elements": lambda: files.sequence(*[b"\x05\x00"] * 500_000),
    "indefinite lengths": lambda: b"\x30\x80" * 500_000,
    "PKCS#7": lambda: files.sequence(
        files.identifier("1.2.840.113549.1.7.2"),
        b"\xa0\x80\x30\x80" + files.integer(1) + b"\x31\x00" + files.sequence() + b"\xa0\x80" + b"\x30\x00" * 400_000,
    ),
}


def rsa_file(*numbers: int) -> bytes:
    """n, e, d, p, q, d mod p - 1, d mod q - 1, and the inverse of q modulo p, in PKCS#1 (RFC 8017, appendix A.1.2)."""
    return files.pem_block("RSA PRIVATE KEY", files.sequence(*map(files.integer, (0, *numbers))))


def rsa_numbers(p: int, q: int) -> list[int]:
    d = pow(65537, -1, (p - 1) * (q - 1))
    return [p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)]


def hidden_iterations() -> bytes:
    """In 852 bytes: the key derivation is in the encrypted safe."""
    inner = files.encrypted_key_bag(KEY, "x", 10, claimed=5_000_000)
    return files.pfx(files.encrypted_safe("x", inner, files.certificate_bag(der(made())), iterations=10))


def scrypt() -> bytes:
    kdf = files.sequence(
        files.identifier("1.3.6.1.4.1.11591.4.11"),
        files.sequence(files.octets(bytes(8)), files.integer(2**30), files.integer(8), files.integer(1)),
    )
    cipher = files.sequence(files.identifier("2.16.840.1.101.3.4.1.42"), files.octets(bytes(16)))
    algorithm = files.sequence(files.identifier("1.2.840.113549.1.5.13"), files.sequence(kdf, cipher))
    return files.pfx(files.safe(files.bag(2, files.sequence(algorithm, files.octets(bytes(160))))))
