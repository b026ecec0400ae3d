"""Where each rule begins and ends, for what is asked and for what was issued; no vault and no storage is needed."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519

from certrelay import rules
from certrelay.connectors.base import Feature
from certrelay.errors import Invalid, NotPermitted
from certrelay.keyvault import policy
from certrelay.pki.verify import Limits
from certrelay.services import Services
from certrelay.setting_models import AuthoritySettings, Rules, Settings, VaultSettings
from certrelay.storage.operation import CertificateRequest
from tests.pki.builders import Authority, dns, ec_key, rsa_key, subject

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SERVER, CODE = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.3"
HOST = "www.contoso.example"
KEY, ROOT = ec_key(), Authority.root()
NONE, LAX = Rules(), Rules(certificate_authority=True)
USER = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.2.2"), b"\x05\x00")


@dataclass(frozen=True)
class Vault:
    """What the tests turn: both sets of rules, the vault's `authorities`, and what the connector supports."""

    rules: Rules = NONE
    of_authority: Rules = NONE
    authorities: tuple[str, ...] = ()
    features: frozenset[Feature] = frozenset(Feature)
    history: tuple[Any, ...] = ()

    @property
    def services(self) -> Services:
        vault = VaultSettings(url="https://contoso.vault.azure.net", authorities=self.authorities, rules=self.rules)
        of_corp = AuthoritySettings(connector="manual", rules=self.of_authority)
        corp: Any = SimpleNamespace(settings=of_corp, connector_class=SimpleNamespace(features=self.features))
        settings = Settings({"main": vault}, {"corp": corp}, {}, {}, 10, False, "Administrator")
        storage: Any = SimpleNamespace(ended=lambda *_: self.history)
        unused: Any = None
        return Services(settings, storage, unused, unused, lambda: NOW)


def request(days: int | None = 90, authority: str | None = "corp", ca: bool = False, **changes: Any) -> Any:
    """A request for `www.contoso.example`; `changes`: of x509_props, or `key`, `issuer`."""
    key, issuer = changes.pop("key", {"kty": "EC"}), changes.pop("issuer", "Self")
    names = {"subject": f"CN={HOST}", "sans": {"dns_names": [HOST]}}
    asked = {
        "key_props": key,
        "x509_props": {"validity_months": 12, **names, "basic_constraints": {"ca": ca}, **changes},
        "issuer": {"name": "Unknown" if authority else issuer},
    }
    complete, _ = policy.complete(asked, authority=authority, validity_days=None)
    return CertificateRequest(complete, authority, days)


def said(vault: Vault, asked: CertificateRequest) -> str:
    try:
        rules.check(vault.services, "main", asked)
    except NotPermitted as refused:
        assert refused.code == "NotAllowedByRules"
        return str(refused)
    return ""


def issued(days: float = 90, key: Any = KEY, name: x509.Name | None = None, **options: Any) -> x509.Certificate:
    sans = options.pop("sans", dns(HOST))
    return ROOT.sign(key.public_key(), name or subject(HOST), extensions=[sans], begins=NOW, days=days, **options)


def found(vault: Vault, leaf: x509.Certificate, exportable: bool | None = None) -> str:
    return "; ".join(rules.certificate_violations(vault.services, "main", "corp", leaf, exportable))


def imported(vault: Vault, *chain: x509.Certificate, issuer: str | None = None, **key: Any) -> str:
    written: dict[str, Any] = ({"key_props": key} if key else {}) | ({"issuer": {"name": issuer}} if issuer else {})
    try:
        rules.check_import(vault.services, "main", chain, written)
    except NotPermitted as refused:
        return str(refused)
    return ""


def without_usages() -> CertificateRequest:
    """As for a policy that somebody wrote into Key Vault."""
    asked: CertificateRequest = request()
    del asked.policy["x509_props"]["ekus"]
    return asked


