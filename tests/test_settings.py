"""Settings: read once, every fault in one message, secrets by reference only (check 47)."""

import json
import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, SecretStr

from certrelay import setting_models, settings
from certrelay.connectors.base import ConnectorSettings
from certrelay.errors import SettingsError
from tests.world import TestCa

GOOD = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "CERTRELAY_VAULTS": '{"main": {"url": "https://contoso.vault.azure.net/"}}',
    "CERTRELAY_AUTHORITIES": json.dumps(
        {
            "corp": {
                "connector": "vault_pki",
                "url": "https://bao.contoso.example",
                "role": "web",
                "token": "@CORP_TOKEN",
                "rules": {"names": ["*.contoso.example"], "max_validity_days": 90},
            }
        }
    ),
    "CORP_TOKEN": "canary-7f3a",
}


def faults(**changes: str | None) -> str:
    environment = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(SettingsError) as refused:
        settings.load(environment)
    return str(refused.value)


def test_good_settings_are_read() -> None:
    found = settings.load(GOOD)
    assert found.vaults["main"].url == "https://contoso.vault.azure.net"
    assert found.authorities["corp"].settings.rules.max_validity_days == 90


def test_nothing_set_names_all_that_is_missing() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load({})
    assert [fault.split()[0] for fault in refused.value.faults] == [
        "CERTRELAY_VAULTS",
        "CERTRELAY_AUTHORITIES",
        "AzureWebJobsStorage",
    ]


def test_every_fault_is_named_at_once() -> None:
    authorities = {
        "corp": {"connector": "vault_pki", "url": 7, "colour": "red"},
        "other": {"connector": "no-such"},
        "Bad Name": {},
    }
    message = faults(
        CERTRELAY_VAULTS='{"main": {"url": "http://plain.example"}}',
        CERTRELAY_AUTHORITIES=json.dumps(authorities),
        CERTRELAY_RENEWAL_BATCH="many",
    )
    for part in ("main/url", "corp/url", "corp/colour", "other/connector", "Bad Name", "CERTRELAY_RENEWAL_BATCH"):
        assert part in message


def test_no_fault_of_an_authority_hides_another_one() -> None:
    corp = {
        "connector": "vault_pki", "url": 7, "colour": "red", "token": "canary-7f3a", "ca_bundle": "@GONE",
        "deadline_hours": -1, "rate": {"requests": 0, "seconds": 1}, "fallback": ["nobody", 7],
    }  # fmt: skip
    message = faults(
        CERTRELAY_AUTHORITIES=json.dumps({"corp": corp, "other": {"connector": "no-such", "concurrency": 0}}),
        CERTRELAY_NOTIFICATIONS=json.dumps({"ops": {"kind": "pager", "url": "@PLAIN"}}),
        PLAIN="http://canary-7f3a.example",
    )
    for part in (
        *(f"CERTRELAY_AUTHORITIES/corp/{name}:" for name in ("url", "colour", "token", "ca_bundle", "deadline_hours")),
        "CERTRELAY_AUTHORITIES/corp/rate/requests:", "CERTRELAY_AUTHORITIES/corp/fallback/0: there is no authority",
        "CERTRELAY_AUTHORITIES/corp/fallback/1:", "CERTRELAY_AUTHORITIES/other/connector:",
        "CERTRELAY_AUTHORITIES/other/concurrency:", "CERTRELAY_NOTIFICATIONS/ops/kind:",
        "CERTRELAY_NOTIFICATIONS/ops/url: must be an https address",
    ):  # fmt: skip
        assert part in message
    assert "canary" not in message


TWICE = [
    ("CERTRELAY_VAULTS", '{"main": {"url": "https://a.example"}, "main": {"url": "https://b.example"}}', "main"),
    ("CERTRELAY_AUTHORITIES", '{"corp": {"connector": "manual"}, "corp": {"connector": "manual"}}', "corp"),
    ("CERTRELAY_AUTHORITIES", '{"corp": {"connector": "manual", "rules": {"names": [], "names": ["x"]}}}', "names"),
    ("CERTRELAY_NOTIFICATIONS", '{"ops": {}, "ops": {"kind": "webhook", "url": "@CORP_TOKEN"}}', "ops"),
    ("CERTRELAY_GRANTS", '[{"principal": "Reader", "role": "Reader", "role": "Administrator"}]', "role"),
    ("CERTRELAY_ENDPOINTS", '[{"pattern": "a.example:443", "pattern": "b.example:443"}]', "pattern"),
]


