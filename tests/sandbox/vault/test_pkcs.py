"""PKCS#12, PEM and chains as values, and the store that keeps them."""

import base64
import itertools
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12
from hypothesis import given
from hypothesis import strategies as st

from sandbox.vault.errors import KeyVaultError
from sandbox.vault.pfx import write_pfx
from sandbox.vault.pfx_order import certificate_order, too_many_iterations
from sandbox.vault.pkcs import decode_base64, order_chain, read_pem, read_pfx, read_x5c, thumbprint, write_pem
from sandbox.vault.store import MemoryStore, SqliteStore
from tests.sandbox.vault.support import Authority, certify, openssl

KEY = ec.generate_private_key(ec.SECP256R1())
PKCS8 = KEY.private_bytes(Encoding.DER, serialization.PrivateFormat.PKCS8, NoEncryption())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> x509.Certificate:
    return certify("leaf", KEY.public_key(), "intermediate", authority.key)


# -- base64 ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=50))
def test_every_spelling_of_base64_is_read(data: bytes) -> None:
    standard, safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    for text in (standard, safe, standard.rstrip("="), safe.rstrip("="), "\r\n".join(standard), f" {standard}\n"):
        assert decode_base64(text) == data


@pytest.mark.parametrize("text", ["a", "*", "ab=c", "äöü", "ab\x00c"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_base64(text)


# -- chains ---------------------------------------------------------------------------------------------------------


def test_a_chain_is_put_in_order_whatever_order_it_came_in(authority: Authority, leaf: x509.Certificate) -> None:
    chain = [leaf, authority.intermediate, authority.root]
    for given_order in itertools.permutations(chain):
        assert order_chain(leaf, given_order) == chain


def test_strangers_come_last_as_given(authority: Authority, leaf: x509.Certificate) -> None:
    strangers = [certify(name, KEY.public_key(), "elsewhere", KEY) for name in ("one", "two")]
    ordered = order_chain(leaf, [strangers[0], authority.root, leaf, strangers[1], authority.intermediate])
    assert ordered == [leaf, authority.intermediate, authority.root, *strangers]


def test_a_self_signed_leaf_ends_its_chain(authority: Authority) -> None:
    own = certify("own", KEY.public_key(), "own", KEY)
    twin = certify("own", KEY.public_key(), "own", KEY)
    assert order_chain(own, [twin, own]) == [own, twin]


def test_certificates_that_sign_each_other_end_too() -> None:
    one, two = certify("one", KEY.public_key(), "two", KEY), certify("two", KEY.public_key(), "one", KEY)
    assert order_chain(one, [one, two]) == [one, two]


# -- PKCS#12 and PEM ------------------------------------------------------------------------------------------------


def test_a_pfx_keeps_any_order_and_others_read_it(authority: Authority, leaf: x509.Certificate, tmp_path: Path) -> None:
    chain = [der(leaf), der(authority.intermediate), der(authority.root)]
    for order in itertools.permutations(chain):
        data = write_pfx(PKCS8, chain[0], order)
        assert certificate_order(data, "") == list(order)
        key, found, others = pkcs12.load_key_and_certificates(data, None)
        assert key is not None
        assert key.public_key() == KEY.public_key()
        assert found == leaf
        assert {der(other) for other in others} == set(chain[1:])
        (tmp_path / "a.pfx").write_bytes(data)
        shown = openssl("pkcs12", "-in", str(tmp_path / "a.pfx"), "-passin", "pass:", "-nokeys", "-legacy")
        blocks = x509.load_pem_x509_certificates(shown.encode())
        assert [der(block) for block in blocks] == list(order)


def test_a_pfx_that_we_wrote_we_read(authority: Authority, leaf: x509.Certificate) -> None:
    order = (der(authority.root), der(leaf))
    key, certificates = read_pfx(write_pfx(PKCS8, der(leaf), order), None)
    assert key.public_key() == KEY.public_key()
    assert tuple(der(item) for item in certificates) == order


@pytest.mark.parametrize("password", ["", "secret", "päßwörd", "x" * 200])
def test_a_pfx_of_the_library_is_read_with_its_password(leaf: x509.Certificate, password: str) -> None:
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else NoEncryption()
    data = pkcs12.serialize_key_and_certificates(b"a", KEY, leaf, None, encryption)
    assert not too_many_iterations(data)
    key, certificates = read_pfx(data, password or None)
    assert key.public_key() == KEY.public_key()
    assert certificates == [leaf]
    with pytest.raises(KeyVaultError, match="can not be read"):
        read_pfx(data, password + "x")


def test_a_pem_that_we_wrote_we_read(authority: Authority, leaf: x509.Certificate) -> None:
    order = [der(authority.root), der(leaf)]
    key, certificates = read_pem(write_pem(PKCS8, order).encode())
    assert key.public_key() == KEY.public_key()
    assert [der(item) for item in certificates] == order


def test_a_pem_without_a_key_holds_certificates_only(leaf: x509.Certificate) -> None:
    assert x509.load_pem_x509_certificates(write_pem(None, [der(leaf)]).encode()) == [leaf]
    with pytest.raises(KeyVaultError):
        read_pem(write_pem(None, [der(leaf)]).encode())


def test_a_pem_with_windows_line_ends_and_remarks_is_read(leaf: x509.Certificate) -> None:
    text = "Bag Attributes\n" + write_pem(PKCS8, [der(leaf)])
    _, certificates = read_pem(text.replace("\n", "\r\n").encode())
    assert certificates == [leaf]


def test_the_items_of_a_merge_may_be_mixed(authority: Authority, leaf: x509.Certificate) -> None:
    twice = base64.b64encode(base64.b64encode(der(leaf))).decode()
    text = authority.root.public_bytes(Encoding.PEM).decode()
    single = base64.b64encode(der(authority.intermediate)).decode()
    assert read_x5c([twice, text, single]) == [leaf, authority.root, authority.intermediate]


def test_a_thumbprint_is_the_one_of_openssl(leaf: x509.Certificate) -> None:
    shown = openssl("x509", "-inform", "der", "-noout", "-fingerprint", "-sha1", stdin=der(leaf))
    assert shown.strip().rpartition("=")[2].replace(":", "").lower() == thumbprint(der(leaf)).hex()


# -- the store ------------------------------------------------------------------------------------------------------


def test_a_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "below" / "a.db")
    store.write([("a", "1", "x"), ("a", "2", "ä\n"), ("b", "1", "z")])
    store.write([("a", "1", "y"), ("b", "1", None), ("b", "2", None)])
    store.close()
    again = SqliteStore(tmp_path / "below" / "a.db")
    assert sorted(again.load()) == [("a", "1", "y"), ("a", "2", "ä\n")]
    again.close()


def test_the_memory_store_keeps_nothing() -> None:
    store = MemoryStore()
    store.write([("a", "1", "x")])
    assert list(store.load()) == []
    store.close()
