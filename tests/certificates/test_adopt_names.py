"""Names that Key Vault cannot put into a CSR: their certificate is adopted knowingly, or not at all."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.certificates import adopt, import_file
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.import_file import ImportCommand
from certrelay.errors import Invalid
from tests.pki.builders import dns, ec_key, sign, subject
from tests.world import ALIAS, World


def imported(world: World, *names: x509.GeneralName) -> str:
    """The name in the vault of a certificate with these alternative names."""
    name, key = world.name(), ec_key()
    own = subject("dir.corp.example")
    sans = x509.SubjectAlternativeName([*dns("dir.corp.example"), *names])
    made = sign(key, own, key.public_key(), own, extensions=[sans], begins=world.services.now(), days=90)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    command = ImportCommand(base64.b64encode(pem).decode())
    import_file.import_certificate(world.services, ALIAS, name, command, requested_by="test")
    return name


def test_a_certificate_whose_renewal_would_lack_a_name_is_adopted_only_by_force(world: World) -> None:
    name = imported(world, x509.DirectoryName(subject("foo")), x509.RegisteredID(x509.ObjectIdentifier("1.2.3")))
    before = world.vault.get(name)
    with pytest.raises(
        Invalid, match=r"would lack .*: directoryName CN=foo, registeredID 1\.2\.3; adopt it with force"
    ):
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert world.vault.get(name) == before, "nothing was written"
    adopted = adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", force=True))
    assert adopted["tags"]["certrelay-authority"] == "test-ca"


def test_a_certificate_of_a_windows_host_is_adopted(world: World) -> None:
    """Underscores and single labels are what AD CS estates have; public trust forbids them, a rule of its own."""
    name = imported(world, x509.DNSName("my_host.corp.example"), x509.DNSName("server1"))
    adopted = adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert adopted["tags"]["certrelay-authority"] == "test-ca"
