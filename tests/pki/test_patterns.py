"""What a pattern of names covers."""

import time

import pytest

from certrelay.pki.patterns import name_allowed, names_not_allowed
from certrelay.pki.subject import SubjectNames


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("www.contoso.example", "www.contoso.example", True),
        ("www.contoso.example", "xwww.contoso.example", False),
        ("*.contoso.example", "a.b.contoso.example", True),
        ("*.contoso.example", "*.contoso.example", True),
        ("*.contoso.example", "contoso.example", False),
        ("*.contoso.example", "evilcontoso.example", False),
        ("*.contoso.example", ".contoso.example", False),
        ("10.0.*", "10.0.3.4", True),
        ("10.0.*", "10.10.3.4", False),
        ("spiffe://contoso/*", "spiffe://contoso/web", True),
        ("spiffe://*.contoso.example/*", "spiffe://a.contoso.example/web", True),
        ("spiffe://*.contoso.example/*", "spiffe://bank.example/.contoso.example/web", False),
        ("spiffe://*.contoso.example", "spiffe://bank.example?.contoso.example", False),
        ("https://*", "https://contoso.example/web", True),
        ("www.contoso.example", "www-contoso-example", False),
        ("a*a", "a", False),
        ("a*b*a", "aba", True),
        ("ab*ba", "aba", False),
        ("*ab*ab", "ab", False),
        ("*b*", "abc", True),
        ("*b*", "bc", True),
        ("a*b*c", "axxc", False),
        ("*.web-*.contoso.example", "a.web-1.contoso.example", True),
        ("*:*", "spiffe://contoso.example", True),
        ("*", "", True),
        ("*.München.example.", "www.xn--mnchen-3ya.example", True),
        ("Contoso CA", "contoso ca", True),
    ],
)
def test_a_name_pattern_covers_what_it_says(pattern: str, name: str, allowed: bool) -> None:
    assert name_allowed((pattern,), name) is allowed


def test_no_pattern_takes_long() -> None:
    """Callers write them too, for a replacement."""
    begin = time.process_time()
    assert not name_allowed(("*a" * 60 + "*b",), "a" * 2048)
    assert time.process_time() - begin < 10


def test_no_patterns_cover_every_name() -> None:
    assert name_allowed((), "anything.example")


def kinds(*dns: str, **others: tuple[str, ...]) -> SubjectNames:
    return SubjectNames(None, dns, **others)


MAIL, PRINCIPAL = {"email_addresses": ("x@contoso.example",)}, {"user_principal_names": ("x@contoso.example",)}


@pytest.mark.parametrize(
    ("pattern", "names", "allowed"),
    [
        ("*@contoso.example", kinds(**MAIL), True),
        ("*@contoso.example", kinds(**PRINCIPAL), True),
        ("*.example", kinds(**MAIL), False),
        ("*.example", kinds(**PRINCIPAL), False),
        ("spiffe://*@contoso.example", kinds(**MAIL), False),
        ("*:*@contoso.example", kinds(email_addresses=("a:x@contoso.example",)), False),
        ("*.example", kinds(uris=("spiffe://contoso.example",)), False),
        ("*contoso.example", kinds(uris=("urn:contoso.example",)), False),
        ("*@contoso.example", kinds(uris=("spiffe://x@contoso.example",)), False),
        ("spiffe://*", kinds(uris=("spiffe://contoso.example",)), True),
        ("urn:*", kinds(uris=("urn:contoso",)), True),
        ("*contoso.example", kinds(**MAIL), False),
        ("*.contoso.example", kinds(email_addresses=("www.contoso.example",)), False),
        ("*contoso.example", SubjectNames("root@contoso.example"), False),
        ("*contoso.example", SubjectNames("spiffe://www.contoso.example"), False),
        ("www.*", kinds("www.evil.example"), False),
        ("*.contoso.*", kinds("a.contoso.evil.example"), False),
        ("*.example", kinds("www.contoso.example"), True),
        ("*.example", kinds("www.contoso.example", uris=("urn:x",)), False),
        ("10.0.*", kinds(ip_addresses=("10.0.3.4",)), True),
        ("10.0.*", kinds(ip_addresses=("10.1.3.4",)), False),
        ("2001:db8::*", kinds(ip_addresses=("2001:db8::1",)), True),
        ("*", kinds("a.example", **MAIL, uris=("urn:x",)), True),
        ("*.contoso.example", SubjectNames("root@evil.example/.contoso.example"), False),
        ("*.contoso.example", SubjectNames("anybody at all .contoso.example"), False),
        ("*.contoso.example", SubjectNames("www.contoso.example"), True),
    ],
)
def test_a_pattern_applies_to_the_kind_of_name_whose_end_it_holds(
    pattern: str, names: SubjectNames, allowed: bool
) -> None:
    assert (names_not_allowed((pattern,), names) == []) is allowed


def test_names_of_kinds_without_patterns_are_allowed_only_with_all_names() -> None:
    other, names = ("the directory name CN=x",), kinds("www.contoso.example")
    assert names_not_allowed(("*.example",), names, other) == [*other]
    assert names_not_allowed(("*.example", "*"), names, other) == []
    assert names_not_allowed((), names, other) == []
