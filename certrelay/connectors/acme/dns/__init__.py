"""Where an authority's DNS challenges are answered: one small solver for each way to change a zone."""

from typing import Any, Protocol


class DnsFailure(Exception):
    """The record could not be set, looked at or removed; one clause without secrets."""


class SilentServers(DnsFailure):
    """All name servers that answer give the record, and they are at least half of the zone's."""


class Solver(Protocol):
    """Sets TXT records at challenge names; construction reads settings only, so nothing slow is imported.

    Names are absolute, without trailing dot. A name may hold several values: those of others are left alone.
    Each method may be called again, also after a crash, and raises DnsFailure.
    """

    def publish(self, name: str, value: str) -> None: ...

    def is_visible(self, name: str, value: str) -> bool:
        """One look, at all of the zone's own name servers, without waiting. May raise SilentServers."""
        ...

    def remove(self, name: str, value: str) -> None:
        """Removing what is not there is no error."""
        ...


class NoSolver:
    """`none`: for authorities that authorize the account itself and ask for no challenge."""

    def __init__(self, *_: Any) -> None: ...

    def publish(self, name: str, value: str) -> None:
        raise DnsFailure(f"the authority asks for {name}, and the setting dns is none")

    def is_visible(self, name: str, value: str) -> bool:
        return False

    def remove(self, name: str, value: str) -> None:
        """There is none."""
