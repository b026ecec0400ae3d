"""Two writings of one name are one name; what is no name is named, with its place."""

import ipaddress
import time
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certrelay.errors import Invalid
from certrelay.pki.alternative_names import other_names
from certrelay.pki.distinguished_names import attributes
from certrelay.pki.names import common_name, common_names, dns_name, names_of, subject_names
from certrelay.pki.subject import SubjectNames
from tests.pki.builders import Authority, csr, ec_key, subject

ROOT = Authority.root()
KEY = ec_key()
LABELS = st.from_regex(r"[a-zA-Z]([a-zA-Z0-9]{0,10}[a-zA-Z])?", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


def faults(**names: Any) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        subject_names(names.pop("subject", None), **names)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("WWW.Contoso.Example", "www.contoso.example"),
        ("www.contoso.example.", "www.contoso.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("www。contoso。example", "www.contoso.example"),
        ("*.Contoso.example", "*.contoso.example"),
        ("*.MÜNCHEN.example.", "*.xn--mnchen-3ya.example"),
        ("localhost", "localhost"),
        ("My_Host.corp.example", "my_host.corp.example"),
        ("xn--n3h.example", "xn--n3h.example"),
        ("r3---sn.example", "r3---sn.example"),
    ],
)
def test_a_dns_name_is_brought_to_a_labels_in_lower_case(written: str, normal: str) -> None:
    assert subject_names(None, [written]).dns_names == (normal,)


@pytest.mark.parametrize(
    "wrong",
    ["", ".", "a..b", ".a", "-a.example", "a-.example", "a b.example", "*", "*.com", "a.*.example",
     "w*.contoso.example", "*.*.example", "192.0.2.1", "2001:db8::1", "１９２.0.2.1", "1.2.3", "xn--a.example",  # noqa: RUF001
     "a" * 64 + ".example", ".".join(["a" * 60] * 5), "☃.example", "a\n.example", "a\x00.example", "http://a.example",
     "a.example:443", "\ud800.example"],
)  # fmt: skip
def test_what_is_no_dns_name_is_refused(wrong: str) -> None:
    [(pointer, detail)] = faults(dns_names=["fine.example", wrong])
    assert pointer == "/dns_names/1"
    assert " " in detail


def test_duplicates_are_dropped_and_the_order_kept() -> None:
    assert subject_names(None, ["b.example", "A.example", "a.example.", "B.example"]).dns_names == (
        "b.example",
        "a.example",
    )


def test_every_other_kind_has_a_normal_form() -> None:
    names = subject_names(
        "CN=www.Contoso.example",
        email_addresses=["Ada.Lovelace@Contoso.EXAMPLE", "ada@münchen.example"],
        ip_addresses=["192.0.2.1", "2001:0DB8::0:1"],
        uris=["HTTPS://user@Contoso.example:8443/Path?q=A", "urn:uuid:ABC", "spiffe://Trust.example/Work"],
        user_principal_names=["Ada@Contoso.Example", "Zoë@contoso.example"],
    )
    assert names == SubjectNames(
        "www.contoso.example",
        (),
        ("Ada.Lovelace@contoso.example", "ada@xn--mnchen-3ya.example"),
        ("192.0.2.1", "2001:db8::1"),
        ("https://user@contoso.example:8443/Path?q=A", "urn:uuid:ABC", "spiffe://trust.example/Work"),
        ("Ada@contoso.example", "Zoë@contoso.example"),
    )


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("email_addresses", "contoso.example"),
        ("email_addresses", "@contoso.example"),
        ("email_addresses", "a b@contoso.example"),
        ("email_addresses", "zoë@contoso.example"),
        ("email_addresses", "a@192.0.2.1"),
        ("email_addresses", "a@*.contoso.example"),
        ("email_addresses", "a" * 65 + "@contoso.example"),
        ("ip_addresses", "contoso.example"),
        ("ip_addresses", "192.0.2.0/24"),
        ("ip_addresses", "192.0.2.256"),
        ("ip_addresses", "192.000.002.001"),
        ("ip_addresses", "fe80::1%eth0"),
        ("uris", "www.contoso.example/path"),
        ("uris", "//contoso.example/path"),
        ("uris", "https://[::1/"),
        ("uris", "https://contoso.example/a b"),
        ("uris", "https://münchen.example/"),
        ("uris", "https:"),
        ("uris", "https://contoso.example/" + "a" * 2048),
        ("user_principal_names", "ada"),
        ("user_principal_names", "@contoso.example"),
        ("user_principal_names", "ada@"),
        ("user_principal_names", "ada\n@contoso.example"),
    ],
)
def test_what_is_no_name_of_its_kind_is_refused(kind: str, wrong: str) -> None:
    [(pointer, _)] = faults(**{kind: [wrong]})
    assert pointer == f"/{kind}/0"


