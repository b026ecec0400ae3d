"""Names that Key Vault cannot put into a CSR: their certificate is adopted knowingly, or not at all."""

import base64
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrelay.access import ownership
from certrelay.certificates import adopt
from certrelay.certificates.adopt import Adoption
from certrelay.errors import Invalid
from certrelay.pki.alternative_names import other_names
from certrelay.pki.der import encoded
from certrelay.pki.names import names_of
from certrelay.renewal import sweep
from certrelay.storage.operation import State
from tests.pki.builders import Key, dns, ec_key, sign, subject
from tests.pki.files import extension_changed, octets, of_version, pem_block, sequence, signed_again
from tests.renewal.nonsense import broken
from tests.world import ALIAS, World


def imported(world: World, *names: x509.GeneralName) -> str:
    """The name in the vault of a certificate with these alternative names."""
    key, own = ec_key(), subject("dir.corp.example")
    sans = x509.SubjectAlternativeName([*dns("dir.corp.example"), *names])
    made = sign(key, own, key.public_key(), own, extensions=[sans], begins=world.services.now(), days=90)
    return put(world, key, made.public_bytes(Encoding.DER))


def put(world: World, key: Key, certificate: bytes) -> str:
    """The name in the vault of a certificate (DER), which others put there."""
    name, private = world.name(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = (private + pem_block("CERTIFICATE", certificate)).decode()
    policy = {"secret_props": {"contentType": "application/x-pem-file"}}
    world.vault.import_certificate(name, {"value": pem, "policy": policy})
    return name


def test_a_certificate_whose_names_cannot_be_read_is_adopted_only_by_force(world: World) -> None:
    key, own = ec_key(), subject("dir.corp.example")
    plain = sign(key, own, key.public_key(), own, extensions=[dns("a.example")], begins=world.services.now())
    party = extension_changed("2.5.29.17", lambda each: octets(sequence(encoded(0xA5, encoded(0xA1, b"\x0c\x01x")))))
    name = put(world, key, signed_again(plain, key, party))
    before = world.vault.get(name)
    with pytest.raises(Invalid, match=rf"the names of the certificate of {name} cannot be read, .* with force$"):
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert world.vault.get(name) == before, "nothing was written"
    assert adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", force=True))


@pytest.mark.parametrize("version", [2, 7])
def test_so_is_one_of_an_unknown_version(world: World, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    key, own = ec_key(), subject("dir.corp.example")
    plain = sign(key, own, key.public_key(), own, extensions=[dns("a.example")], begins=world.services.now())
    name = put(world, key, plain.public_bytes(Encoding.DER))
    odd = signed_again(plain, key, of_version(version))
    broken(world, monkeypatch, name, cer=base64.b64encode(odd).decode())
    with pytest.raises(Invalid, match=r"cannot be read, .* with force$"):
        adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert ownership._before(world.vault.get(name) or {}, from_policy=False) is None


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


@pytest.mark.parametrize(
    "names", [("my_host.corp.example", "server1"), ("xn--mnchen-3ya.example", "*.xn--p1ai.example")]
)
def test_a_certificate_of_a_windows_host_or_of_an_international_name_is_adopted_and_renewed(
    lonely_world: World, names: tuple[str, ...]
) -> None:
    """Underscores and single labels are what AD CS estates have; public trust forbids them, a rule of its own."""
    world = lonely_world
    name = imported(world, *map(x509.DNSName, names))
    adopted = adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert adopted["tags"]["certrelay-authority"] == "test-ca"
    world.clock.advance(80 * 86_400)
    sweep.sweep(world.services)
    assert world.finish(name).state is State.COMPLETED
    renewed = x509.load_der_x509_certificate(base64.b64decode((world.vault.get(name) or {})["cer"]))
    assert names_of(renewed).dns_names == ("dir.corp.example", *names)


def test_what_was_adopted_by_force_is_renewed_with_the_names_that_key_vault_can_request(lonely_world: World) -> None:
    world = lonely_world
    kerberos = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.2.2"), b"\x05\x00")
    others = (x509.DirectoryName(subject("foo")), x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), kerberos)
    name = imported(world, *others, *dns("www.corp.example"), x509.IPAddress(ip_address("192.0.2.1")))
    adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", force=True))
    world.clock.advance(80 * 86_400)
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]
    assert world.finish(name).state is State.COMPLETED
    renewed = x509.load_der_x509_certificate(base64.b64decode((world.vault.get(name) or {})["cer"]))
    assert other_names(renewed) == ()
    assert names_of(renewed).dns_names == ("dir.corp.example", "www.corp.example")
    assert names_of(renewed).ip_addresses == ("192.0.2.1",)


@pytest.mark.parametrize(
    "odd", ["a.*.corp.example", "a b.corp.example", "x.corp.example\0.evil.example", "10.0.0.1", ""]
)
def test_a_name_that_nobody_may_request_is_told_with_what_to_do_though_it_is_in_a_vault(world: World, odd: str) -> None:
    name = imported(world, x509.DNSName(odd))
    before = world.vault.get(name)
    for force in (False, True):
        with pytest.raises(Invalid, match=r"; correct the policy first$"):
            adopt.adopt(world.services, ALIAS, name, Adoption("test-ca", force=force))
    assert world.vault.get(name) == before, "nothing was written"
