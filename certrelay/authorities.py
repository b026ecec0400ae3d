"""Authorities, apart from orders: what they can do, their account keys and their CRLs."""

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
