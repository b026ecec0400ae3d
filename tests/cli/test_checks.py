"""What the command refuses before it sends anything is what the app refuses, and in the same words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrelay import rules
from certrelay.errors import CertRelayError
from certrelay.keyvault import policy
from certrelay.pki.patterns import names_not_allowed
from certrelay.pki.subject import SubjectNames
from certrelay.setting_models import Rules
from certrelay.storage.operation import CertificateRequest
from certrelay_cli.code import checks
from certrelay_cli.code.document import Document
from certrelay_cli.code.wanted import Wanted, all_of

FEATURES = [
    "wildcard", "ip_address", "email", "uri", "user_principal_name", "common_name_only", "rsa", "ec",
    "certificate_authority",
]  # fmt: skip
ENTRIES: list[dict[str, Any]] = [
    {"names": ["www.contoso.example"]}, {"names": ["*.contoso.example"]}, {"names": ["contoso.example"]},
    {"names": ["a.b.contoso.example", "bücher.example"]}, {"names": ["10.0.0.1"]}, {"names": ["a@contoso.example"]},
    {"names": ["www.contoso.example"], "key": "EC-P256"}, {"names": ["www.contoso.example"], "key": "RSA-4096"},
    {"names": ["www.contoso.example"], "exportable": False}, {"names": ["www.contoso.example"], "days": 400},
    {"names": ["www.contoso.example"], "ca": True}, {"names": ["spiffe://contoso.example/x"]},
]  # fmt: skip
RULES: list[dict[str, Any]] = [
    {}, {"names": ["*.contoso.example"]}, {"names": ["www.contoso.example", "10.*", "*@contoso.example"]},
    {"names": ["*"]}, {"names": ["www*"]}, {"names": ["bücher.example", "*.B.contoso.example"]},
    {"key_types": ["EC"]}, {"key_types": ["RSA"], "minimum_rsa_size": 3072}, {"exportable": True},
    {"exportable": False, "max_validity_days": 90}, {"certificate_authority": True},
    {"names": ["spiffe://contoso.example/*"]},
]  # fmt: skip


def wanted(entry: dict[str, Any]) -> Wanted:
    content = {"vault": "main", "certificates": {"www": {"authority": "corp", **entry}}}
    [found] = all_of(Document.model_validate(content)).values()
    return found


def refused_by_the_app(one: Wanted, given_rules: dict[str, Any]) -> set[str]:
    body = one.create_body()
    completed, names = policy.complete(body["policy"], authority="corp", validity_days=one.days or 90)
    request = CertificateRequest(completed, "corp", one.days or 90, {}, True, names=names)
    return set(rules._violations("vault main", Rules.model_validate(given_rules), rules._requested(request)))


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
@pytest.mark.parametrize("given_rules", RULES, ids=str)
def test_it_refuses_nothing_that_the_app_would_allow(entry: dict[str, Any], given_rules: dict[str, Any]) -> None:
    one = wanted(entry)
    vault = {
        "name": "main",
        "authorities": ["corp"],
        "rules": Rules.model_validate(given_rules).model_dump(mode="json"),
    }
    authorities = {"corp": {"name": "corp", "features": FEATURES, "rules": {}}}
    found = {fault for fault in checks.problems(one, vault, authorities) if fault.startswith("vault")}
    by_the_app = refused_by_the_app(one, given_rules)
    assert found <= by_the_app
    if not one.uris:  # of these only the app knows the patterns
        assert found == by_the_app


LABEL = st.text("ab*", min_size=1, max_size=3)
HOST = st.lists(st.sampled_from(["a", "b", "ab", "xn--bcher-kva"]), min_size=1, max_size=4).map(".".join)


@given(pattern=st.lists(LABEL, min_size=1, max_size=4).map(".".join), name=HOST)
def test_a_pattern_for_hosts_covers_what_it_covers_in_the_app(pattern: str, name: str) -> None:
    in_the_app = not names_not_allowed((pattern,), SubjectNames(dns_names=(name,)))
    assert checks._host_allowed(pattern, name) is in_the_app


def test_an_authority_that_the_vault_does_not_have_or_allow_is_named() -> None:
    vault = {"name": "main", "authorities": ["other"], "rules": {}}
    authority = {"name": "corp", "features": ["rsa"], "rules": {"max_validity_days": 30}}
    entry = {"names": ["*.contoso.example"], "days": 60}
    assert list(checks.problems(wanted(entry), vault, {"corp": authority})) == [
        "vault main does not allow authority corp (setting authorities)",
        "authority corp allows a validity of at most 30 days (rule max_validity_days)",
        "authority corp does not support wildcard",
    ]
    assert "there is no authority corp; there are: b, c" in list(
        checks.problems(wanted(entry), vault, {"c": {}, "b": {}})
    )


def test_the_app_completes_what_the_file_says_without_a_fault() -> None:
    for entry in ENTRIES:
        try:
            refused_by_the_app(wanted(entry), {})
        except CertRelayError as error:
            pytest.fail(f"{entry}: {error}")
