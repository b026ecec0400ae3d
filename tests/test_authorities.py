"""What timers and operators ask of an authority: its CRL, another account key, its health."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

import pytest

from certrelay import authorities, health
from certrelay.authorities import publish_crls, roll_over, standing_record
from certrelay.connectors.base import ConnectorError, Context, StandingRecord
from certrelay.errors import Conflict, Invalid, NotFound, NotReady
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


RECORD = StandingRecord(
    "_validation-persist.www.example.com", "ca.example; …", ("ca.example; …",), "-02", None, None, ""
)


class StandingCa(TestCa):
    """An authority that takes standing records."""

    asked: ClassVar[list[tuple[str, datetime | None]]] = []
    fault: Exception | None = None

    def standing_record(self, name: str, until: datetime | None = None) -> StandingRecord:
        self.asked.append((name, until))
        if self.fault:
            raise self.fault
        return RECORD

    def standing_records(self) -> dict[str, str]:
        if self.fault:
            raise self.fault
        return {"www.example.com": "good without an end", "b.example.com": "good until 2027-01-01T00:00:00Z"}


def test_the_standing_record_of_a_name_is_asked_for_in_the_names_normal_form(world: World) -> None:
    ca = StandingCa(None, Context("test-ca", world.services.now, lambda: None))
    services = replace(world.services, connector=lambda name: ca)
    end = world.services.now().replace(microsecond=0) + timedelta(days=400)
    assert standing_record(services, "test-ca", "WWW.Bücher.example.", None) == RECORD
    assert standing_record(services, "test-ca", "*.example.com", end.isoformat()) == RECORD
    assert ca.asked[-2:] == [("www.xn--bcher-kva.example", None), ("*.example.com", end)]


@pytest.mark.parametrize("name", ["", "192.0.2.1", "a..b", "x@example.com", "*.com", "a.*.example.com", "a b.example"])
def test_what_is_no_dns_name_has_no_standing_record(world: World, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        standing_record(world.services, "test-ca", name, None)
    assert caught.value.faults[0].pointer == "/name"


@pytest.mark.parametrize("until", ["soon", "2020-01-01T00:00:00Z", "2027-13-01", "0001-01-01T00:00:00+14:00"])
def test_an_end_that_is_none_or_past_is_refused(world: World, until: str) -> None:
    with pytest.raises(Invalid) as caught:
        standing_record(world.services, "test-ca", "example.com", until)
    assert caught.value.faults[0].pointer == "/until"


def test_an_authority_without_standing_records_says_so(world: World) -> None:
    with pytest.raises(NotFound):
        standing_record(world.services, "nobody", "example.com", None)
    with pytest.raises(Conflict, match="does not use standing records"):
        standing_record(world.services, "test-ca", "example.com", None)
    ca = StandingCa(None, Context("test-ca", world.services.now, lambda: None))
    services = replace(world.services, connector=lambda name: ca)
    ca.fault = ConnectorError("its settings have no dns_persist")
    with pytest.raises(Conflict, match="authority test-ca: its settings have no dns_persist") as refused:
        standing_record(services, "test-ca", "example.com", None)
    assert refused.value.code == "NoStandingRecords"
    ca.fault = OSError("secret detail")
    with pytest.raises(NotReady) as failed:
        standing_record(services, "test-ca", "example.com", None)
    assert "secret" not in str(failed.value)


def test_readiness_says_until_when_standing_records_are_good(world: World) -> None:
    ca = StandingCa(None, Context("test-ca", world.services.now, lambda: None))
    services = replace(world.services, connector=lambda name: ca)
    [part] = [part for part in health.check(services) if part.what == "authority test-ca"]
    assert part.ok
    assert part.detail == "www.example.com: good without an end; b.example.com: good until 2027-01-01T00:00:00Z"
    ca.fault = ConnectorError("no record was found")
    [part] = [part for part in health.check(services) if part.what == "authority test-ca"]
    assert (part.ok, part.detail) == (False, "no record was found")
