"""What can go wrong between a caller and CertRelay. Each error has one exit code in the command."""

from collections.abc import Mapping
from typing import Any


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
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.faults = [(str(one.get("pointer", "")), str(one.get("detail", ""))) for one in problem.get("errors") or ()]
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
