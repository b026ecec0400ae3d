"""What takes a certificate out of renewal is refused unless it is forced, and a repeated request is no new one."""

import pytest

from certrelay.certificates import adopt, edit
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
