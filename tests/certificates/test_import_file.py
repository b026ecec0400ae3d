"""Import of a certificate with its key (checks 34 and 35)."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates
from cryptography.x509.oid import NameOID

from certrelay.certificates import adopt, create, import_file
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.create import CertificateSpec
from certrelay.certificates.import_file import ImportCommand
from certrelay.errors import Conflict, Invalid
from certrelay.operations import reconcile
from certrelay.pki.names import names_of
from certrelay.renewal import sweep
from certrelay.storage.operation import State
from tests.pki.builders import dns, ec_key, pem, sign, subject
from tests.world import ALIAS, Killed, Life, World

PASSWORD = "canary-a41c"
PROTECTION = (  # in few rounds
    PrivateFormat.PKCS12.encryption_builder()
    .kdf_rounds(100)
    .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
    .build(PASSWORD.encode())
)


def self_signed(key: ec.EllipticCurvePrivateKey, days: int = 90) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imported.contoso.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1000)).not_valid_after(now + timedelta(days=days))
    return builder.sign(key, hashes.SHA256())


def mismatched() -> str:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (text + self_signed(other, 3650).public_bytes(Encoding.PEM)).decode()


def pfx(days: int = 3650, with_key: bool = True) -> bytes:
    signer = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(signer, days)
    inside = signer if with_key else None
    others = None if with_key else [certificate]
    return serialize_key_and_certificates(b"n", inside, certificate if with_key else None, others, PROTECTION)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def imported(world: World, name: str, given: ImportCommand) -> import_file.Imported:
    return import_file.import_certificate(world.services, ALIAS, name, given, requested_by="test")


def test_a_pfx_is_imported_and_the_same_file_again_makes_no_new_version(world: World) -> None:
    name = world.name()
    given = ImportCommand(encoded(pfx()), PASSWORD, tags={"team": "web"})
    first = imported(world, name, given)
    assert first.is_new
    assert not imported(world, name, given).is_new
    assert len(world.versions(name)) == 1
    ended = world.services.storage.ended(ALIAS, name)
    assert [(one.kind, one.state) for one in ended] == [("import", State.COMPLETED)]
    assert world.services.storage.open(ALIAS, name) is None


def test_a_pem_text_is_imported(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    text += self_signed(key, 3650).public_bytes(Encoding.PEM)
    content = {"secret_props": {"contentType": "application/x-pem-file"}}
    found = imported(world, world.name(), ImportCommand(text.decode(), policy=content))
    assert found.is_new
    assert found.changes, "a SEC1 key is not what Key Vault takes"


@pytest.mark.parametrize(
    ("value", "password"),
    [
        ("%%%", None),
        (encoded(b"not a certificate at all"), None),
        (encoded(pfx()), "wrong"),
        (encoded(pfx()), None),
        (encoded(pfx(with_key=False)), PASSWORD),
        (encoded(pfx(days=-1)), PASSWORD),
        (mismatched(), None),
        (encoded(pfx()[:200]), PASSWORD),
        (encoded(b"\x30" * 1_000_000), PASSWORD),
    ],
    ids=["base64", "garbage", "wrong password", "no password", "no key", "expired", "other key", "cut", "too large"],
)
def test_a_bad_file_is_refused_in_a_sentence_before_any_call_to_key_vault(
    world: World, value: str, password: str | None
) -> None:
    untouched = replace(world.services, vault=lambda alias: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(Invalid) as refused:
        import_file.import_certificate(
            untouched, ALIAS, world.name(), ImportCommand(value, password), requested_by="test"
        )
    assert refused.value.faults[0].pointer in ("/value", "/pwd")
    assert PASSWORD not in str(refused.value)


def with_names(world: World, *names: str) -> str:
    """A key and its certificate in PEM, for these DNS names; valid by the world's clock, which other tests move."""
    key, own = ec_key(), subject("imported.contoso.example")
    made = sign(key, own, key.public_key(), own, extensions=[dns(*names)], begins=world.services.now(), days=9)
    return (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem(made)).decode()


def test_a_certificate_with_a_name_that_hides_another_is_refused(world: World) -> None:
    """CVE-2009-2408."""
    name = world.name()
    with pytest.raises(
        Invalid, match=r"has names with unprintable characters: 'www\.contoso\.example\\x00\.evil'; have"
    ):
        imported(world, name, ImportCommand(with_names(world, "www.contoso.example\0.evil")))
    assert world.vault.get(name) is None


def test_a_refusal_by_key_vault_says_which_certificate_it_is_about(world: World) -> None:
    name, hosts = world.name(), [f"host-{number}.of.many.contoso.example" for number in range(2000)]
    with pytest.raises(Invalid) as refused:
        imported(world, name, ImportCommand(with_names(world, *hosts)))
    [fault] = refused.value.faults
    assert fault.pointer == "/value"
    assert fault.detail.startswith(
        "Key Vault refused the request: The size of the X.509 certificate is too long; 'CN=imp"
    )
    assert fault.detail.endswith("have it issued again without what Key Vault refuses")
    assert world.vault.get(name) is None


