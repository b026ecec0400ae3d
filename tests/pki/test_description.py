"""What is in a vault can be looked at, whatever it is like."""

from certrelay.pki.description import what_it_says
from tests.pki import files
from tests.pki.answers import CHAIN, ISSUING, LEAF
from tests.pki.builders import der

NAMES = {"dns_names": ["www.contoso.example"], "email_addresses": [], "ip_addresses": [], "uris": []}


def test_a_certificate_is_described_in_full() -> None:
    found = what_it_says(der(LEAF))
    assert found["subject"] == "CN=www.contoso.example"
    assert found["issuer"] == ISSUING.certificate.subject.rfc4514_string()
    assert found["serial_number"] == f"{LEAF.serial_number:x}"
    assert found["not_before"] < found["not_after"]
    assert (found["key_type"], found["key_size"]) == ("EC", 256)
    assert {kind: found[kind] for kind in NAMES} == NAMES


def test_a_leaf_with_a_path_length_is_described_in_full() -> None:
    found = what_it_says(files.with_path_length(LEAF, ISSUING.key))
    assert found.keys() == what_it_says(der(LEAF)).keys()
    assert {kind: found[kind] for kind in NAMES} == NAMES


def test_what_cannot_be_read_is_left_out() -> None:
    malformed = files.extension_changed("2.5.29.17", lambda each: files.octets(b"\x05\x00"))
    found = what_it_says(files.signed_again(LEAF, ISSUING.key, malformed))
    assert found["subject"] == "CN=www.contoso.example"
    assert "dns_names" not in found
    for unreadable in (files.critical_false(LEAF, ISSUING.key), b"", b"\x30\x80", der(CHAIN[1])[:90]):
        assert what_it_says(unreadable).keys() == {"thumbprint_sha256"}
