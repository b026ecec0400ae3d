"""The base of all connectors' settings, apart from the rest of the contract: the app reads settings when it starts."""

from pydantic import BaseModel, ConfigDict


class ConnectorSettings(BaseModel):
    """The base of every connector's settings. Unknown keys are refused. A secret is a `SecretStr` field."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)
