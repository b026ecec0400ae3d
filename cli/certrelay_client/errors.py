"""What can go wrong between a caller and CertRelay. Each error has one exit code in the command."""

from collections.abc import Mapping
from typing import Any

_UNEXPLAINED = (
    "HTTP {} without CertRelay's reason: does something in front of it answer, such as a proxy or an access "
    "restriction, or is the app stopped?"
)


class ClientError(Exception):
    """The base of all errors of this package; its text says what to do."""


class BadValue(ClientError, ValueError):
    """A value that no request can have; nothing was sent."""


class Refused(ClientError):
    """CertRelay answered that it will not do it (4xx), and wrote nothing.

    `code`: stable, for programs. `faults`: (JSON pointer of RFC 6901, what is wrong), one for each fault.
    `correlation_id`: is in the app's log, too."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code") or "")
        self.detail = str(problem.get("detail") or problem.get("title") or _UNEXPLAINED.format(status))
        errors = problem.get("errors")
        faults = [one for one in errors if isinstance(one, Mapping)] if isinstance(errors, list) else []
        self.faults = [(str(one.get("pointer", "")), str(one.get("detail", ""))) for one in faults]
        self.correlation_id = str(problem.get("correlation_id") or "")
        super().__init__(self.detail)


class NotFound(Refused):
    """The vault, certificate, operation, authority or replacement does not exist."""


class NoSuchRoute(Refused):
    """The deployment is older than this client, and does not have what was asked."""

    def __init__(self, method: str, path: str) -> None:
        detail = f"this deployment of CertRelay does not have {method} {path}: update it, or use an older client"
        super().__init__(404, {"detail": detail, "code": "NoSuchRoute"})


class NotSignedIn(ClientError):
    """There is no way to sign in, or CertRelay does not accept it (401)."""


class Unreachable(ClientError):
    """CertRelay did not answer, or is not available now (5xx), after all retries."""


class TimedOut(ClientError):
    """The operation has not ended in the given time. It goes on: the same command follows it again."""
