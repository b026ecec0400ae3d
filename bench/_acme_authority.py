"""The connector `acme` for an authority that asks no DNS: records are kept in memory."""

from typing import Any

from certrelay.connectors.acme.connector import Acme
from certrelay.connectors.base import Context
from tests.connectors.acme.acme_server import MemorySolver


class AcmeWithoutDns(Acme):
    """`acme`, whose challenges need no DNS."""

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context, MemorySolver())
