"""What a caller may ask for, and every fault of what a caller may not (checks 37 and 38)."""

from dataclasses import replace
from typing import Any

import pytest

from certrelay import settings
from certrelay.certificates import create
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Feature
from certrelay.errors import Invalid, NotPermitted
from certrelay.renewal.renew import renewed_request
from certrelay.rules import check
from certrelay.services import Services, connect
from certrelay.setting_models import Rules, VaultSettings
from tests.world import TestCa

SETTINGS = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "CERTRELAY_VAULTS": """{
        "main": {"url": "https://v.example"},
        "narrow": {"url": "https://n.example", "authorities": ["b1"]}}""",
    "CERTRELAY_AUTHORITIES": """{
        "a1": {"connector": "tests.world:TestCa",
               "rules": {"names": ["*.contoso.example"], "max_validity_days": 90, "minimum_rsa_size": 3072}},
        "b1": {"connector": "tests.world:TestCa"}}""",
}


@pytest.fixture(scope="module")
def services() -> Services:
    return connect(settings.load(SETTINGS))


def pointers(services: Services, asked: CertificateSpec, vault: str = "main", name: str = "www") -> set[str]:
    with pytest.raises(Invalid) as refused:
        create.complete(services, vault, name, asked)
    return {fault.pointer for fault in refused.value.faults}


def test_an_authority_and_a_name_are_a_complete_request(services: Services) -> None:
    wanted = create.complete(
        services, "main", "www", CertificateSpec(authority="b1", dns_names=("WWW.Contoso.Example.",))
    )
    assert wanted.policy["x509_props"]["sans"] == {"dns_names": ["www.contoso.example"]}
    assert wanted.policy["issuer"] == {"name": "Unknown"}
    assert wanted.policy["key_props"] == {"kty": "RSA", "key_size": 2048, "exportable": True, "reuse_key": False}
    assert wanted.validity_days == 90
    assert wanted.tags == {"certrelay-authority": "b1", "certrelay-validity-days": "90"}


def test_who_asks_for_no_validity_gets_what_the_rules_allow(services: Services) -> None:
    short = narrowed(services, max_validity_days=47)
    wanted = create.complete(short, "main", "www", CertificateSpec(authority="a1", dns_names=("www.contoso.example",)))
    assert (wanted.validity_days, wanted.tags["certrelay-validity-days"]) == (47, "47")
    check(short, "main", wanted)
    assert renewed_request(short, "main", "a1", wanted.policy, {}, True).validity_days == 47


def test_without_an_authority_key_vault_signs_itself(services: Services) -> None:
    wanted = create.complete(services, "main", "www", CertificateSpec(dns_names=("www.contoso.example",)))
    assert wanted.issuer == "Self"
    assert wanted.tags == {}


def test_a_threshold_travels_in_a_tag(services: Services) -> None:
    actions = [{"trigger": {"days_before_expiry": 20}, "action": {"action_type": "EmailContacts"}}]
    asked = CertificateSpec(authority="b1", dns_names=("www.contoso.example",), policy={"lifetime_actions": actions})
    assert create.complete(services, "main", "www", asked).tags["certrelay-renewal"] == "days_before_expiry=20"


