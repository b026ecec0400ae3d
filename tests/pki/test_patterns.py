"""What a pattern of names covers."""

import time

import pytest

from certrelay.pki.patterns import name_allowed


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
        ("*b*", "abc", True),
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