def test_a_name_with_an_operation_in_progress_is_busy(world: World) -> None:
    name = world.name()
    world.ca.wait = 5
    asked = CertificateSpec(authority="test-ca", dns_names=("a.contoso.example",), policy={"key_props": {"kty": "EC"}})
    create.create(world.services, ALIAS, name, asked, requested_by="test")
    with pytest.raises(Conflict):
        imported(world, name, ImportCommand(encoded(pfx()), PASSWORD))
    world.finish(name)
    with pytest.raises(Conflict) as refused:
        imported(world, name, ImportCommand(encoded(pfx()), PASSWORD))
    assert refused.value.code == "Managed"
    assert imported(world, name, ImportCommand(encoded(pfx()), PASSWORD, force=True)).is_new


@pytest.mark.slow
def test_an_import_that_dies_leaves_a_name_that_frees_itself(world: World) -> None:
    given = ImportCommand(encoded(pfx()), PASSWORD)
    whole = Life()
    import_file.import_certificate(world.mortal(whole), ALIAS, world.name(), given, requested_by="test")
    last = len(whole.effects) - 1
    before = [(number, "before") for number in range(last + 1)]  # a death after one is one before the next
    for number, moment in (*before, (last, "after")):
        name = world.name(f"-{number}-{moment}")
        with pytest.raises(Killed):
            import_file.import_certificate(
                world.mortal(Life({(number, moment)})), ALIAS, name, given, requested_by="test"
            )
        world.outlive_lease()
        reconcile.advance(world.services, ALIAS, name)
        imported(world, name, given)
        assert len(world.versions(name)) == 1
        assert world.services.storage.open(ALIAS, name) is None


def test_the_key_and_its_password_are_in_no_row_and_no_representation(world: World) -> None:
    """Check 45."""
    name = world.name()
    data = pfx()
    given = ImportCommand(encoded(data), PASSWORD)
    imported(world, name, given)
    written = repr(world.services.storage.ended(ALIAS, name)) + repr(given)
    for canary in (PASSWORD, encoded(data)[:40], "PRIVATE KEY"):
        assert canary not in written


@pytest.mark.parametrize(
    ("policy", "pointer"),
    [
        ({"key_props": {"kty": "RSA"}}, "/policy/key_props/kty"),
        ({"key_props": {"crv": "P-384"}}, "/policy/key_props/crv"),
        ({"x509_props": {"subject": "CN=other.contoso.example"}}, "/policy/x509_props/subject"),
        ({"x509_props": {"validity_months": -5}}, "/policy/x509_props/validity_months"),
        ({"x509_props": {"validity_months": 10**399}}, "/policy/x509_props/validity_months"),
    ],
)
def test_a_policy_that_contradicts_the_file_is_refused(world: World, policy: dict[str, object], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        imported(world, world.name(), ImportCommand(encoded(pfx()), PASSWORD, policy=policy))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_a_policy_that_fits_and_url_safe_base64_are_taken(world: World) -> None:
    policy = {"key_props": {"kty": "EC", "crv": "P-256"}, "x509_props": {"subject": "CN=imported.contoso.example"}}
    value = base64.urlsafe_b64encode(pfx()).decode()
    assert imported(world, world.name(), ImportCommand(value, PASSWORD, policy=policy)).is_new


def test_an_imported_certificate_is_watched_and_once_adopted_renewed_with_all_its_names(lonely_world: World) -> None:
    world, name, now = lonely_world, lonely_world.name(), lonely_world.services.now()
    key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name.from_rfc4514_string("CN=imported.contoso.example,O=Contoso\\, Inc.,C=US")
    alternatives = x509.SubjectAlternativeName(
        [x509.DNSName("imported.contoso.example"), x509.DNSName("*.contoso.example"),
         x509.IPAddress(ip_address("10.0.0.1")), x509.UniformResourceIdentifier("spiffe://contoso/web")]
    )  # fmt: skip
    ends, serial = now + timedelta(days=90), x509.random_serial_number()
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), serial, now, ends)
    builder = builder.add_extension(alternatives, critical=False)
    file = serialize_key_and_certificates(b"n", key, builder.sign(key, hashes.SHA256()), None, PROTECTION)
    imported(world, name, ImportCommand(encoded(file), PASSWORD, tags={"team": "web"}))
    before = world.vault.get(name)
    assert before is not None
    world.clock.advance(82 * 86_400)
    assert sweep.sweep(world.services).started == []
    assert world.services.storage.renewals.record(ALIAS, name).alerted.startswith("expiring:")
    adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert sweep.sweep(world.services).started == [f"{ALIAS}/{name}"]
    assert world.finish(name).state is State.COMPLETED
    after = world.vault.get(name)
    assert after is not None
    old, new = (x509.load_der_x509_certificate(base64.b64decode(one["cer"])) for one in (before, after))
    assert (names_of(new), new.subject) == (names_of(old), old.subject)
    kept = ("key_props", "secret_props", "x509_props")
    assert [after["policy"][part] for part in kept] == [before["policy"][part] for part in kept]
    assert (after["tags"]["team"], after["tags"]["certrelay-validity-days"]) == ("web", "90")
