"""Distinguished names as .NET writes them."""

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from sandbox.vault.names import format_name, parse_name

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=20)
LABELS = st.sampled_from(["CN", "O", "OU", "L", "S", "STREET", "SN", "G", "T", "OID.1.2.3.4"])


@pytest.mark.parametrize(
    "text",
    [
        "CN=contoso.com",
        "O=Internet Widgits Pty Ltd, S=Some-State, C=AU",
        "E=a@b.example, CN=a, OU=b, S=WA, C=US",
        'CN=a, O="Contoso, Ltd"',
        'O="say ""hello"""',
        'CN=" leading and trailing "',
        "CN=a + OU=b, C=DE",
        "OID.1.2.3.4=x",
        "DC=contoso, DC=com",
    ],
)
def test_a_name_is_printed_as_it_was_read(text: str) -> None:
    assert format_name(parse_name(text)) == text


@given(st.lists(st.tuples(LABELS, TEXT.filter(str.strip)), min_size=1, max_size=4))
def test_every_printed_name_is_read_back(pairs: list[tuple[str, str]]) -> None:
    quoted = ", ".join(f'{label}="{value.replace(chr(34), chr(34) * 2)}"' for label, value in pairs)
    name = parse_name(quoted)
    assert parse_name(format_name(name)) == name
    assert [attribute.value for attribute in name] == [value for _, value in reversed(pairs)]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("cn=a", "CN=a"),
        ("CN=a;O=b", "CN=a, O=b"),
        ("ST=a", "S=a"),
        ("emailAddress=a@b", "E=a@b"),
        ("2.5.4.3=a", "CN=a"),
        ("  CN = a ,  O = b  ", "CN=a, O=b"),
    ],
)
def test_other_spellings_mean_the_same(text: str, same: str) -> None:
    assert parse_name(text) == parse_name(same)


@pytest.mark.parametrize(
    "text", ["a", "CN", "=a", "CN=", "CN=a,", ",CN=a", 'CN="a', 'CN="a"b', "XX=a", "E=ä", "C=Germany"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_name(text)


def test_an_empty_text_is_an_empty_name() -> None:
    assert parse_name("  ") == x509.Name([])
