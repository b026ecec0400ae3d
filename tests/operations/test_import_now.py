"""However an import ends, it ends as any operation does, and history says what Key Vault did."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from certrelay.certificates import edit, import_file
from certrelay.certificates.import_file import ImportCommand
from certrelay.errors import Invalid, NameBusy, NotReady, VaultForbidden
from certrelay.operations import find, intervene, reconcile
from certrelay.setting_models import Target
from certrelay.storage.operation import Operation, State
from sandbox.identity import SYSTEM_ASSIGNED
from tests.world import ALIAS, Killed, Life, World

pytestmark = pytest.mark.slow


def pem_file() -> str:
    """A self-signed certificate with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "imported.contoso.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (written + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)).decode()


def import_it(world: World, name: str) -> import_file.Imported:
    return import_file.import_certificate(world.services, ALIAS, name, ImportCommand(pem_file()), requested_by="test")


def meanwhile(world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, done: bool) -> None:
    """Let something happen while Key Vault imports: after it has done so, or before."""
    really = world.vault.import_certificate

    def importing(name: str, body: dict[str, Any]) -> dict[str, Any]:
        if not done:
            act()
        made = really(name, body)
        if done:
            act()
        return made

    monkeypatch.setattr(world.vault, "import_certificate", importing)


def ended(world: World, name: str) -> Operation:
    assert world.services.storage.open(ALIAS, name) is None, "the name is free"
    return find.latest(world.services, ALIAS, name)


def test_people_are_notified_of_an_import(world: World) -> None:
    target = Target.model_validate({"kind": "webhook", "url": "https://hooks.example/", "events": ["completed"]})
    settings = replace(world.services.settings, notifications={"ops": target})
    listener = replace(world, services=replace(world.services, settings=settings))
    name = world.name()
    import_it(listener, name)
    (message,) = world.services.storage.notifications._client.receive_messages()
    event = json.loads(base64.b64decode(message.content))["event"]
    assert (event["type"], event["data"]["kind"]) == ("certrelay.certificate.completed", "import")
    assert event["data"]["version"] == ended(world, name).version


@pytest.mark.parametrize("done", [False, True])
def test_an_import_that_is_canceled_meanwhile_is_recorded_as_what_key_vault_did(
    world: World, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    name = world.name()
    meanwhile(world, monkeypatch, lambda: intervene.cancel(world.services, ALIAS, name), done=done)
    assert import_it(world, name).is_new
    operation = ended(world, name)
    assert (operation.state, operation.cancel_requested) == (State.COMPLETED, True)
    assert operation.version


def test_an_import_that_is_at_work_is_not_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name, refused = world.name(), []

    def delete() -> None:
        with pytest.raises(NameBusy) as error:
            edit.delete_pending(world.services, ALIAS, name, force=False)
        refused.append(str(error.value))

    meanwhile(world, monkeypatch, delete, done=True)
    assert import_it(world, name).is_new
    assert "try again" in refused[0]
    assert ended(world, name).state is State.COMPLETED


def test_an_import_whose_answer_is_lost_is_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()

    def lose() -> None:
        raise NotReady("Key Vault cannot be reached")

    meanwhile(world, monkeypatch, lose, done=True)
    assert import_it(world, name).is_new
    assert ended(world, name).state is State.COMPLETED


def test_an_import_of_which_nothing_can_be_known_is_left_to_the_poll_timer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.name()

    def out_of_order(*_: object) -> None:
        raise NotReady("Key Vault cannot be reached")

    with monkeypatch.context() as down:

        def go_down() -> None:
            down.setattr(world.vault, "get", out_of_order)
            out_of_order()

        meanwhile(world, down, go_down, done=True)
        with pytest.raises(NotReady):
            import_it(world, name)
    assert reconcile.advance(world.services, ALIAS, name) is not None
    operation = ended(world, name)
    assert (operation.state, len(world.versions(name))) == (State.COMPLETED, 1)


def test_an_import_that_key_vault_refuses_fails_with_its_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = world.name()

    def refuse() -> None:
        raise Invalid("Key Vault refuses it: no")

    meanwhile(world, monkeypatch, refuse, done=False)
    with pytest.raises(Invalid):
        import_it(world, name)
    operation = ended(world, name)
    assert operation.failure is not None
    assert (operation.state, operation.failure.message) == (State.FAILED, "Key Vault refuses it: no")
    assert world.services.vault(ALIAS).get(name) is None


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_import_that_dies_is_closed_as_what_key_vault_did(world: World, moment: str) -> None:
    rehearsal = Life()
    import_file.import_certificate(
        world.mortal(rehearsal), ALIAS, world.name("-rehearsal"), ImportCommand(pem_file()), requested_by="test"
    )
    number = rehearsal.effects.index("Vault.import_certificate")
    name, doomed = world.name(), world.mortal(Life({(number, moment)}))
    with pytest.raises(Killed):
        import_file.import_certificate(doomed, ALIAS, name, ImportCommand(pem_file()), requested_by="test")
    world.outlive_lease()
    assert reconcile.advance(world.services, ALIAS, name) is not None
    assert ended(world, name).state is (State.COMPLETED if moment == "after" else State.FAILED)


def test_an_import_that_key_vault_refuses_the_app_ends_at_once(lonely_world: World) -> None:
    """Nothing was imported: the name is free, and history names the missing right."""
    world, name = lonely_world, lonely_world.name()
    world.server.identities.permissions[SYSTEM_ASSIGNED] = {"certificates": ["get", "list"]}
    with pytest.raises(VaultForbidden, match="certificates/import/action"):
        import_it(world, name)
    failed = ended(world, name)
    assert failed.state is State.FAILED
    assert failed.failure is not None
    assert failed.failure.code == "VaultForbidden"
    world.server.identities.permissions[SYSTEM_ASSIGNED] = None
    assert import_it(world, name).is_new