RSA = {"kty": "RSA", "key_size": 3072}
REQUESTS: list[tuple[Rules, Any, str]] = [
    (Rules(max_validity_days=90), request(90), ""),
    (Rules(max_validity_days=90), request(91), "at most 90 days"),
    (Rules(max_validity_days=365), request(None, None), ""),
    (Rules(max_validity_days=364), request(None, None), "at most 364 days"),
    (Rules(minimum_rsa_size=3072), request(key=RSA), ""),
    (Rules(minimum_rsa_size=3073), request(key=RSA), "at least 3073 bits"),
    (Rules(minimum_rsa_size=3073), request(), ""),
    (Rules(key_types=("RSA",)), request(), "does not allow EC keys"),
    (Rules(key_types=("RSA",)), request(key=RSA), ""),
    (Rules(exportable=False), request(key={"kty": "EC", "exportable": False}), ""),
    (Rules(exportable=False), request(), "keys that are not exportable"),
    (Rules(exportable=True), request(key={"kty": "EC", "exportable": False}), "keys that are exportable"),
    (Rules(exportable=True), request(), ""),
    (Rules(), request(ca=True), "does not allow CA certificates"),
    (Rules(certificate_authority=False), request(ca=True), "does not allow CA certificates"),
    (Rules(certificate_authority=True), request(ca=True), ""),
    (Rules(certificate_authority=True), request(), ""),
    (Rules(names=(HOST,)), request(), ""),
    (Rules(names=(HOST,)), request(subject=f"CN={HOST}, E=a@bank.example"), "does not allow the name a@bank.example"),
    (Rules(names=(HOST,)), request(subject=f"CN={HOST}, 1.2.840.113549.1.9.1=a@bank.example"), "a@bank.example"),
    (Rules(names=(HOST, "*@bank.example")), request(subject=f"CN={HOST}, E=a@bank.example"), ""),
    (Rules(names=(HOST,)), request(subject="", sans={"dns_names": [HOST]}), ""),
    (Rules(extended_key_usages=("serverAuth",)), request(ekus=[SERVER]), ""),
    (Rules(extended_key_usages=("serverAuth",)), request(ekus=[SERVER, CODE]), "the extended key usage codeSigning"),
    (Rules(extended_key_usages=("serverAuth",)), request(ekus=[]), "(rule extended_key_usages)"),
    (Rules(requires_extended_key_usage=True), request(ekus=[]), "(rule requires_extended_key_usage)"),
    (Rules(requires_extended_key_usage=True), without_usages(), "(rule requires_extended_key_usage)"),
    (Rules(requires_extended_key_usage=True), request(ekus=[CODE]), ""),
    (Rules(), request(ekus=[]), ""),
    (Rules(public_trust=True), request(sans={"dns_names": ["intranet"]}), "(rule public_trust)"),
    (Rules(), request(sans={"dns_names": ["intranet"]}), ""),
]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_a_rule_of_the_vault_or_of_the_authority_binds_a_request_up_to_its_edge(number: int) -> None:
    own, asked, words = REQUESTS[number]
    refused = {"vault main": said(Vault(own, LAX), asked)}
    if asked.authority:
        refused["authority corp"] = said(Vault(LAX, own), asked)
    for holder, text in refused.items():
        assert (words in text and holder in text) if words else not text


def test_every_rule_that_is_broken_is_named_in_one_refusal() -> None:
    strict, sloppy = Rules(names=("*.bank.example",), max_validity_days=30), request(subject="", ekus=[])
    text = said(Vault(strict, Rules(requires_extended_key_usage=True), features=frozenset()), sloppy)
    assert "vault main does not allow the name" in text
    assert "vault main allows a validity of at most 30 days" in text
    assert "authority corp requires an extended key usage" in text
    assert "authority corp does not support ec" in text


@pytest.mark.parametrize(
    ("feature", "asked"),
    [
        (Feature.WILDCARD, request(sans={"dns_names": ["a.example", "*.contoso.example"]})),
        (Feature.IP_ADDRESS, request(sans={"ipAddresses": ["192.0.2.7"]})),
        (Feature.EMAIL, request(sans={"emails": ["a@contoso.example"]})),
        (Feature.URI, request(sans={"uris": ["https://contoso.example/"]})),
        (Feature.USER_PRINCIPAL_NAME, request(sans={"upns": ["a@contoso.example"]})),
        (Feature.COMMON_NAME_ONLY, request(sans={})),
        (Feature.RSA, request(key=RSA)),
        (Feature.EC, request()),
        (Feature.CERTIFICATE_AUTHORITY, request(ca=True)),
    ],
)
def test_what_a_connector_does_not_support_is_refused_and_nothing_else(feature: Feature, asked: Any) -> None:
    kind = {Feature.RSA, Feature.EC} - {feature}
    text = said(Vault(LAX, LAX, features=frozenset()), asked)
    named = {one for one in Feature if f"does not support {one.value.replace('_', ' ')}" in text}
    assert feature in named
    assert named - kind == {feature}
    assert not said(Vault(LAX, LAX, features=frozenset(named)), asked)


