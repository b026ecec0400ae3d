"""What the command refuses before it sends anything is what the app refuses, and in the same words."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certrelay import endpoints as endpoints_of_the_app
from certrelay import rules
from certrelay.errors import CertRelayError
from certrelay.keyvault import policy
from certrelay.pki.patterns import names_not_allowed
from certrelay.pki.subject import SubjectNames
from certrelay.setting_models import EndpointRule, Rules, Settings
from certrelay.storage.operation import CertificateRequest
from certrelay_cli.code import checks, endpoints
from certrelay_cli.code.document import Document
from certrelay_cli.code.planner import Change, Kind
from certrelay_cli.code.wanted import Wanted, all_of
from certrelay_cli.inputs import Malformed

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


PATTERNS = ("*.contoso.example:443", "www.contoso.example:8443", "[2606:4700::1]:443", "10.0.0.1:443")
ENDPOINTS = (
    "www.contoso.example:443", "WWW.Contoso.Example.:443", "contoso.example:443", "a.b.contoso.example:443",
    "evilcontoso.example:443", "www.contoso.example:8443", "a.contoso.example:8443", "[2606:4700:0::1]:443",
    "10.0.0.1:443", "10.0.0.2:443", ".contoso.example:443",
    # no endpoints:
    "www.contoso.example", "www.contoso.example:0", "www.contoso.example:70000", "www.contoso.example:0443", "a b:443",
    "[10.0.0.1]:443", "10.0.1:443", "0x7f.1:443", "bücher.example:443", "-a.example:443", "www.contoso.example:443/x",
)  # fmt: skip


def tag_faults(tags: dict[str, str]) -> list[str]:
    """What the app finds wrong with tags."""
    settings = Settings(
        vaults={}, authorities={}, notifications={}, storage={}, renewal_batch=1, app_service_authentication=False,
        function_key_role="Administrator", endpoints=tuple(EndpointRule(pattern=pattern) for pattern in PATTERNS),
    )  # fmt: skip
    services: Any = SimpleNamespace(settings=settings)
    return [fault.detail for fault in rules.tag_faults(services, tags)]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_is_refused_before_it_is_sent_if_the_app_would_refuse_it(endpoint: str) -> None:
    by_the_app = tag_faults({"certrelay-endpoint": endpoint})
    try:
        one = wanted({"names": ["www.contoso.example"], "endpoint": endpoint})
    except Malformed:
        assert by_the_app
        assert "CERTRELAY_ENDPOINTS" not in by_the_app[0], "it is an endpoint for the app"
        return
    change = Change(Kind.CREATE, "www", (), "create_certificate", one.create_body(), wanted=one)
    found = list(checks.endpoint_problems(change, PATTERNS))
    assert found == [f"www: endpoint {endpoint} {fault}" for fault in by_the_app]


@given(host=st.text("acx019.:[]_-", max_size=12), port=st.text("0123456789", max_size=6))
def test_what_is_an_endpoint_is_one_for_the_app(host: str, port: str) -> None:
    def read(parse: Callable[[str], object]) -> str:
        try:
            return str(parse(f"{host}:{port}"))
        except ValueError:
            return ""

    assert read(endpoints.normalised) == read(endpoints_of_the_app.parse)


def test_an_endpoint_that_stays_as_it_is_is_no_problem() -> None:
    one = wanted({"names": ["www.contoso.example"], "endpoint": "elsewhere.example:443"})
    created = Change(Kind.CREATE, "www", (), "create_certificate", one.create_body(), wanted=one)
    assert list(checks.endpoint_problems(created, [])) == [
        "www: endpoint elsewhere.example:443 is not allowed by CERTRELAY_ENDPOINTS, which allows: none"
    ]
    enabled = Change(Kind.ENABLED, "www", (), "update_certificate", {"enabled": False}, wanted=one)
    assert list(checks.endpoint_problems(enabled, [])) == []


@pytest.mark.parametrize("count", [12, 13])
def test_tags_that_the_app_would_refuse_are_told(count: int) -> None:
    one = wanted({"names": ["www.contoso.example"], "tags": {f"t{number}": "" for number in range(count)}})
    found = list(checks.problems(one, {"name": "main", "authorities": ["corp"]}, {}))[:-1]
    assert found == tag_faults(dict(one.tags))
    own = wanted({"names": ["www.contoso.example"], "tags": {"certrelay-authority": "x"}})
    vault = {"name": "main", "authorities": ["corp"]}
    assert "certrelay-authority is a tag that CertRelay sets; leave it out" in list(checks.problems(own, vault, {}))


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
