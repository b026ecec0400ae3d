"""What a connector gets from the app besides its own settings: no secret of anybody else."""

import json
from typing import Any, ClassVar

from certrelay.connectors.base import ConnectorSettings, Context, Feature, Outcome, Rejected, SigningRequest
from certrelay.services import connect
from certrelay.settings import load

VALUES = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "CERTRELAY_VAULTS": '{"main": {"url": "https://contoso.vault.azure.net"}}',
    "CERTRELAY_AUTHORITIES": json.dumps({"mine": {"connector": f"{__name__}:Curious"}}),
    "ANOTHER_CONNECTORS_PASSWORD": "canary",
}


class Curious:
    """A connector that keeps what it gets."""

    Settings: ClassVar[type[ConnectorSettings]] = ConnectorSettings
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, settings: Any, context: Context) -> None:
        self.context = context

    def submit(self, request: SigningRequest) -> Outcome:
        return Rejected("never asked")

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        return Rejected("never asked")


def test_a_connector_gets_no_other_settings_of_the_app() -> None:
    connector = connect(load(VALUES)).connector("mine")
    assert isinstance(connector, Curious)
    assert "canary" not in repr(connector.context)


def test_the_settings_keep_no_application_setting_that_nobody_refers_to() -> None:
    assert "canary" not in repr(load(VALUES))