@pytest.mark.parametrize(
    ("allowed", "authority", "issuer", "refused"),
    [
        ((), "corp", "", ""),
        (("corp",), "corp", "", ""),
        (("other", "Self"), "corp", "", "does not allow authority corp"),
        (("Corp",), "corp", "", "does not allow authority corp"),
        ((), None, "DigiCert", ""),
        (("digicert",), None, "DigiCert", "does not allow issuer DigiCert"),
        (("DigiCert",), None, "digicert", ""),
        (("corp",), None, "Self", "does not allow issuer Self"),
    ],
)
def test_a_vaults_authorities_name_authorities_exactly_and_issuers_regardless_of_case(
    allowed: tuple[str, ...], authority: str | None, issuer: str, refused: str
) -> None:
    text = said(Vault(authorities=allowed), request(None, authority, issuer=issuer or "Self"))
    assert (refused in text) if refused else not text


CERTIFICATES: list[tuple[Rules, x509.Certificate, str]] = [
    (Rules(max_validity_days=90), issued(91), ""),
    (Rules(max_validity_days=90), issued(91.01), "at most 90 days"),
    (Rules(names=(HOST,)), issued(), ""),
    (Rules(names=(HOST,)), issued(name=subject(HOST, email_address="a@bank.example")), "the name a@bank.example"),
    (Rules(names=(HOST,)), issued(sans=x509.SubjectAlternativeName([*dns(HOST), USER])), "Kerberos principal"),
    (Rules(minimum_rsa_size=3072), issued(key=rsa_key()), "at least 3072 bits"),
    (Rules(key_types=("EC",)), issued(key=rsa_key()), "does not allow RSA keys"),
    (Rules(key_types=("RSA",)), issued(), "does not allow EC keys"),
    (Rules(), issued(key=ed25519.Ed25519PrivateKey.generate()), "does not allow other keys"),
    (Rules(certificate_authority=False), issued(ca=True), "does not allow CA certificates"),
    (Rules(), issued(ca=True), ""),
    (Rules(requires_extended_key_usage=True), issued(ekus=()), "(rule requires_extended_key_usage)"),
    (Rules(extended_key_usages=("codeSigning",)), issued(), "does not allow the extended key usage"),
    (Rules(extended_key_usages=("serverAuth", "clientAuth")), issued(), ""),
    (Rules(extended_key_usages=("serverAuth",)), issued(ekus=()), "(rule extended_key_usages)"),
    (Rules(public_trust=True), issued(sans=dns("intranet")), "(rule public_trust)"),
]


@pytest.mark.parametrize("number", range(len(CERTIFICATES)))
def test_a_rule_binds_what_was_issued_and_what_is_imported(number: int) -> None:
    own, leaf, words = CERTIFICATES[number]
    said_of = (found(Vault(own), leaf), found(Vault(of_authority=own), leaf), imported(Vault(own), leaf))
    assert all(words in text if words else not text for text in said_of)


def test_only_a_key_that_is_known_to_be_exportable_or_not_breaks_the_rule_for_that() -> None:
    for rule in (True, False):
        own = Vault(Rules(exportable=rule))
        assert not found(own, issued(), None)
        assert not found(own, issued(), rule)
        assert "(rule exportable)" in found(own, issued(), not rule)
        assert not imported(own, issued(), exportable=rule)
        assert "(rule exportable)" in imported(own, issued(), exportable=not rule)
    assert "(rule exportable)" in imported(Vault(Rules(exportable=False)), issued()), "Key Vault's default"


def test_an_import_that_key_vault_renews_counts_its_whole_lifetime_and_another_what_is_left() -> None:
    own, begun = Vault(Rules(max_validity_days=90)), NOW - timedelta(days=200)
    leaf = ROOT.sign(KEY.public_key(), subject(HOST), extensions=[dns(HOST)], begins=begun, days=280)
    assert not imported(own, leaf)
    assert not imported(own, leaf, issuer="unknown")
    assert "at most 90 days" in imported(own, leaf, issuer="Self")


