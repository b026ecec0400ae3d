"""Authorities, apart from orders: what they can do, their account keys, standing records and CRLs."""

from datetime import UTC, datetime

from certrelay.connectors.base import (
    Cancels,
    ChecksHealth,
    Connector,
    ConnectorError,
    PublishesRevocations,
    Revokes,
    RollsOverAccountKey,
    StandingRecord,
    SuggestsRenewal,
    UsesStandingRecords,
)
from certrelay.errors import Conflict, Fault, Invalid, NotReady
from certrelay.log import about, logger
from certrelay.pki.names import dns_name
from certrelay.services import Services

log = logger("authorities")


def roll_over(services: Services, authority: str) -> str:
    """Replace the key of CertRelay's account at the authority (RFC 8555, section 7.3.5). Returns the new key's id.

    Raises NotFound (no such authority), Conflict (`CannotRollOver`, `RolloverRefused`), NotReady."""
    services.authority(authority)
    connector = services.connector(authority)
    if not isinstance(connector, RollsOverAccountKey):
        raise Conflict(f"authority {authority} has no account key to roll over", "CannotRollOver")
    try:
        return connector.roll_over_account_key()
    except ConnectorError as error:
        raise Conflict(f"the account key of {authority} was not replaced: {error}", "RolloverRefused") from error
    except Exception as error:
        raise NotReady(f"authority {authority} could not be reached ({type(error).__name__})", 30) from error


def standing_record(services: Services, authority: str, name: str, until: str | None) -> StandingRecord:
    """The TXT record that proves `name` (a DNS name, or a wildcard) to the authority for good, and what is there now.

    `until`: when it shall end (RFC 3339), None for never. Raises NotFound, Invalid, Conflict (`NoStandingRecords`),
    NotReady."""
    services.authority(authority)
    normal, end = _normal(name), _moment(until, services.now()) if until else None
    connector = services.connector(authority)
    if not isinstance(connector, UsesStandingRecords):
        raise Conflict(f"authority {authority} does not use standing records", "NoStandingRecords")
    try:
        return connector.standing_record(normal, end)
    except ConnectorError as error:
        raise Conflict(f"authority {authority}: {error}", "NoStandingRecords") from error
    except Exception as error:
        raise NotReady(f"authority {authority} could not be reached ({type(error).__name__})", 30) from error


def _normal(name: str) -> str:
    try:
        return dns_name(name)
    except ValueError as error:
        raise Invalid([Fault("/name", f"{name[:80]!r} {error}")]) from None


def _moment(text: str, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid([Fault("/until", "until must be a time such as 2027-12-31T00:00:00Z")]) from None
    if moment <= now:
        raise Invalid([Fault("/until", "until must be in the future")])
    return moment


def publish_crls(services: Services) -> list[str]:
    """Publish a fresh CRL of every authority that issues its own. Returns the names of the authorities that succeeded.

    A failure is logged and does not stop the others."""
    published = []
    for name, authority in services.settings.authorities.items():
        if not issubclass(authority.connector_class, PublishesRevocations):
            continue
        try:
            connector = services.connector(name)
            assert isinstance(connector, PublishesRevocations)  # noqa: S101 - its class is checked above
            connector.publish_crl(services.now())
            published.append(name)
        except Exception as error:  # one authority must not stop the others
            reason = error if isinstance(error, ConnectorError) else type(error).__name__
            with about(authority=name):
                log.error("the CRL was not published: %s", reason)
    return published


def abilities(connector: type[Connector]) -> list[str]:
    """What a kind of authority can do besides signing, as the HTTP API names it."""
    known = {
        "revoke": Revokes, "cancel": Cancels, "renewal window": SuggestsRenewal, "health": ChecksHealth,
        "account key rollover": RollsOverAccountKey,
    }  # fmt: skip
    return [name for name, ability in known.items() if issubclass(connector, ability)]
