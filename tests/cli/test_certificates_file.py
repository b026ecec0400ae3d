"""`certificates.yaml`: what it may say, every fault of it, and the schema for editors."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from certrelay_cli.code import document
from certrelay_cli.code.document import parse
from certrelay_cli.code.wanted import all_of
from certrelay_cli.inputs import Malformed

SCHEMA = Path(__file__).parents[2] / "docs" / "certificates.schema.json"
EXAMPLE = """
vault: main
defaults: {authority: letsencrypt, key: EC-P256, tags: {team: shop}}
certificates:
  www: {names: [www.contoso.example, contoso.example]}
  legacy: {names: [legacy.contoso.example], authority: corp, key: RSA-3072, renew: 30d}
"""


def test_a_certificate_has_the_defaults_and_what_it_says_itself() -> None:
    found = all_of(parse(EXAMPLE))
    assert (found["www"].authority, found["www"].key, found["www"].trigger) == ("letsencrypt", "EC-P256", None)
    assert found["legacy"].authority == "corp"
    assert found["legacy"].trigger == ("days_before_expiry", 30)
    assert found["legacy"].tags == {"team": "shop"}
    assert found["www"].subject == "CN=www.contoso.example"


def test_the_published_schema_is_that_of_the_models() -> None:
    assert json.loads(SCHEMA.read_text()) == document.schema(), "certrelay schema > docs/certificates.schema.json"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- main", "the file: must be a mapping"),
        ("vault: main\nvault: other", "'vault' is there twice"),
        ("certificates: {}", "vault: is missing"),
        (
            "vault: main\ncertificates: {a: {names: [b.example], authorty: x}}",
            "certificates.a.authorty: is not a known",
        ),
        ("vault: main\ncertificates: {a: {names: [b.example], key: RSA-1024}}", "certificates.a.key: "),
        ("vault: main\ncertificates: {a: {names: [b.example], renew: soon}}", "certificates.a.renew: "),
        ("vault: main\ncertificates: {a_b: {names: [b.example]}}", "letters, digits and hyphens"),
        ("vault: main\ncertificates: {a: {tags: {cost: 42}}}", "certificates.a.tags.cost: "),
        ("vault: main\ncertificates: []", "certificates: must be a mapping"),
        ("vault: [main", "line 1, column 13: expected ',' or ']'"),
        ("vault: main\ncertificates:\n\twww: {}", "line 3, column 1: found character '\\t'"),
        ("vault: main\ncertificates:\n\twww: {}", "indent with spaces, not with tabs"),
        ("vault: main\n---\nvault: other", "line 2, column 1: but found another document"),
        ("vault: main\n\0", "line 2: YAML does not allow the character U+0000"),
        ("vault: " + "[" * 1000, "is nested too deeply"),
        ("? [vault]\n: main", "line 1, column 3: a key must be a plain text"),
        ("vault: " + "9" * 5000, "999' is no int"),
        ("vault: !!bool maybe", "'maybe' is no bool"),
        ("vault: !!int ''", "'' is no int"),
        ("vault: !!map [main]", "line 1, column 8: it must be a mapping"),
        ("vault: !!timestamp now", "could not determine a constructor"),
        ("vault: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("vault: &vault [*vault]", "an alias stands within what it repeats"),
        ('vault: "\\ud800"', "vault: "),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(text: str, fault: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{names: [a.example]}", "needs an authority"),
        ("{names: [a.example], authority: x, issuer: Self}", "only one of them"),
        ("{authority: x}", "needs names or a subject"),
        ("{names: [a.example, A.example.], authority: x}", "has a name twice"),
        ("{names: ['a b'], authority: x}", "is no DNS name"),
        ("{names: [a.example], authority: x, endpoint: a.example}", "write HOST:PORT"),
        ("{names: [a.example], authority: x, tags: {certrelay-endpoint: 'a:1'}}", "write endpoint instead"),
        ("{names: [''], authority: x}", ""),
    ],
)
def test_an_entry_that_nobody_could_issue_is_refused(entry: str, fault: str) -> None:
    with pytest.raises(Malformed) as caught:
        all_of(parse(f"vault: main\ncertificates: {{a: {entry}}}"))
    assert fault in str(caught.value)


def test_names_that_key_vault_takes_for_the_same_are_refused() -> None:
    with pytest.raises(Malformed, match="takes it for the same as"):
        all_of(parse("vault: m\ndefaults: {authority: x}\ncertificates: {a: {names: [a.b]}, A: {names: [a.b]}}"))


@pytest.mark.parametrize("merged", [False, True])
def test_a_few_lines_with_aliases_do_not_become_a_million_values(merged: bool) -> None:
    pattern = "{{<<: [{0}]}}" if merged else "[{0}]"
    lines = ["a0: &a0 {x: y}"]
    lines += [f"a{n + 1}: &a{n + 1} {pattern.format(', '.join([f'*a{n}'] * 10))}" for n in range(12)]
    with pytest.raises(Malformed, match="aliases make more than 1,000,000 values of it"):
        parse("\n".join(lines))


def test_what_many_certificates_share_may_be_an_alias() -> None:
    found = all_of(
        parse(
            "vault: main\ndefaults: {authority: x}\ncertificates:\n"
            "  a: &shared {names: &names [a.example], tags: {team: shop}, days: 30}\n"
            "  b: {<<: *shared, days: 60}\n  c: {<<: [{days: 90}, *shared]}\n  d: {names: *names}\n"
        )
    )
    assert {one.dns for one in found.values()} == {("a.example",)}
    assert {name: one.days for name, one in found.items()} == {"a": 30, "b": 60, "c": 90, "d": None}
    assert found["b"].tags == {"team": "shop"}


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Malformed) as caught:
        parse("vault: 1\nother: 2\ncertificates: {a: {key: x}}")
    assert len(caught.value.faults) == 3


def test_words_that_yaml_takes_for_something_else_are_text() -> None:
    found = all_of(
        parse("vault: on\ndefaults: {authority: no, enabled: true}\ncertificates: {on: {names: [off.example]}}")
    )
    assert found["on"].authority == "no"
    assert found["on"].enabled is True


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (EXAMPLE, True),
        ("{vault: main, certificates: {a: {names: [x], key: no}}}", False),
        ("{certificates: {}}", False),
    ],
)
def test_an_editor_with_the_schema_says_the_same(text: str, valid: bool) -> None:
    assert jsonschema_rs.is_valid(json.loads(SCHEMA.read_text()), yaml.safe_load(text)) is valid