def test_an_import_needs_a_pinned_issuer_above_it_and_an_issuer_that_the_vault_allows() -> None:
    leaf, root = issued(), ROOT.certificate
    pinned = Vault(Rules(issuer_pins=(root.fingerprint(hashes.SHA256()).hex(),)))
    assert not imported(pinned, leaf, root)
    assert "(rule issuer_pins)" in imported(pinned, leaf)
    own = Vault(Rules(issuer_pins=(leaf.fingerprint(hashes.SHA256()).hex(),)))
    assert "(rule issuer_pins)" in imported(own, leaf, root), "a pin is of a CA"
    by_corp = Vault(authorities=("corp",))
    assert not imported(by_corp, leaf)
    assert not imported(by_corp, leaf, issuer="UNKNOWN")
    assert "does not allow issuer Self" in imported(by_corp, leaf, issuer="Self")


def test_an_import_under_public_trust_is_a_server_certificate_of_200_days_at_most() -> None:
    trusted = Vault(Rules(public_trust=True))
    assert not imported(trusted, issued(199))
    assert "vault main: the certificate is valid for more than 200 days" in imported(trusted, issued(201))
    assert not imported(Vault(), issued(201))


def test_the_limits_of_an_answer_are_the_strictest_of_vault_and_authority() -> None:
    of_vault = Rules(max_validity_days=47, issuer_pins=("aa" * 32,), public_trust=True, keep_root=False)
    of_corp = Rules(max_validity_days=90, issuer_pins=("bb" * 32,), extra_names=True, requires_extended_key_usage=True)
    both = Limits(47, False, ("bb" * 32,), True, True, True, (("aa" * 32,),))
    assert rules.limits(Vault(of_vault, of_corp).services, "main", "corp") == both


def ended(version: str, **key: Any) -> Any:
    made = {"key_props": key} if key else {}
    return SimpleNamespace(version=version, request=SimpleNamespace(policy=made))


OLD, NEWEST = "0" * 32, "1" * 32


@pytest.mark.parametrize(
    ("history", "of_policy", "refused"),
    [
        ((), {"exportable": False}, True),
        ((), {"exportable": True}, False),
        ((), {}, False),
        ((ended(NEWEST, exportable=False),), {"exportable": True}, True),
        ((ended(NEWEST, exportable=True),), {"exportable": False}, False),
        ((ended(OLD, exportable=False),), {"exportable": True}, False),
        ((ended(OLD, exportable=True), ended(NEWEST, exportable=False)), {}, True),
        ((ended(NEWEST), ended(NEWEST, exportable=False)), {}, True),
    ],
)
def test_the_key_of_the_newest_version_is_what_was_requested_or_else_what_the_policy_says(
    history: tuple[Any, ...], of_policy: dict[str, Any], refused: bool
) -> None:
    services, written = Vault(history=history).services, {"reuse_key": True, "exportable": True}
    bundle = {"id": f"https://x/certificates/www/{NEWEST}", "cer": "AA==", "policy": {"key_props": of_policy}}

    def check(key: dict[str, Any], newest: Any = bundle) -> None:
        rules.check_reused_key(services, "main", "www", {"key_props": key}, newest)

    if refused:
        with pytest.raises(Invalid, match="set exportable to false") as error:
            check(written)
        assert error.value.faults[0].pointer == "/policy/key_props/exportable"
    else:
        check(written)
    for harmless in ({"reuse_key": True, "exportable": False}, {"reuse_key": False, "exportable": True}):
        check(harmless)
    for without in (None, {**bundle, "cer": ""}):
        check(written, without)
    if not history:
        check(written, {**bundle, "policy": None})
        check(written, {**bundle, "policy": {}})


def test_an_authority_that_is_not_in_the_settings_is_refused_with_those_that_are() -> None:
    services = Vault().services
    rules.check_authority_exists(services, None)
    rules.check_authority_exists(services, "corp")
    with pytest.raises(Invalid, match="no authority 'other'; the settings have: corp"):
        rules.check_authority_exists(services, "other")
    alone = replace(services, settings=replace(services.settings, authorities={}))
    with pytest.raises(Invalid, match="the settings have: none"):
        rules.check_authority_exists(alone, "corp")


def test_a_default_validity_is_never_longer_than_the_rules_of_both_allow() -> None:
    corp = AuthoritySettings(connector="manual", default_validity_days=90, rules=Rules(max_validity_days=60))
    lax = AuthoritySettings(connector="manual", default_validity_days=90)
    assert rules.default_days(lax) == rules.default_days(lax, Rules()) == 90
    assert rules.default_days(corp) == rules.default_days(corp, Rules(max_validity_days=70)) == 60
    assert rules.default_days(corp, Rules(max_validity_days=47)) == 47
    assert rules.default_days(lax, Rules(max_validity_days=70), 365) == 70
    assert rules.default_days(lax, None, 30) == 30
