"""Who calls, read from what App Service authentication says, and which grants apply to it."""

import base64
import json
from types import SimpleNamespace

import azure.functions as func
import pytest

from certrelay.callers import FUNCTION_KEY, Caller, Role
from certrelay.setting_models import Grant
from handlers import roles

OID, APP, GROUP = (f"{number:08}-abcd-4000-8000-000000000000" for number in (1, 2, 3))
GRANTS = (
    Grant(principal=OID, role="Requester"),
    Grant(principal=APP, role="Reader"),
    Grant(principal=GROUP.upper(), role="Operator"),
    Grant(principal="Requester", role="Reader", vaults=("other",)),
)


def asked(monkeypatch: pytest.MonkeyPatch, header: str | None, **settings: object) -> Caller:
    on = {"app_service_authentication": True, "grants": None, "function_key_role": "Reader", **settings}
    monkeypatch.setattr(roles, "settings", lambda: SimpleNamespace(**on))
    headers = {} if header is None else {"X-MS-CLIENT-PRINCIPAL": header}
    return roles.caller_of(func.HttpRequest("GET", "http://x/", headers=headers, body=b""))


def principal(*claims: tuple[str, str], **said: object) -> str:
    written = {"auth_typ": "aad", "claims": [{"typ": kind, "val": value} for kind, value in claims], **said}
    return base64.b64encode(json.dumps(written).encode()).decode()


def called(monkeypatch: pytest.MonkeyPatch, *claims: tuple[str, str], grants: object = GRANTS) -> Caller:
    return asked(monkeypatch, principal(*claims), grants=grants)


MAPPED_SUBJECT = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"
MAPPED_OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
MAPPED_SCOPE = "http://schemas.microsoft.com/identity/claims/scope"


@pytest.mark.parametrize(
    ("claims", "ids"),
    [
        ([("oid", OID)], (OID,)),
        ([(MAPPED_OID, OID.upper())], (OID,)),
        ([("oid", OID), ("azp", APP)], (OID,)),
        ([("oid", OID), ("azp", APP), ("sub", "pairwise")], (OID,)),
        ([("oid", OID), ("azp", APP), ("sub", OID)], (OID, APP)),
        ([(MAPPED_OID, OID), ("appid", APP), (MAPPED_SUBJECT, OID)], (OID, APP)),
        ([("oid", OID), ("appid", APP), ("idtyp", "app")], (OID, APP)),
        ([("appid", APP), ("idtyp", "app")], (APP,)),
        ([("oid", OID), ("azp", APP), ("sub", OID), ("scp", "user_impersonation")], (OID,)),
        ([("oid", OID), ("azp", APP), ("idtyp", "app"), (MAPPED_SCOPE, "x")], (OID,)),
        ([("oid", OID), ("azp", APP), ("idtyp", "user")], (OID,)),
        ([("azp", APP)], ()),
        ([("oid", "a\nb")], ()),
        ([("oid", "")], ()),
        ([("oid", OID), ("oid", GROUP)], (OID,)),
        ([("oid", GROUP), (MAPPED_OID, OID)], (OID,)),
        ([("oid", OID), ("idtyp", "app"), ("azp", APP), ("appid", GROUP)], (OID, APP)),
        ([("oid", OID), ("appid", OID.upper()), ("idtyp", "app")], (OID,)),
    ],
)
def test_a_person_is_its_object_id_and_a_service_its_application_id_too(
    monkeypatch: pytest.MonkeyPatch, claims: list[tuple[str, str]], ids: tuple[str, ...]
) -> None:
    assert called(monkeypatch, *claims).ids == ids


ADA = "ada@contoso.example"
MAPPED = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        ([("preferred_username", ADA), ("name", "Ada Lovelace")], ADA),
        ([("name", "Ada Lovelace"), ("preferred_username", ADA)], ADA),
        ([("upn", ADA)], ADA),
        ([(f"{MAPPED}upn", ADA)], ADA),
        ([("unique_name", ADA)], ADA),
        ([(f"{MAPPED}name", "Ada Lovelace")], "Ada Lovelace"),
        ([("name", "Ada Lovelace"), ("azp", APP)], "Ada Lovelace"),
        ([], ""),
        ([("azp", APP)], ""),
        ([("azp", APP), ("sub", OID), ("idtyp", "app")], APP),
        ([("azp", APP), ("sub", OID), ("idtyp", "app"), ("app_displayname", "deploy")], "deploy"),
        ([("preferred_username", " \n\t"), ("upn", ADA)], ADA),
        ([("preferred_username", "a" * 5000)], "a" * 100),
        ([("preferred_username", "ada\u202egpj\x1b[31m\x00\n@contoso.example")], "adagpj[31m@contoso.example"),
        ([("preferred_username", "\ud800ada")], "ada"),
        ([("preferred_username", "<script>alert(1)</script>")], "<script>alert(1)</script>"),
    ],
)
def test_a_caller_is_shown_by_name_in_one_bounded_line(
    monkeypatch: pytest.MonkeyPatch, claims: list[tuple[str, str]], shown: str
) -> None:
    caller = called(monkeypatch, ("oid", OID), *claims)
    assert (caller.display_name, caller.name) == (shown, OID)