def test_every_fault_is_named_at_once(services: Services) -> None:
    asked = CertificateSpec(
        authority="nobody",
        dns_names=("ok.example", "not a name"),
        ip_addresses=("300.1.1.1",),
        policy={"key_props": {"kty": "RSA", "key_size": 1024}, "x509_props": {"ekus": ["x"], "key_usage": ["sing"]}},
        tags={"certrelay-authority": "forged"},
    )
    assert pointers(services, asked, vault="gone", name="bad_name") == {
        "",
        "/authority",
        "/dns_names/1",
        "/ip_addresses/0",
        "/policy/key_props/key_size",
        "/policy/x509_props/ekus/0",
        "/policy/x509_props/key_usage/0",
        "/tags/certrelay-authority",
    }


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        (CertificateSpec(authority="b1"), "/policy/x509_props"),
        (CertificateSpec(policy={"issuer": {"name": "Unknown"}}, dns_names=("a.example",)), "/authority"),
        (
            CertificateSpec(authority="b1", policy={"issuer": {"name": "Self"}}, dns_names=("a.example",)),
            "/policy/issuer/name",
        ),
        (
            CertificateSpec(authority="b1", subject="CN=a.example", policy={"x509_props": {"subject": "CN=b.example"}}),
            "/subject",
        ),
        (CertificateSpec(authority="b1", dns_names=("a.example",), tags={"k": "v" * 257}), "/tags/k"),
        (CertificateSpec(authority="b1", dns_names=("a.example",), tags={str(n): "v" for n in range(13)}), "/tags"),
        (
            CertificateSpec(authority="b1", dns_names=tuple(f"n{n}.example" for n in range(101))),
            "/policy/x509_props/sans",
        ),
        (CertificateSpec(authority="b1", dns_names=("a.b*.example",)), "/dns_names/0"),
        (CertificateSpec(authority="b1", dns_names=("10.0.0.1",)), "/dns_names/0"),
    ],
)
def test_a_fault_is_named_where_it_was_written(services: Services, asked: CertificateSpec, pointer: str) -> None:
    assert pointer in pointers(services, asked)


def refusal(services: Services, asked: CertificateSpec, vault: str = "main") -> str:
    with pytest.raises(NotPermitted) as refused:
        check(services, vault, create.complete(services, vault, "www", asked))
    return str(refused.value)


def test_the_rules_of_an_authority_and_of_a_vault_are_kept(services: Services) -> None:
    asked = CertificateSpec(authority="a1", dns_names=("www.bank.example",), validity_days=91)
    message = refusal(services, asked)
    for part in ("the name www.bank.example", "at least 3072 bits", "at most 90 days"):
        assert part in message
    assert "vault narrow does not allow authority a1" in refusal(services, asked, "narrow")
    assert "CA certificates" in refusal(
        services,
        replace(asked, policy={"x509_props": {"basic_constraints": {"ca": True}}}),
    )


def narrowed(services: Services, **rules: Any) -> Services:
    """With one authority only, `a1`, and with these rules of it."""
    a1 = services.settings.authorities["a1"]
    narrow = replace(a1, settings=a1.settings.model_copy(update={"rules": Rules.model_validate(rules)}))
    return replace(services, settings=replace(services.settings, authorities={"a1": narrow}))


@pytest.mark.parametrize(
    ("rules", "key", "fault"),
    [
        ({"key_types": ["EC"]}, {"kty": "RSA-HSM", "exportable": False}, "does not allow RSA keys"),
        ({"key_types": ["RSA"]}, {"kty": "EC"}, "does not allow EC keys"),
        ({"exportable": False}, {"kty": "EC"}, "requires keys that are not exportable"),
        ({"exportable": True}, {"kty": "EC", "exportable": False}, "requires keys that are exportable"),
    ],
)
def test_a_key_that_the_rules_do_not_allow_is_refused(
    services: Services, rules: dict[str, Any], key: dict[str, Any], fault: str
) -> None:
    asked = CertificateSpec(authority="a1", dns_names=("www.contoso.example",), policy={"key_props": key})
    assert fault in refusal(narrowed(services, **rules), asked)


