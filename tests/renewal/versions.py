"""A certificate that the app made, its versions and its age."""

import base64

from cryptography import x509

from certrelay.renewal import events
from certrelay.storage.operation import Operation, State
from tests.world import World
from tests.world import made as new


def made(world: World, name: str, **changes: object) -> Operation:
    """A certificate whose creation completed."""
    ended = new(world, name, **changes)
    assert ended.state is State.COMPLETED
    return ended


def grow_old(world: World, name: str, days_left: float) -> None:
    bundle = world.vault.get(name)
    assert bundle is not None
    world.clock.advance(bundle["attributes"]["exp"] - days_left * 86_400 - world.clock.now())


def leaf(world: World, name: str) -> x509.Certificate:
    bundle = world.vault.get(name)
    assert bundle is not None
    return x509.load_der_x509_certificate(base64.b64decode(bundle["cer"]))


def near_expiry(world: World, name: str) -> None:
    identifier = f"{world.server.url}/certificates/{name}/00000000000000000000000000000000"
    events.handle(world.services, events.NEAR_EXPIRY, {"Id": identifier, "ObjectName": name})