def test_every_wrong_name_is_a_fault_of_its_own() -> None:
    found = faults(subject="nonsense", dns_names=["a..b", "fine.example", "*"], ip_addresses=["x"], uris=["y"])
    assert [pointer for pointer, _ in found] == [
        "/subject",
        "/dns_names/0",
        "/dns_names/2",
        "/ip_addresses/0",
        "/uris/0",
    ]


def test_a_long_or_unprintable_name_does_not_spoil_the_message() -> None:
    [(_, detail)] = faults(dns_names=["a\n" * 4000])
    assert len(detail) < 300
    assert "\n" not in detail


@given(HOSTS)
def test_case_and_trailing_dot_never_matter(host: str) -> None:
    assert dns_name(host) == dns_name(host.upper()) == dns_name(f"{host}.") == host.lower()


@pytest.mark.parametrize("name", ["a.example..", "..", "a.example。。", "bücher.example..", "*.a.example..", ".", ""])
def test_one_trailing_dot_is_the_root_and_another_one_is_an_empty_label(name: str) -> None:
    with pytest.raises(ValueError, match="is not a DNS name"):
        dns_name(name)


@given(st.text(max_size=80))
def test_whatever_is_given_is_normal_already_or_refused(name: str) -> None:
    try:
        normal = subject_names(f"CN={name}", [name], [name], [name], [name], [name])
    except Invalid as error:
        assert error.faults
        return
    assert subject_names(None, normal.dns_names).dns_names == normal.dns_names


@given(st.text(max_size=30))
def test_normalising_twice_is_normalising_once(name: str) -> None:
    try:
        once = dns_name(name)
    except ValueError:
        return
    assert once.isascii()
    assert dns_name(once) == once


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CN=www.contoso.example, O=Contoso, C=DE", "www.contoso.example"),
        ("O=Contoso,CN=www.Contoso.example.", "www.contoso.example"),
        ('O="Contoso, Inc.", CN="www.contoso.example"', "www.contoso.example"),
        (r"O=Contoso\, Inc., CN=www.contoso.example", "www.contoso.example"),
        ("cn = www.contoso.example ; o = Contoso", "www.contoso.example"),
        ("2.5.4.3=www.contoso.example", "www.contoso.example"),
        ("OID.2.5.4.3=www.contoso.example", "www.contoso.example"),
        (r"CN=M\C3\BCnchen.example", "xn--mnchen-3ya.example"),
        ("CN=*.Contoso.example", "*.contoso.example"),
        ("CN=2001:DB8::0:1", "2001:db8::1"),
        ("CN=Contoso Root CA", "Contoso Root CA"),
        ("CN=Ada Lovelace+E=ada@contoso.example", "Ada Lovelace"),
        ('CN="say ""hello"""', 'say "hello"'),
        ("O=Contoso", None),
    ],
)
def test_the_common_name_is_found_in_a_subject(written: str, name: str | None) -> None:
    assert common_name(written) == name


