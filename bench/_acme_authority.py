"""The connector `acme` for an authority that asks no DNS: records are kept in memory."""

from typing import Any

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.base import Context


class NoDns:
    """Publishes nowhere, and sees what it has published."""

    def __init__(self) -> None:
        self._records: set[tuple[str, str]] = set()

    def publish(self, name: str, value: str) -> None:
        self._records.add((name, value))

    def is_visible(self, name: str, value: str) -> bool:
        return (name, value) in self._records

    def remove(self, name: str, value: str) -> None:
        self._records.discard((name, value))


class AcmeWithoutDns(Acme):
    """`acme`, whose challenges need no DNS."""

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context, NoDns())