@pytest.mark.parametrize(
    ("feature", "asked"),
    [
        (Feature.WILDCARD, CertificateSpec(dns_names=("*.contoso.example",))),
        (Feature.IP_ADDRESS, CertificateSpec(ip_addresses=("192.0.2.1",))),
        (Feature.EMAIL, CertificateSpec(email_addresses=("ada@contoso.example",))),
        (Feature.URI, CertificateSpec(uris=("spiffe://contoso/web",))),
        (Feature.USER_PRINCIPAL_NAME, CertificateSpec(user_principal_names=("ada@contoso.example",))),
        (Feature.COMMON_NAME_ONLY, CertificateSpec(subject="CN=www.contoso.example")),
        (Feature.RSA, CertificateSpec(dns_names=("www.contoso.example",))),
        (Feature.EC, CertificateSpec(dns_names=("www.contoso.example",), policy={"key_props": {"kty": "EC"}})),
        (
            Feature.CERTIFICATE_AUTHORITY,
            CertificateSpec(subject="CN=CA", policy={"x509_props": {"basic_constraints": {"ca": True}}}),
        ),
    ],
)
def test_what_a_connector_does_not_declare_is_refused_before_anything_is_sent(
    services: Services, monkeypatch: pytest.MonkeyPatch, feature: Feature, asked: CertificateSpec
) -> None:
    main = VaultSettings(url="https://v.example", rules=Rules(certificate_authority=True))
    able = narrowed(services, certificate_authority=True)
    able = replace(able, settings=replace(able.settings, vaults={"main": main}))
    asked = replace(asked, authority="a1")
    check(able, "main", create.complete(able, "main", "www", asked))
    monkeypatch.setattr(TestCa, "features", TestCa.features - {feature})
    assert refusal(able, asked) == f"authority a1 does not support {feature.value.replace('_', ' ')}"


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [
        ("*.contoso.example", CertificateSpec(uris=("https://bank.example/x.contoso.example",))),
        ("*@contoso.example", CertificateSpec(uris=("https://bank.example/@contoso.example",))),
        ("10.0.*", CertificateSpec(dns_names=("10.0.bank.example",))),
        ("www.*", CertificateSpec(policy={"x509_props": {"subject": "CN=www.bank.example"}})),
        ("*.contoso.example", CertificateSpec(subject="CN=www.contoso.example, E=ceo@bank.example")),
        ("*.contoso.example", CertificateSpec(dns_names=("www.bank.example", "a.contoso.example"))),
        ("*.contoso.example", CertificateSpec(email_addresses=("a.contoso.example@bank.example",))),
        ("*.contoso.example", CertificateSpec(email_addresses=("ceo@mail.contoso.example",))),
        ("*.contoso.example", CertificateSpec(user_principal_names=("administrator@corp.contoso.example",))),
        ("*.contoso.example", CertificateSpec(subject="CN=administrator@corp.contoso.example")),
        ("*.contoso.example", CertificateSpec(subject="CN=https://bank.example/x.contoso.example")),
        ("*.contoso.example", CertificateSpec(subject="CN=Bank of a.contoso.example")),
        ("*@contoso.example", CertificateSpec(user_principal_names=("ada@corp.contoso.example",))),
    ],
)
def test_a_name_of_one_kind_does_not_pass_for_another(services: Services, pattern: str, asked: CertificateSpec) -> None:
    assert "does not allow the name" in refusal(narrowed(services, names=[pattern]), replace(asked, authority="a1"))


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [
        ("*@contoso.example", CertificateSpec(user_principal_names=("Ada@Contoso.example",))),
        ("*@*.contoso.example", CertificateSpec(user_principal_names=("ada@corp.contoso.example",))),
        ("*@münchen.example", CertificateSpec(email_addresses=("ada@münchen.example",))),
        ("spiffe://contoso/*", CertificateSpec(uris=("spiffe://contoso/a@b",))),
        ("*", CertificateSpec(user_principal_names=("ada@contoso.example",))),
    ],
)
def test_a_name_is_allowed_by_a_pattern_of_its_kind(services: Services, pattern: str, asked: CertificateSpec) -> None:
    loose = narrowed(services, names=[pattern])
    check(loose, "main", create.complete(loose, "main", "www", replace(asked, authority="a1", subject=None)))


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"dns_names": ("intranet",)}, "are not below a top-level domain"),
        ({"dns_names": ("a_b.contoso.example",)}, "have an underscore"),
        ({"dns_names": ("www.contoso.example",), "ip_addresses": ("10.0.0.1",)}, "are not public addresses"),
    ],
)
def test_names_that_public_trust_forbids_are_refused_before_the_order_and_else_allowed(
    services: Services, names: dict[str, tuple[str, ...]], why: str
) -> None:
    spec = CertificateSpec(authority="a1", subject="CN=x", **names)  # type: ignore[arg-type]
    assert why in refusal(narrowed(services, public_trust=True), spec)
    assert why not in refusal(services, spec), "its own rules refuse the names, not those of public trust"
