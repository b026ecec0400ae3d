"""What grants reach, and what they do not add up to; no vault and no storage is needed."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from certrelay.access import grants
from certrelay.access.grants import Wanted
from certrelay.callers import FUNCTION_KEY, Caller, Role
from certrelay.errors import NotPermitted
from certrelay.pki.subject import SubjectNames
from certrelay.services import Services
from certrelay.setting_models import Grant, Settings, VaultSettings
from certrelay.storage.operation import CertificateRequest
from tests.pki.builders import Authority, dns, ec_key, subject

READER, REQUESTER, OPERATOR, ADMINISTRATOR = Role
VAULTS = {alias: VaultSettings(url=f"https://{alias}.vault.azure.net") for alias in ("main", "other")}


def grant(role: Role = OPERATOR, **limits: Any) -> Grant:
    return Grant(principal="Reader", role=role.title, **limits)


def caller(*given: Grant, **changes: Any) -> Caller:
    return replace(Caller("alice", None, ("alice",), by_grants=True, grants=given), **changes)


def acting(*given: Grant) -> Services:
    settings, unused = Settings(VAULTS, {}, {}, {}, 10, True, "Reader"), None
    return Services(settings, unused, unused, unused, unused, caller=caller(*given))  # type: ignore[arg-type]


SHOP: dict[str, Any] = {"certificates": ("shop-*",)}
MAIN: dict[str, Any] = {"vaults": ("main",)}
CORP: dict[str, Any] = {"authorities": ("corp",)}
NAMES: dict[str, Any] = {"subjects": ("*.contoso.example",)}


@pytest.mark.parametrize(
    ("given", "role", "vault", "name", "authority", "reached"),
    [
        (grant(), OPERATOR, "main", "www", None, True),
        (grant(), READER, None, None, None, True),
        (grant(), ADMINISTRATOR, "main", None, None, False),
        (grant(ADMINISTRATOR), ADMINISTRATOR, None, None, "corp", True),
        (grant(**SHOP), OPERATOR, "main", "shop-1", None, True),
        (grant(**SHOP), OPERATOR, "main", "www", None, False),
        (grant(**SHOP), OPERATOR, "main", None, None, True),
        (grant(**MAIN), OPERATOR, "other", None, None, False),
        (grant(**MAIN), OPERATOR, None, None, None, True),
        (grant(**CORP), OPERATOR, "main", "www", None, True),
        (grant(**CORP), OPERATOR, "main", None, "CORP", True),
        (grant(**CORP), OPERATOR, "main", None, "other", False),
        (grant(ADMINISTRATOR, **MAIN), ADMINISTRATOR, "main", None, None, True),
        (grant(ADMINISTRATOR, **MAIN), ADMINISTRATOR, "main", None, "corp", True),
        (grant(ADMINISTRATOR, **MAIN), ADMINISTRATOR, None, None, "corp", False),
        (grant(ADMINISTRATOR, **MAIN), ADMINISTRATOR, None, None, None, True),
        (grant(ADMINISTRATOR, **MAIN), OPERATOR, None, None, "corp", True),
        (grant(ADMINISTRATOR, **SHOP), ADMINISTRATOR, "main", "shop-1", None, False),
        (grant(ADMINISTRATOR, **NAMES), ADMINISTRATOR, "main", "www", None, False),
        (grant(ADMINISTRATOR, **NAMES), OPERATOR, "main", "www", None, True),
    ],
)
def test_a_grant_reaches_what_the_path_of_a_request_names(
    given: Grant, role: Role, vault: str | None, name: str | None, authority: str | None, reached: bool
) -> None:
    for others in ((), (grant(READER, certificates=("other-*",)),)):
        if reached:
            grants.require(caller(*others, given), role, vault, name, authority)
        else:
            with pytest.raises(NotPermitted, match=f"no grant of yours has the role {role.title} for"):
                grants.require(caller(*others, given), role, vault, name, authority)


def test_lists_show_what_some_grant_reaches_and_the_app_itself_sees_everything() -> None:
    services, app = acting(grant(**SHOP, **MAIN, **CORP)), replace(acting(), caller=None)
    seen = [grants.may(services, READER, vault, name) for vault in VAULTS for name in ("shop-1", "www", None)]
    assert seen == [True, False, True, False, False, False]
    assert not grants.may(services, ADMINISTRATOR, "main")
    used = [
        grants.may_use(services, vault, authority) for vault in ("main", "other", None) for authority in ("corp", "x")
    ]
    assert used == [True, False, False, False, True, False]
    assert grants.may(app, ADMINISTRATOR, "main", "www")
    assert grants.may_use(app, None, "x")
    both = caller(grant(READER), grant(OPERATOR, **MAIN))
    assert [grants.highest_role(both, vault) for vault in VAULTS] == [OPERATOR, READER]
    assert grants.highest_role(caller(), "main") is None


@pytest.mark.parametrize(
    ("given", "vaults", "authority", "allowed"),
    [
        ([grant()], [], None, True),
        ([grant(REQUESTER)], [], None, False),
        ([grant(**SHOP)], ["main"], None, False),
        ([grant(**NAMES)], ["main"], None, False),
        ([grant(**MAIN)], ["main"], None, True),
        ([grant(**MAIN)], ["main", "other"], None, False),
        ([grant(**MAIN)], [], None, False),
        ([grant(**MAIN), grant(vaults=("other",))], [], None, False),
        ([grant(vaults=("other", "main"))], [], None, True),
        ([grant(**CORP)], [], None, False),
        ([grant(**CORP)], [], "corp", True),
        ([grant(**CORP)], [], "x", False),
        ([grant()], [], "corp", True),
        ([grant(**SHOP), grant(**MAIN)], ["main"], None, True),
    ],
)
def test_what_is_for_all_certificates_needs_one_grant_for_all_of_them(
    given: list[Grant], vaults: list[str], authority: str | None, allowed: bool
) -> None:
    services = acting(*given)
    if allowed:
        grants.require_everything(services, OPERATOR, vaults, authority)
    else:
        where = f"in {', '.join(vaults) or 'main, other'}" + (f" of authority {authority}" if authority else "")
        known = {alias for one in given for alias in one.vaults or VAULTS}
        if not known.issuperset(vaults or VAULTS):
            where = "in all vaults that this is about"  # one of them is hidden from the caller
        with pytest.raises(NotPermitted, match=f"has the role Operator for all certificates {where}$"):
            grants.require_everything(services, OPERATOR, vaults, authority)
    grants.require_everything(replace(services, caller=None), ADMINISTRATOR, vaults, authority)


WWW = Wanted("corp", True, SubjectNames("www.contoso.example", ("www.contoso.example",)))
OWN = replace(WWW, authority="UNKNOWN", managed=False)


@pytest.mark.parametrize(
    ("limits", "wanted", "refused"),
    [
        ({}, WWW, ""),
        (NAMES, WWW, ""),
        (NAMES, replace(WWW, more_names=("www.bank.example",)), "the name www.bank.example"),
        (NAMES, replace(WWW, unknown_names=("registeredID 1.2",)), "the name registeredID 1.2"),
        (NAMES, replace(WWW, names=SubjectNames()), "a certificate without any name"),
        (
            NAMES,
            replace(WWW, names=SubjectNames(), unknown_names=("registeredID 1.2",)),
            "allow the name registeredID 1.2$",
        ),
        (NAMES, replace(WWW, names=SubjectNames(), more_names=("a.contoso.example",)), ""),
        ({}, replace(WWW, names=SubjectNames()), ""),
        (CORP, WWW, ""),
        (CORP, replace(WWW, authority="other"), "authority other"),
        (CORP, replace(WWW, authority="Self", managed=False), "authority Self"),
        (CORP, OWN, ""),
        (CORP, replace(OWN, managed=True), "authority UNKNOWN"),
        (SHOP, WWW, "no grant of yours has the role Requester for certificate www in vault main"),
        (MAIN, WWW, ""),
    ],
)
def test_a_version_is_by_an_authority_and_with_names_that_one_grant_allows(
    limits: dict[str, Any], wanted: Wanted, refused: str
) -> None:
    services = acting(grant(REQUESTER, **limits))
    if refused:
        with pytest.raises(NotPermitted, match=refused):
            grants.role_for(services, "main", "www", wanted)
    else:
        assert grants.role_for(services, "main", "www", wanted) is REQUESTER
    assert grants.role_for(replace(services, caller=None), "main", "www", wanted) is ADMINISTRATOR


def test_the_highest_role_of_the_grants_that_allow_it_counts() -> None:
    services = acting(grant(REQUESTER), grant(OPERATOR, **NAMES), grant(ADMINISTRATOR, **SHOP), grant(READER))
    elsewhere = replace(WWW, names=SubjectNames("www.bank.example"))
    assert grants.role_for(services, "main", "www", WWW) is OPERATOR
    assert grants.role_for(services, "main", "shop-1", WWW) is ADMINISTRATOR
    assert grants.role_for(services, "main", "www", elsewhere) is REQUESTER
    grants.require_request(services, OPERATOR, "main", "www", WWW)
    with pytest.raises(NotPermitted, match="has the role Operator for certificate www in vault main with these names"):
        grants.require_request(services, OPERATOR, "main", "www", elsewhere)
    grants.require_request(replace(services, caller=None), ADMINISTRATOR, "main", "www", elsewhere)
    with pytest.raises(NotPermitted, match="no grant of yours"):
        grants.role_for(acting(grant(READER)), "main", "www", WWW)
    near = acting(grant(**NAMES, **CORP), grant(**NAMES))
    with pytest.raises(NotPermitted, match=r"do not allow the name www\.bank\.example$"):
        grants.role_for(near, "main", "www", replace(elsewhere, authority="x"))


@pytest.mark.parametrize(
    ("who", "text"),
    [
        (caller(), "no grant of yours has the role Operator for vault main$"),
        (caller(groups_left_out=True), "vault main; your token names no groups, since you are in too many"),
        (Caller(FUNCTION_KEY, READER), "function keys have the role Reader here; Operator is needed"),
        (Caller("alice", REQUESTER), "the application role CertRelay.Operator is needed; you have Requester"),
        (Caller("alice", None), "the application role CertRelay.Operator is needed; you have no role"),
    ],
)
def test_a_refusal_says_which_role_is_missing_and_how_to_get_it(who: Caller, text: str) -> None:
    with pytest.raises(NotPermitted, match=text):
        grants.require(who, OPERATOR, "main")


def test_what_is_wanted_counts_every_name_wherever_it_stands() -> None:
    mail = {"x509_props": {"subject": "CN=www.contoso.example, E=a@bank.example"}}
    by_policy = grants.wanted_of_policy("corp", True, mail, SubjectNames(email_addresses=("b@contoso.example",)))
    assert by_policy.names.email_addresses == ("b@contoso.example", "a@bank.example")
    assert grants.wanted_of_policy("corp", True, {}, SubjectNames()) == Wanted("corp", True, SubjectNames())
    name = x509.Name([*subject("www.contoso.example", email_address="a@bank.example"), *subject("b.example")])
    sans = x509.SubjectAlternativeName([*dns("www.contoso.example"), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))])
    found = grants.wanted_in(Authority.root().sign(ec_key().public_key(), name, extensions=[sans]), "Self")
    assert (found.authority, found.managed) == ("Self", False)
    assert found.names.dns_names == ("www.contoso.example",)
    assert found.names.email_addresses == ("a@bank.example",)
    assert {found.names.common_name, *found.more_names} == {"www.contoso.example", "b.example"}
    assert found.unknown_names == ("registeredID 1.2.3",)


def test_a_request_is_by_its_authority_or_by_the_issuer_of_its_policy() -> None:
    asked = {"key_props": {"kty": "EC"}, "x509_props": {"subject": "CN=a"}, "issuer": {"name": "Self"}}
    assert grants.wanted_by(CertificateRequest(asked)).authority == "Self"
    assert not grants.wanted_by(CertificateRequest(asked)).managed
    by_corp = grants.wanted_by(CertificateRequest({**asked, "issuer": {"name": "Unknown"}}, "corp"))
    assert (by_corp.authority, by_corp.managed) == ("corp", True)
