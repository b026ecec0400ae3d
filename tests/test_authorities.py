"""What timers and operators ask of an authority: its CRL, another account key, its health."""

from dataclasses import replace
from datetime import datetime

import pytest

from certrelay import authorities, health
from certrelay.authorities import publish_crls, roll_over
from certrelay.connectors.base import ConnectorError, Context
from certrelay.errors import Conflict, NotFound, NotReady
from tests.authorities import with_connector
from tests.world import TestCa, World


class PublishingCa(TestCa):
    published = 0

    def publish_crl(self, now: datetime) -> None:
        type(self).published += 1


def test_authorities_that_publish_their_own_crl_do_so_and_one_that_cannot_stops_nobody(world: World) -> None:
    known = world.services.settings.authorities["test-ca"]
    authorities = {
        "broken": with_connector(known, PublishingCa),
        "mine": with_connector(known, PublishingCa),
    }
    settings = replace(world.services.settings, authorities={**authorities, "test-ca": known})
    ca = PublishingCa(None, Context("mine", world.services.now, lambda: None))
    services = replace(world.services, settings=settings, connector={"mine": ca}.__getitem__)
    assert publish_crls(services) == ["mine"]
    assert PublishingCa.published == 1


def test_the_log_says_why_a_crl_could_not_be_published(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object, _now: datetime) -> None:
        raise ConnectorError("storage answered 404 ContainerNotFound")

    monkeypatch.setattr(PublishingCa, "publish_crl", refuse)
    known = world.services.settings.authorities["test-ca"]
    settings = replace(world.services.settings, authorities={"mine": with_connector(known, PublishingCa)})
    ca = PublishingCa(None, Context("mine", world.services.now, lambda: None))
    assert publish_crls(replace(world.services, settings=settings, connector={"mine": ca}.__getitem__)) == []
    assert "the CRL was not published: storage answered 404 ContainerNotFound [authority=mine]" in caplog.messages


class RollingCa(TestCa):
    """An authority with an account key."""

    def roll_over_account_key(self) -> str:
        if self.answers:
            self._scripted()
        return "https://vault.example/keys/account/2"


def test_an_account_key_is_rolled_over_where_there_is_one(world: World) -> None:
    with pytest.raises(NotFound):
        roll_over(world.services, "nobody")
    with pytest.raises(Conflict, match="no account key") as refused:
        roll_over(world.services, "test-ca")
    assert refused.value.code == "CannotRollOver"
    ca = RollingCa(None, Context("test-ca", world.services.now, lambda: None))
    rolling = replace(world.services, connector=lambda name: ca)
    assert roll_over(rolling, "test-ca") == "https://vault.example/keys/account/2"
    ca.answers = [ConnectorError("the server is busy"), OSError("secret detail")]
    with pytest.raises(Conflict, match="the server is busy"):
        roll_over(rolling, "test-ca")
    with pytest.raises(NotReady) as failed:
        roll_over(rolling, "test-ca")
    assert "secret" not in str(failed.value)
    assert "account key rollover" in authorities.abilities(RollingCa)


def test_readiness_says_what_a_connector_says_of_its_authority(world: World) -> None:
    ca = RollingCa(None, Context("test-ca", world.services.now, lambda: None))

    def check() -> None:
        raise ConnectorError("the account key needs the role Key Vault Crypto User")

    ca.check = check  # type: ignore[attr-defined]
    parts = health.check(replace(world.services, connector=lambda name: ca))
    [part] = [part for part in parts if part.what == "authority test-ca"]
    assert (part.ok, part.detail) == (False, "the account key needs the role Key Vault Crypto User")
