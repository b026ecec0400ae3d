"""What is asked of an authority besides orders: its abilities, its account key, its CRL."""

from certrelay.connectors.base import (
    Cancels,
    ChecksHealth,
    Connector,
    ConnectorError,
    PublishesRevocations,
    Revokes,
    RollsOverAccountKey,
    SuggestsRenewal,
)
from certrelay.errors import Conflict, NotReady
from certrelay.log import about, logger
from certrelay.services import Services

log = logger("authorities")


def roll_over(services: Services, authority: str) -> str:
    """Replace the key of our account (RFC 8555, section 7.3.5); the id of the key in use from now on.

    Raises NotFound (no such authority), Conflict (`CannotRollOver`, `RolloverRefused`), NotReady."""
    services.authority(authority)
    connector = services.connector(authority)
    if not isinstance(connector, RollsOverAccountKey):
        raise Conflict(f"authority {authority} has no account key to roll over", "CannotRollOver")
    try:
        return connector.roll_over_account_key()
    except ConnectorError as error:
        raise Conflict(f"the account key of {authority} was not rolled over: {error}", "RolloverRefused") from error
    except Exception as error:
        raise NotReady(f"authority {authority} could not be asked ({type(error).__name__})", 30) from error


def publish_crls(services: Services) -> list[str]:
    """Have every authority that publishes its own CRL publish a fresh one; the names of those that did."""
    published = []
    for name, authority in services.settings.authorities.items():
        if not issubclass(authority.connector_class, PublishesRevocations):
            continue
        try:
            connector = services.connector(name)
            assert isinstance(connector, PublishesRevocations)  # noqa: S101 - asked just above
            connector.publish_crl(services.now())
            published.append(name)
        except Exception as error:  # one authority must not stop the others
            reason = error if isinstance(error, ConnectorError) else type(error).__name__
            with about(authority=name):
                log.error("the CRL was not published: %s", reason)
    return published


def abilities(connector: type[Connector]) -> list[str]:
    """What a kind of authority can do beyond signing."""
    known = {
        "revoke": Revokes, "cancel": Cancels, "renewal window": SuggestsRenewal, "health": ChecksHealth,
        "account key rollover": RollsOverAccountKey,
    }  # fmt: skip
    return [name for name, ability in known.items() if issubclass(connector, ability)]
