"""What an event of Key Vault may start (checks 42 to 44)."""

import pytest

from certrelay.certificates import create as creations
from certrelay.certificates import edit
from certrelay.certificates.create import CertificateSpec
from certrelay.connectors.base import Rejected
from certrelay.errors import NotReady, VaultForbidden
from certrelay.renewal import events
from certrelay.storage.operation import State
from tests.renewal.versions import grow_old, made, near_expiry
from tests.world import ALIAS, World

pytestmark = pytest.mark.slow


def test_the_same_event_twice_makes_one_renewal(world: World) -> None:
    name = world.name()
    made(world, name)
    grow_old(world, name, 20)
    near_expiry(world, name)
    near_expiry(world, name)
    world.finish(name)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None, "Key Vault's dates say that it is fresh"
    assert len(world.versions(name)) == 2


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (events.NEAR_EXPIRY, {}),
        (events.NEAR_EXPIRY, {"Id": 7}),
        (events.NEAR_EXPIRY, {"Id": "https://other.vault.azure.net/certificates/{name}/1"}),
        (events.NEAR_EXPIRY, {"Id": "{url}/certificates/no-such-certificate/1"}),
        (events.NEAR_EXPIRY, {"Id": "{url}/secrets/{name}/1"}),
        (events.NEAR_EXPIRY, {"Id": "{url}/certificates/{name}/../../x"}),
        ("Microsoft.KeyVault.CertificateNewVersionCreated", {"Id": "{url}/certificates/{name}/1"}),
        ("Microsoft.KeyVault.SomethingOfTheFuture", {"Id": "{url}/certificates/{name}/1"}),
        ("", {"Id": "{url}/certificates/{name}/1"}),
    ],
)
def test_an_event_that_is_foreign_forged_or_of_the_future_does_nothing(
    world: World, kind: str, data: dict[str, str]
) -> None:
    name = world.name()
    made(world, name)
    grow_old(world, name, 20)
    filled = {
        key: value.format(url=world.server.url, name=name) if isinstance(value, str) else value
        for key, value in data.items()
    }
    events.handle(world.services, kind, filled)
    assert world.services.storage.open(ALIAS, name) is None


def test_a_forged_near_expiry_of_a_fresh_certificate_does_nothing(world: World) -> None:
    name = world.name()
    made(world, name)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None


def test_an_event_of_a_disabled_certificate_does_nothing(world: World) -> None:
    name = world.name()
    made(world, name)
    edit.update(world.services, ALIAS, name, None, enabled=False, force=True)
    grow_old(world, name, 20)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None, "the sweep leaves it alone too"


def test_an_event_that_the_app_may_not_look_into_does_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> None:
        raise VaultForbidden("the app may not read certificates")

    monkeypatch.setattr(world.vault, "get", refuse)
    for kind in (events.NEAR_EXPIRY, events.EXPIRED):
        events.handle(world.services, kind, {"Id": f"{world.server.url}/certificates/{world.name()}"})


@pytest.mark.parametrize("kind", [events.NEAR_EXPIRY, events.EXPIRED])
def test_an_event_of_a_vault_that_is_not_ready_is_delivered_again(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def throttle(_name: str) -> None:
        raise NotReady("Key Vault answered 429", 10)

    monkeypatch.setattr(world.vault, "get", throttle)
    with pytest.raises(NotReady):
        events.handle(world.services, kind, {"Id": f"{world.server.url}/certificates/{world.name()}"})


def test_an_event_of_a_certificate_that_is_not_ours_does_nothing(world: World) -> None:
    name = world.name()
    world.vault.create(
        name, creations.complete(world.services, ALIAS, name, CertificateSpec(subject="CN=x")).policy, {}, True
    )
    world.clock.advance(60)
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None


def test_an_event_wakes_no_certificate_that_rests_after_a_failure(world: World) -> None:
    """Whoever can post events could use up the authority's limits otherwise."""
    name = world.name()
    made(world, name)
    grow_old(world, name, 20)
    world.ca.answers = [Rejected("closed")]
    near_expiry(world, name)
    assert world.finish(name).state is State.FAILED
    near_expiry(world, name)
    assert world.services.storage.open(ALIAS, name) is None
    world.clock.advance(3601)
    near_expiry(world, name)
    assert world.finish(name).state is State.COMPLETED
