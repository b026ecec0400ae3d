"""What takes a certificate out of renewal is refused unless it is forced, and a repeated request is no new one."""

from typing import Any

import pytest

from certrelay.certificates import adopt, edit, renewal_end
from certrelay.certificates import create as creations
from certrelay.certificates.adopt import Adoption
from certrelay.certificates.create import CertificateSpec
from certrelay.errors import Conflict
from certrelay.storage.operation import Operation
from tests.world import ALIAS, KEY, World, create, made


def by_self(world: World, name: str, key: str | None = None, *, force: bool = False) -> Operation:
    spec = CertificateSpec(dns_names=(f"{name}.contoso.example",), policy=KEY, force=force)
    return creations.create(world.services, ALIAS, name, spec, requested_by="test", idempotency_key=key)


def test_a_repeat_of_an_earlier_request_is_answered_with_its_operation(world: World) -> None:
    """An authority has adopted the certificate since; the request was not meant for that."""
    name = world.name()
    first = by_self(world, name, "order-1")
    world.finish(name)
    adopt.adopt(world.services, ALIAS, name, Adoption("test-ca"))
    assert by_self(world, name, "order-1").id == first.id
    with pytest.raises(Conflict, match=f"test-ca renews {name}, and would no longer do so"):
        by_self(world, name, "order-2")
    assert world.services.storage.open(ALIAS, name) is None
    assert by_self(world, name, "order-2", force=True).id != first.id


def test_what_is_not_renewed_cannot_be_taken_out_of_renewal(world: World) -> None:
    name = world.name()
    made(world, name)
    adopt.release(world.services, ALIAS, name)
    edit.update(world.services, ALIAS, name, None, enabled=False)
    assert by_self(world, name).kind == "create"


def test_a_disabled_version_may_be_replaced_by_a_disabled_one(world: World) -> None:
    name = world.name()
    made(world, name)
    with pytest.raises(Conflict, match="a disabled version is not renewed"):
        create(world, name, enabled=False)
    edit.update(world.services, ALIAS, name, None, enabled=False, force=True)
    edit.update(world.services, ALIAS, name, {"team": "shop"}, enabled=False)
    assert create(world, name, enabled=False).request.enabled is False


BY_CORP, BY_NOBODY = {"certrelay-authority": "corp"}, {"team": "web"}


def policy(issuer: str | None, *actions: str | None) -> dict[str, Any]:
    done = [{"action": {"action_type": action}} if action else {} for action in actions]
    return ({"issuer": {"name": issuer}} if issuer else {}) | {"lifetime_actions": done}


BY_SELF, MAILED = policy("Self", "AutoRenew"), policy("Self", "EmailContacts")


@pytest.mark.parametrize(
    ("tags", "of_policy", "authority", "new_policy", "enabled", "words"),
    [
        (BY_CORP, MAILED, None, BY_SELF, True, "corp renews www"),
        (BY_CORP, MAILED, "other", MAILED, True, ""),
        (BY_CORP, MAILED, "corp", MAILED, None, ""),
        (BY_CORP, MAILED, "corp", MAILED, False, "a disabled version is not renewed"),
        (BY_NOBODY, BY_SELF, None, BY_SELF, False, ""),
        (BY_NOBODY, BY_SELF, None, MAILED, True, "Key Vault renews www [(]issuer Self[)]"),
        (BY_NOBODY, BY_SELF, None, policy("Unknown", "AutoRenew"), None, "Key Vault renews www"),
        (BY_NOBODY, BY_SELF, None, policy("UNKNOWN", "AutoRenew"), None, "Key Vault renews www"),
        (BY_NOBODY, BY_SELF, None, {}, None, "Key Vault renews www"),
        (BY_NOBODY, BY_SELF, None, policy("DigiCert", "EmailContacts", "AutoRenew"), True, ""),
        (BY_NOBODY, BY_SELF, "corp", MAILED, True, ""),
        (BY_NOBODY, MAILED, None, MAILED, True, ""),
        (BY_NOBODY, policy("Self", None), None, MAILED, True, ""),
        (BY_NOBODY, policy(None, "AutoRenew"), None, MAILED, True, ""),
        (None, None, None, MAILED, False, ""),
    ],
)
def test_a_change_is_refused_if_somebody_renews_the_certificate_and_nobody_would(
    tags: Any, of_policy: Any, authority: str | None, new_policy: dict[str, Any], enabled: bool | None, words: str
) -> None:
    current = {"cer": "AA==", "tags": tags, "policy": of_policy, "attributes": None}

    def refuse(of: Any) -> None:
        renewal_end.refuse("www", of, authority=authority, policy=new_policy, enabled=enabled)

    if words:
        with pytest.raises(Conflict, match=f"{words}.*; send it with force if that is meant") as error:
            refuse(current)
        assert error.value.code == "Managed"
    else:
        refuse(current)
    refuse(None)
    refuse(current | {"cer": ""})


def test_what_is_disabled_already_may_stay_so_but_not_lose_its_authority() -> None:
    disabled = {"cer": "AA==", "tags": BY_CORP, "attributes": {"enabled": False}}
    renewal_end.refuse("www", disabled, authority="corp", policy=MAILED, enabled=False)
    with pytest.raises(Conflict, match="corp renews www, and would no longer do so"):
        renewal_end.refuse("www", disabled, authority=None, policy=MAILED, enabled=False)