def test_a_name_that_is_shown_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is called like a principal of a grant, or like an owner, has none of its rights."""
    for claim in roles.NAMES:
        for name in (APP, GROUP, "Requester", "CertRelay.Operator", FUNCTION_KEY):
            caller = called(monkeypatch, ("oid", "x"), (claim, name))
            assert (caller.display_name, caller.ids, caller.role, caller.grants) == (name, ("x",), None, ())


@pytest.mark.parametrize(
    ("claims", "numbers"),
    [
        ([("oid", "x")], []),
        ([("oid", OID.upper())], [0]),
        ([("oid", "x"), ("azp", APP)], []),
        ([("oid", "x"), ("groups", GROUP.upper())], [2]),
        ([("oid", "x"), ("roles", "CertRelay.Requester")], [3]),
        ([("oid", "x"), ("roles", "CertRelay.Administrator")], [3]),
        ([("oid", "x"), ("roles", "CertRelay.Reader")], []),
        ([("oid", "x"), ("roles", "Requester")], []),
        ([("oid", "x"), ("groups", "Requester")], []),
        ([("oid", OID), ("groups", GROUP), ("roles", "CertRelay.Operator")], [0, 2, 3]),
    ],
)
def test_a_grant_applies_by_id_by_group_and_by_role(
    monkeypatch: pytest.MonkeyPatch, claims: list[tuple[str, str]], numbers: list[int]
) -> None:
    caller = called(monkeypatch, *claims)
    assert caller.grants == tuple(GRANTS[number] for number in numbers)
    assert caller.by_grants


def test_without_grants_in_the_settings_the_role_reaches_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = called(monkeypatch, ("oid", OID), ("roles", "CertRelay.Operator"), grants=None)
    assert caller.grants == (Grant(principal="Operator", role="Operator"),)
    assert not caller.by_grants
    assert called(monkeypatch, ("oid", OID), grants=None).grants == ()


@pytest.mark.parametrize("kind", roles.GROUPS_LEFT_OUT)
def test_groups_that_entra_id_left_out_are_noticed(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    assert called(monkeypatch, ("oid", OID), (kind, "x")).groups_left_out
    assert not called(monkeypatch, ("oid", OID), ("groups", GROUP)).groups_left_out


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "no base64",
        "!" + principal(("oid", OID)),
        principal(("oid", OID), auth_typ="github"),
        principal(("oid", OID), auth_typ=None),
        principal(claims="x"),
        principal(claims=[{"typ": "oid"}]),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"7").decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"[" * 100_000).decode(),
    ],
)
def test_a_principal_that_names_nobody_or_cannot_be_read_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, header: str | None
) -> None:
    with pytest.raises(roles.NotAuthenticated, match="cannot be read" if header else "names no caller"):
        asked(monkeypatch, header)


def test_without_app_service_authentication_the_header_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = principal(("oid", OID), ("roles", "CertRelay.Administrator"))
    for header in (None, forged, "no base64"):
        caller = asked(monkeypatch, header, app_service_authentication=False, function_key_role="Operator")
        assert (caller.name, caller.role, caller.ids) == (FUNCTION_KEY, Role.OPERATOR, (FUNCTION_KEY,))


@pytest.mark.parametrize(
    ("claims", "said", "role"),
    [
        ([("roles", "CertRelay.Reader")], {}, Role.READER),
        ([("roles", "CertRelay.Reader"), ("roles", "CertRelay.Operator")], {}, Role.OPERATOR),
        ([("roles", "certrelay.administrator")], {}, None),
        ([("groups", "CertRelay.Administrator")], {}, None),
        ([("http://x/role", "CertRelay.Operator")], {"role_typ": "http://x/role"}, Role.OPERATOR),
        ([("http://x/role", "CertRelay.Operator")], {}, None),
        ([("roles", "CertRelay.Operator")], {"role_typ": "http://x/role"}, Role.OPERATOR),
        ([("roles", "CertRelay.Operator")], {"role_typ": ""}, Role.OPERATOR),
        ([], {}, None),
    ],
)
def test_the_highest_role_counts_and_only_as_the_token_says_it(
    monkeypatch: pytest.MonkeyPatch, claims: list[tuple[str, str]], said: dict[str, str], role: Role | None
) -> None:
    assert asked(monkeypatch, principal(("oid", OID), *claims, **said)).role is role


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ([("azp", APP), ("oid", OID)], OID),
        ([("azp", APP)], APP),
        ([("oid", "a\nb")], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_history_names_the_object_id_or_else_the_application_id(
    monkeypatch: pytest.MonkeyPatch, claims: list[tuple[str, str]], name: str
) -> None:
    assert called(monkeypatch, *claims).name == name


def test_an_empty_list_of_grants_grants_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = called(monkeypatch, ("oid", OID), ("roles", "CertRelay.Administrator"), grants=())
    assert (caller.by_grants, caller.grants) == (True, ())