@pytest.mark.parametrize(("setting", "text", "name"), TWICE)
def test_a_name_that_is_there_twice_is_refused_for_one_of_both_would_have_no_effect(
    setting: str, text: str, name: str
) -> None:
    assert f"{setting} has {name!r} twice in one object" in faults(**{setting: text})


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "9" * 5000, "\u0665"])
def test_a_batch_is_a_whole_number_whatever_is_written(text: str) -> None:
    assert "CERTRELAY_RENEWAL_BATCH must be a whole number" in faults(CERTRELAY_RENEWAL_BATCH=text)


PLAIN = [
    "http://contoso.example/x", "https://", "https:///x", "http://127.0.0.1:80@contoso.example/x", "http://127.0.0.1/x",
    "https://contoso.example:99999/x", "https://[::1/x", "//contoso.example", "https://contoso.example/x\ny",
]  # fmt: skip


@pytest.mark.parametrize("url", PLAIN)
def test_the_address_of_a_target_is_https_with_a_host(url: str) -> None:
    written = json.dumps({"ops": {"kind": "webhook", "url": "@CORP_TOKEN"}})
    message = faults(CERTRELAY_NOTIFICATIONS=written, CORP_TOKEN=url)
    assert "CERTRELAY_NOTIFICATIONS/ops/url: must be an https address" in message
    assert "contoso" not in message.replace("such as https://contoso.example/hook", "")


@pytest.mark.parametrize("rest", ["\n", ":abc", ":", " ", "/x", "?x", "#x", "\\"])
def test_the_address_of_a_vault_is_https_and_a_host_and_nothing_more(rest: str) -> None:
    message = faults(CERTRELAY_VAULTS=json.dumps({"main": {"url": f"https://contoso.vault.azure.net{rest}"}}))
    assert "CERTRELAY_VAULTS/main/url: must be https://HOST" in message


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "{}"])
def test_vaults_that_are_no_json_object_are_refused(text: str) -> None:
    assert "CERTRELAY_VAULTS" in faults(CERTRELAY_VAULTS=text)


def test_a_secret_written_into_the_json_is_refused_and_not_repeated() -> None:
    written = GOOD["CERTRELAY_AUTHORITIES"].replace("@CORP_TOKEN", "canary-7f3a")
    message = faults(CERTRELAY_AUTHORITIES=written)
    assert "corp/token: is a secret" in message
    assert "canary" not in message


def test_a_reference_to_a_missing_setting_is_named() -> None:
    assert "CORP_TOKEN" in faults(CORP_TOKEN=None)


def test_a_vault_that_allows_an_unknown_authority_is_refused() -> None:
    vaults = '{"main": {"url": "https://v.example", "authorities": ["corp", "gone"]}}'
    assert "no authority 'gone'" in faults(CERTRELAY_VAULTS=vaults)


def test_a_vault_may_allow_key_vaults_own_issuers_written_with_a_capital_letter() -> None:
    vaults = '{"main": {"url": "https://v.example", "authorities": ["corp", "Self", "DigiCert"]}}'
    found = settings.load({**GOOD, "CERTRELAY_VAULTS": vaults})
    assert found.vaults["main"].authorities == ("corp", "Self", "DigiCert")
    told = faults(CERTRELAY_VAULTS=vaults.replace("DigiCert", "digicert"))
    assert "no authority 'digicert'; issuers of Key Vault are written with a capital letter" in told


@pytest.mark.parametrize(
    ("fallback", "fault"),
    [
        (["gone"], "corp/fallback/0: there is no authority 'gone'; the settings have: broken, corp, other"),
        (["other", "corp"], "corp/fallback/1: an authority cannot be its own fall-back"),
        (["other", "other"], "corp/fallback/1: other is in the list already"),
        ("other", "corp/fallback"),
        ([7], "corp/fallback/0"),
    ],
)
def test_a_fall_back_that_cannot_be_asked_is_refused(fallback: object, fault: str) -> None:
    authorities = json.loads(GOOD["CERTRELAY_AUTHORITIES"])
    corp = authorities["corp"]
    authorities |= {"corp": {**corp, "fallback": fallback}, "other": {**corp, "fallback": ["corp", "broken"]}}
    message = faults(CERTRELAY_AUTHORITIES=json.dumps(authorities | {"broken": {"connector": "none"}}))
    assert fault in message
    assert "no authority 'broken'" not in message, "it has a fault of its own, and is there"
    good = {**authorities, "corp": {**corp, "fallback": ["other"]}, "other": {**corp, "fallback": ["corp"]}}
    found = settings.load({**GOOD, "CERTRELAY_AUTHORITIES": json.dumps(good)})
    assert found.authorities["corp"].settings.fallback == ("other",), "two may stand in for each other"