@pytest.mark.parametrize(
    "wrong",
    ["", "www.contoso.example", "CN", "CN=a,", "CN=a,,O=b", "CN=", "CN= ", "CN=a, CN=b", 'CN="a', "=a", "CN=a;b",
     "CN=w*.contoso.example", "CN=a\x00b", "CN=" + "a" * 65, "CN=" + "a" * 3000, "CN=a\\"],
)  # fmt: skip
def test_what_is_no_subject_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid) as caught:
        common_name(wrong)
    assert [fault.pointer for fault in caught.value.faults] == ["/subject"]


@pytest.mark.parametrize("hostile", ["CN=" + " " * 1990, "CN=" + "\\41" * 600 + '"', 'CN="' + '""' * 990, "A" * 1999])
def test_no_subject_takes_long(hostile: str) -> None:
    started = time.process_time()
    with pytest.raises(Invalid):
        common_name(hostile)
    assert time.process_time() - started < 20


def test_attributes_come_in_the_order_written() -> None:
    assert attributes("CN=a, OU=b+L=c, 1.2.3=d") == [("CN", "a"), ("OU", "b"), ("L", "c"), ("1.2.3", "d")]


def test_the_names_of_a_certificate_and_of_a_request_are_read_back() -> None:
    upn = b"Ada@Contoso.example"
    sans = x509.SubjectAlternativeName(
        [
            x509.DNSName("WWW.contoso.example"),
            x509.DNSName("www.contoso.example"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
            x509.RFC822Name("ops@Contoso.example"),
            x509.UniformResourceIdentifier("urn:x:y"),
            x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), bytes([12, len(upn)]) + upn),
        ]
    )
    expected = SubjectNames(
        "www.contoso.example",
        ("www.contoso.example",),
        ("ops@contoso.example",),
        ("192.0.2.1",),
        ("urn:x:y",),
        ("Ada@contoso.example",),
    )
    name = subject("www.Contoso.example", organization_name="Contoso")
    assert names_of(ROOT.sign(KEY.public_key(), name, extensions=[sans])) == expected
    assert names_of(x509.load_der_x509_csr(csr(KEY, name, [sans]))) == expected


def test_malformed_names_in_a_certificate_stay_as_they_are() -> None:
    sans = x509.SubjectAlternativeName([x509.DNSName("192.0.2.1"), x509.DNSName("a_b.example")])
    assert names_of(ROOT.sign(KEY.public_key(), subject(), extensions=[sans])).dns_names == ("192.0.2.1", "a_b.example")


def test_kinds_of_names_that_cannot_be_asked_for_are_told() -> None:
    sans = x509.SubjectAlternativeName(
        [
            x509.DirectoryName(subject("a")),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
        ]
    )
    certificate = ROOT.sign(KEY.public_key(), subject(), extensions=[sans])
    assert names_of(certificate) == SubjectNames()
    assert other_names(certificate) == ("directoryName CN=a", "registeredID 1.2.3", "otherName 1.2.3.4")


@pytest.mark.parametrize("value", [b"\x05\x00", b"\x0c\x02\xff\xfe", b"\x16\x01a"])
def test_a_user_principal_name_of_another_make_equals_no_asked_one(value: bytes) -> None:
    sans = x509.SubjectAlternativeName([x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), value)])
    certificate = ROOT.sign(KEY.public_key(), subject(), extensions=[sans])
    assert names_of(certificate).user_principal_names == (value.hex(),)


def test_a_long_user_principal_name_is_read() -> None:
    name = b"a" * 200 + b"@contoso.example"
    value = b"\x0c\x81" + bytes([len(name)]) + name
    sans = x509.SubjectAlternativeName([x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), value)])
    certificate = ROOT.sign(KEY.public_key(), subject(), extensions=[sans])
    assert names_of(certificate).user_principal_names == (name.decode(),)


def test_several_common_names_are_all_told() -> None:
    double = x509.Name([*subject("A.example"), *subject("B.example")])
    assert common_names(ROOT.sign(KEY.public_key(), double)) == ("a.example", "b.example")
