"""The keys of our accounts at authorities."""

from certrelay.connectors.base import ConnectorError, RollsOverAccountKey
from certrelay.errors import Conflict, NotReady
from lifecycle.services import Services


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
