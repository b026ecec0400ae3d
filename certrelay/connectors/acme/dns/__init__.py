"""Solvers: each publishes challenge records (TXT) in one kind of DNS service."""

from typing import Any, Protocol


class DnsFailure(Exception):
    """A record could not be published, looked up or removed. The text is one clause without secrets."""


class SilentServers(DnsFailure):
    """The record is visible at all name servers that answer, and these are at least half of the zone's."""


class Solver(Protocol):
    """Sets TXT records at challenge names; construction reads settings only, so nothing slow is imported.

    Names are absolute, without trailing dot. A name may hold several values: those of others are left alone.
    Each method may be called again, also after a crash, and raises DnsFailure.
    """

    def publish(self, name: str, value: str) -> None: ...

    def is_visible(self, name: str, value: str) -> bool:
        """Whether all name servers of the zone have the record now. May raise SilentServers."""
        ...

    def remove(self, name: str, value: str) -> None:
        """Remove the record; it need not exist."""
        ...


class NoSolver:
    """`none`: for authorities that authorize the account itself, without challenges."""

    def __init__(self, *_: Any) -> None: ...

    def publish(self, name: str, value: str) -> None:
        raise DnsFailure(f"the authority requires the record {name}, but the setting dns is none")

    def is_visible(self, name: str, value: str) -> bool:
        return False

    def remove(self, name: str, value: str) -> None:
        """Nothing was published."""
