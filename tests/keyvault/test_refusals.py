"""Key Vault's 403 is about the app: 503 that names the missing right, and no id of the app."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from certrelay.certificates import edit, issuers, read
from certrelay.errors import NotAllowedNow, VaultForbidden
from certrelay.keyvault.refusals import data_action, forbidden
from certrelay.operations.submit import Origin
from certrelay.renewal import renew, replacement_run, replacements
from certrelay.renewal.replacements import Criteria
from certrelay.storage.operation import State
from sandbox.identity import SYSTEM_ASSIGNED, object_id
from sandbox.vault.routes import ROUTES
from tests.world import ALIAS, World, create, made

URL = "https://contoso.vault.azure.net"


@pytest.fixture
def denied(lonely_world: World) -> Iterator[World]:
    yield lonely_world
    lonely_world.server.identities.permissions[SYSTEM_ASSIGNED] = None


def permit(world: World, *permissions: str) -> None:
    world.server.identities.permissions[SYSTEM_ASSIGNED] = {"certificates": list(permissions)}


def told_by(call: Any) -> VaultForbidden:
    with pytest.raises(VaultForbidden) as refused:
        call()
    text = str(refused.value)
    assert SYSTEM_ASSIGNED not in text
    assert object_id(SYSTEM_ASSIGNED) not in text
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-|appid|oid=|iss=", text)
    assert "Key Vault Certificates Officer" in text
    return refused.value


def test_every_request_that_key_vault_refuses_the_app_is_a_503_that_names_the_right(denied: World) -> None:
    world, name = denied, denied.name()
    made(world, name)
    permit(world)
    services, vault = world.services, world.vault
    calls: dict[str, list[Callable[[], object]]] = {
        "certificates/read": [
            lambda: read.bundle(services, ALIAS, name),
            lambda: read.certificates(services, ALIAS, read.Filters(), 5, None),
            lambda: read.csr(services, ALIAS, name),
            lambda: renew.renew(services, ALIAS, name, Origin(requested_by="test")),
            lambda: issuers.deleted(services, ALIAS),
            lambda: vault.pending(name),
        ],
        "certificates/create/action": [
            lambda: vault.create(name, {}, {}, enabled=True),
            lambda: vault.merge(name, (b"0",), {}, enabled=True),
        ],
        "certificates/import/action": [lambda: vault.import_certificate(name, {"value": ""})],
        "certificates/update/action": [
            lambda: vault.call("PATCH", f"/certificates/{name}", {}),
            lambda: vault.cancel(name, "x"),
            lambda: vault.delete_pending(name, "x"),
        ],
        "certificates/delete": [lambda: edit.delete(services, ALIAS, name)],
        "certificates/recover/action": [lambda: edit.recover(services, ALIAS, name)],
        "certificatecas/read": [lambda: issuers.issuers(services, ALIAS)],
        "certificatecas/write": [lambda: issuers.issuer(services, ALIAS, "digicert", "PUT", {"provider": "DigiCert"})],
        "certificatecas/delete": [lambda: issuers.issuer(services, ALIAS, "digicert", "DELETE")],
        "certificatecontacts/write": [lambda: issuers.contacts(services, ALIAS, "GET")],
    }
    for action, asked in calls.items():
        for call in asked:
            assert f"Microsoft.KeyVault/vaults/{action} " in str(told_by(call)), action


def test_every_certificate_operation_of_key_vault_has_its_data_action() -> None:
    unknown = [
        route.operation
        for route in ROUTES
        if route.path[0] in ("certificates", "deletedcertificates")
        and not data_action(route.method, "/" + "/".join(part.strip("{}") for part in route.path))
    ]
    assert unknown == ["BackupCertificate", "RestoreCertificate", "PurgeDeletedCertificate"], (
        "the app calls none of these"
    )


def test_the_state_of_a_certificate_is_a_conflict_and_no_missing_role() -> None:
    request = ("PATCH", "/certificates/www/pending")
    for inner, text in [
        ("", "Pending status must be in progress to allow update."),
        ("", "Merge is forbidden on pending object created with issuer : x while it is in progess."),
        ("SecretDisabled", "Operation get is not allowed on a disabled secret."),
        ("KeyOperationForbidden", "Operation sign is not permitted on this key."),
    ]:
        refusal = forbidden(URL, request, inner, text)
        assert isinstance(refusal, NotAllowedNow), text
        assert str(refusal) == text


@pytest.mark.parametrize(
    ("inner", "text", "expected"),
    [
        (
            "ForbiddenByRbac",
            "Caller is not authorized to perform action on resource.\r\nCaller: appid=1;oid=2",
            "update",
        ),
        ("ForbiddenByPolicy", "The user, group or application 'appid=1;oid=2' does not have …", "update"),
        ("ForbiddenByPolicy", "… does not have certificates get permission on a pending or disabled thing", "update"),
        ("AccessDeniedByRbac", "whatever", "update"),
        ("", "Key Vault answered 403", "update"),  # a proxy's own page
        (
            "ForbiddenByFirewall",
            "Client address is not authorized and caller is not a trusted service: 10.1.2.3",
            "network",
        ),
        ("ForbiddenByConnection", "Connection is not an approved private link", "network"),
    ],
)
def test_whatever_else_key_vault_says_the_sentence_is_ours(inner: str, text: str, expected: str) -> None:
    refusal = forbidden(URL, ("PATCH", "/certificates/www"), inner, text)
    assert isinstance(refusal, VaultForbidden)
    assert expected in str(refusal)
    assert "appid" not in str(refusal)
    assert "10.1.2.3" not in str(refusal)


def test_an_operation_waits_for_the_role_and_goes_on_when_it_is_there(denied: World) -> None:
    world, name = denied, denied.name()
    permit(world, "get", "list")
    create(world, name)
    world.advance(name)
    waiting = world.services.storage.open(ALIAS, name)
    assert waiting is not None
    assert waiting.failure is not None
    assert waiting.failure.code == "VaultForbidden"
    assert "certificates/create/action" in waiting.failure.message
    assert waiting.state is State.REQUESTED
    permit(world, "get", "list", "create")
    assert world.finish(name).state is State.COMPLETED


def test_a_replacement_waits_for_the_role_and_refuses_nothing(denied: World) -> None:
    world, name = denied, denied.name()
    made(world, name)
    permit(world, "list")
    job = replacements.start(world.services, Criteria(authority="test-ca", names=(name,)), "test")
    replacement_run.advance_all(world.services)
    assert replacements.progress(world.services, job.id) == {"matched": 1, "waiting": 1}
    permit(world, "all")
    replacement_run.advance_all(world.services)
    assert replacements.progress(world.services, job.id) == {"matched": 1, "inProgress": 1}
    assert world.finish(name).state is State.COMPLETED
