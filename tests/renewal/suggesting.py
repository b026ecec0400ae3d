"""An authority that suggests when to renew."""

from typing import Any

from certrelay.connectors.base import RenewalWindow
from tests.world import TestCa


class SuggestingCa(TestCa):
    """An authority with RFC 9773."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.window: RenewalWindow | None = None
        self.asked = 0

    def renewal_window(self, certificate: bytes) -> RenewalWindow | None:
        self.asked += 1
        return self.window
