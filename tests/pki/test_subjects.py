"""Subjects as people and tools write them, and as Key Vault takes them."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.errors import Invalid
from certrelay.pki.description import what_it_says
from certrelay.pki.distinguished_names import as_key_vault_takes_it, attributes
from certrelay.storage.operation import State
from sandbox.vault.names import parse_name
from tests.world import ALIAS, KEY, World

ODD = [
    "company, Inc.", "a+b", 'say "hello"', "a;b", "a<b>c", "#1 Inc.", " leading", "trailing ", "back\\slash", "a\\,b",
    "a=b", "Müller & Söhne", "\\", '"', "a\\2Cb", "#04024869", "a  b",
]  # fmt: skip


def name_with(value: str, *more: x509.NameAttribute[str]) -> x509.Name:
    """As Key Vault makes it: O before CN in the certificate, CN first in the text; the organization may have parts."""
    organization = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, value), *more])
    common = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "www.contoso.example")])
    return x509.Name([organization, common])


@pytest.mark.parametrize("value", ODD)
def test_a_subject_as_it_is_printed_is_written_as_key_vault_takes_it(value: str) -> None:
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x, y")
    for name in (name_with(value), name_with(value, unit)):
        written = as_key_vault_takes_it(name.rfc4514_string())
        assert set(parse_name(written)) == set(name)
        assert [len(one) for one in parse_name(written).rdns] == [len(one) for one in name.rdns]
        assert attributes(written) == attributes(name.rfc4514_string())
        assert as_key_vault_takes_it(written) == written


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        (r"CN=a, O=company\, Inc.", 'CN=a, O="company, Inc."'),
        (r"CN=a, O=company\2C Inc.", 'CN=a, O="company, Inc."'),
        (r"cn=a,OID.2.5.4.5=1\+2", 'CN=a, OID.2.5.4.5="1+2"'),
        ("CN=a, O=#1 Inc.", 'CN=a, O="#1 Inc."'),
        (r"CN=M\C3\BCnchen+OU=b", "CN=München + OU=b"),
        ('CN=a,O="company, Inc."', 'CN=a,O="company, Inc."'),
        ("CN=a; O=b", "CN=a; O=b"),
    ],
)
def test_escapes_become_quotes_and_what_has_none_stays(written: str, taken: str) -> None:
    assert as_key_vault_takes_it(written) == taken


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("CN=a, O=#04024869", "O in the subject is in hex"),
        (r"CN=a, O=b\0Ac", "O in the subject has unprintable characters"),
        ("CN=a, O=", "O in the subject is empty"),
        ('CN=a, O=""', "O in the subject is empty"),
        ("CN=a, BUSINESSCATEGORY=b", "BUSINESSCATEGORY is not an attribute that Key Vault knows"),
        ("CN=a, C=Germany", "C in the subject must be a country code of 2 letters"),
        ("CN=a, E=ü@contoso.example", "E in the subject may have ASCII characters only"),
        ("CN=a, O=" + "b" * 201, "O in the subject has more than 200 characters"),
    ],
)
def test_what_key_vault_cannot_put_into_a_certificate_is_refused_at_once(wrong: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        as_key_vault_takes_it(wrong)
    assert [fault.pointer for fault in refused.value.faults] == ["/subject"]


@pytest.mark.slow
def test_what_get_prints_can_be_created_again_and_is_the_same(world: World) -> None:
    for number, value in enumerate((*ODD[:6], "both , and \\")):
        subject = name_with(value).rfc4514_string()
        for again in range(2):
            name = world.name(f"-{number}-{again}")
            spec = CertificateSpec(authority="test-ca", subject=subject, policy=KEY)
            create.create(world.services, ALIAS, name, spec, requested_by="test")
            ended = world.finish(name)
            assert ended.state is State.COMPLETED, ended.failure
            assert what_it_says(ended.chain[0])["subject"] == subject
            subject = what_it_says(ended.chain[0])["subject"]