@pytest.mark.parametrize("pin", ["aa" * 20, "sha256/" + "A" * 43 + "=", "\u200e" + "aa" * 32, ""])
def test_a_pin_that_no_issuer_can_have_is_refused_before_anything_is_ordered(pin: str) -> None:
    """A thumbprint of Windows is SHA-1; with it every certificate would be issued and thrown away."""
    authorities = json.loads(GOOD["CERTRELAY_AUTHORITIES"])
    for good in ("aa" * 32, ":".join(["AA"] * 32)):
        authorities["corp"]["rules"] = {"issuer_pins": [good]}
        settings.load({**GOOD, "CERTRELAY_AUTHORITIES": json.dumps(authorities)})
    authorities["corp"]["rules"] = {"issuer_pins": [pin]}
    assert "corp/rules/issuer_pins/0" in faults(CERTRELAY_AUTHORITIES=json.dumps(authorities))


def test_a_vault_that_has_two_aliases_is_refused_for_each_would_renew_what_is_in_it() -> None:
    vaults = {
        "one": {"url": "https://v.example"},
        "two": {"url": "https://V.example/"},
        "three": {"url": "https://v.example:443"},
        "other": {"url": "https://x.example"},
    }
    message = faults(CERTRELAY_VAULTS=json.dumps(vaults))
    for alias in ("two", "three"):
        assert f"CERTRELAY_VAULTS/{alias}/url: the same vault is configured as one already" in message
    assert message.count("CERTRELAY_VAULTS") == 2


def test_a_secret_is_in_no_representation_of_the_settings() -> None:
    found = settings.load(GOOD)
    assert "canary" not in repr(found.authorities)


def test_storage_by_identity_is_enough() -> None:
    environment = {**GOOD, "AzureWebJobsStorage__accountName": "contoso"}
    del environment["AzureWebJobsStorage"]
    assert settings.load(environment).storage == {"AzureWebJobsStorage__accountName": "contoso"}


def test_the_sample_file_loads_and_names_every_setting() -> None:
    values = json.loads(Path("local.settings.sample.json").read_text())["Values"]
    settings.load(values)
    source = Path("certrelay/settings.py").read_text() + Path("handlers/schedule.py").read_text()
    assert set(re.findall(r"CERTRELAY_[A-Z_]+[A-Z]", source)) <= values.keys()


def test_the_page_on_authorities_names_every_rule() -> None:
    page = Path("docs/connectors.md").read_text()
    assert [name for name in setting_models.Rules.model_fields if f"`{name}`" not in page] == []


class Nested(BaseModel):
    pin: Annotated[SecretStr, Field(min_length=1)] | None = None


class SecretiveSettings(ConnectorSettings):
    login: Nested | None = None
    keys: Annotated[SecretStr | None, Field()] = None
    pins: list[SecretStr] | None = None
    logins: dict[str, Nested] | None = None
    backups: tuple[Nested, ...] = ()


class Secretive(TestCa):
    Settings = SecretiveSettings


def test_a_secret_is_found_wherever_a_connector_hides_it() -> None:
    hidden = {
        "login": {"pin": "canary-1"},
        "keys": "canary-2",
        "pins": ["@CORP_TOKEN", "canary-3"],
        "logins": {"a": {"pin": "canary-4"}},
        "backups": [{"pin": "canary-5"}],
    }
    written = {"connector": "tests.test_settings:Secretive", **hidden}
    message = faults(CERTRELAY_AUTHORITIES=json.dumps({"corp": written}))
    places = re.findall(r"CERTRELAY_AUTHORITIES/corp/(\S+): is a secret", message)
    assert places == ["login/pin", "keys", "pins/1", "logins/a/pin", "backups/0/pin"]
    assert "canary" not in message


@pytest.mark.parametrize(("secret", "good"), [("whsec_bm90IHNv", True), ("any text", True), ("whsec_bm90IHN", False)])
def test_a_signing_secret_that_is_cut_off_is_refused_before_a_notification_is_lost(secret: str, good: bool) -> None:
    target = {"ops": {"kind": "webhook", "url": "@OPS_URL", "secret": "@OPS_SECRET"}}
    written = {"CERTRELAY_NOTIFICATIONS": json.dumps(target), "OPS_URL": "https://ops.example/", "OPS_SECRET": secret}
    if good:
        assert settings.load({**GOOD, **written}).notifications["ops"].secret is not None
        return
    told = faults(**written)
    assert "CERTRELAY_NOTIFICATIONS/ops/secret: " in told
    assert "must be base64 after whsec_" in told
    assert "bm90" not in told


def test_app_service_authentication_is_believed_only_where_the_platform_says_that_it_is_on() -> None:
    """With it off, anybody can forge the header that identifies the caller."""
    wanted = {**GOOD, "CERTRELAY_APP_SERVICE_AUTHENTICATION": "true"}
    for said in ({}, {"WEBSITE_AUTH_ENABLED": "False"}, {"WEBSITE_AUTH_ENABLED": ""}):
        with pytest.raises(SettingsError, match="WEBSITE_AUTH_ENABLED is not true"):
            settings.load({**wanted, **said})
    assert settings.load({**wanted, "WEBSITE_AUTH_ENABLED": "True"}).app_service_authentication


