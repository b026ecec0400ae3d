"""Who calls, read from what App Service authentication says, and which grants apply to it."""

import base64
import json

import azure.functions as func
import pytest

from certrelay.callers import Caller
from certrelay.setting_models import Grant
from handlers import roles

OID, APP, GROUP = (f"{number:08}-0000-4000-8000-000000000000" for number in (1, 2, 3))
GRANTS = (
    Grant(principal=OID, role="Requester"),
    Grant(principal=APP, role="Reader"),
    Grant(principal=GROUP, role="Operator"),
    Grant(principal="Requester", role="Reader", vaults=("other",)),
)


def called(monkeypatch: pytest.MonkeyPatch, *claims: tuple[str, str], grants: object = GRANTS) -> Caller:
    on = type("Settings", (), {"app_service_authentication": True, "grants": grants})
    monkeypatch.setattr(roles, "settings", lambda: on)
    said = {"auth_typ": "aad", "claims": [{"typ": kind, "val": value} for kind, value in claims]}
    header = base64.b64encode(json.dumps(said).encode()).decode()
    return roles.caller_of(func.HttpRequest("GET", "http://x/", headers={"X-MS-CLIENT-PRINCIPAL": header}, body=b""))


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
    ],
)
def test_a_person_is_its_object_id_and_a_service_its_application_id_too(
    monkeypatch: pytest.MonkeyPatch, claims: list[tuple[str, str]], ids: tuple[str, ...]
) -> None:
    assert called(monkeypatch, *claims).ids == ids


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