def test_the_role_of_function_keys_is_one_of_four() -> None:
    assert settings.load(GOOD).function_key_role == "Administrator"
    assert settings.load({**GOOD, "CERTRELAY_FUNCTION_KEY_ROLE": "Reader"}).function_key_role == "Reader"
    with pytest.raises(SettingsError, match="CERTRELAY_FUNCTION_KEY_ROLE must be one of Reader, Requester"):
        settings.load({**GOOD, "CERTRELAY_FUNCTION_KEY_ROLE": "reader"})


def test_a_mistyped_setting_is_refused_and_the_right_one_named() -> None:
    assert "CERTRELAY_RENEWAL_BACH is not a setting; did you mean CERTRELAY_RENEWAL_BATCH?" in faults(
        CERTRELAY_RENEWAL_BACH="5"
    )


@pytest.mark.parametrize("name", ["CORP_TOKEN", "CERTRELAY_VAULTS", "AzureWebJobsStorage"])
def test_a_reference_that_app_service_could_not_resolve_is_refused_with_what_to_do(name: str) -> None:
    text = faults(**{name: "@Microsoft.KeyVault(SecretUri=https://contoso.vault.azure.net/secrets/x)"})
    assert f"{name} is a Key Vault reference that App Service could not resolve" in text
    assert "Key Vault Secrets User" in text


def granting(*grants: object) -> dict[str, str]:
    return {"CERTRELAY_GRANTS": json.dumps(grants)}


TEAM = {"principal": "1F0A7A0E-5f43-4c1e-9b61-0d5a3a2f9c11", "role": "Requester", "vaults": ["main"]}


def test_grants_are_optional_and_read_in_order() -> None:
    assert settings.load(GOOD).grants is None
    assert settings.load({**GOOD, "CERTRELAY_GRANTS": "  "}).grants is None
    found = settings.load({**GOOD, **granting(TEAM, {"principal": "Operator", "role": "Reader"})}).grants
    assert found is not None
    assert [(grant.role, grant.vaults, grant.subjects) for grant in found] == [
        ("Requester", ("main",), ()),
        ("Reader", (), ()),
    ]


def test_every_fault_of_the_grants_is_named_at_once() -> None:
    message = faults(
        **granting(
            {**TEAM, "vaults": ["gone"]},
            {**TEAM, "role": "Owner"},
            {**TEAM, "colour": "red"},
            {**TEAM, "principal": "alice@contoso.example"},
            {**TEAM, "certificates": ["a.b"]},
            {**TEAM, "subjects": []},
            {**TEAM, "authorities": [""]},
            {"role": "Reader"},
            {**TEAM, "authorities": ["Self", "digicert"]},
            7,
        )
    )
    for part in (
        "CERTRELAY_GRANTS/0/vaults: there is no vault 'gone'",
        "CERTRELAY_GRANTS/1/role",
        "CERTRELAY_GRANTS/2/colour",
        "CERTRELAY_GRANTS/3/principal",
        "(a GUID), or one of Reader, Requester, Operator, Administrator",
        "CERTRELAY_GRANTS/4/certificates/0",
        "CERTRELAY_GRANTS/5/subjects",
        "must not be empty; leave it out to allow everything",
        "CERTRELAY_GRANTS/6/authorities",
        "CERTRELAY_GRANTS/7/principal",
        "CERTRELAY_GRANTS/8/authorities: there is no authority 'digicert'; issuers of Key Vault are written",
        "CERTRELAY_GRANTS/8",
    ):
        assert part in message


@pytest.mark.parametrize("text", ["{", "{}", "[]", "null", "7", "[" * 5000, "@Microsoft.KeyVault(SecretUri=x)"])
def test_grants_that_are_no_list_stop_the_start_instead_of_leaving_everything_open(text: str) -> None:
    assert "CERTRELAY_GRANTS" in faults(CERTRELAY_GRANTS=text)


def test_endpoints_are_off_by_default_and_every_pattern_and_network_is_checked() -> None:
    assert settings.load(GOOD).endpoints == ()
    wrong = [{"pattern": "*:443"}, {"pattern": "a.example:443", "networks": ["0.0.0.0/0"]}, {"networks": []}, "a:1"]
    message = faults(CERTRELAY_ENDPOINTS=json.dumps(wrong))
    for place in ("0/pattern", "1/networks/0", "2/pattern", "3"):
        assert f"CERTRELAY_ENDPOINTS/{place}" in message
