"""What the settings say of an authority that is people."""

from pydantic import Field

from certrelay.connectors.base import ConnectorSettings


class ManualSettings(ConnectorSettings):
    """`remind_every`: seconds between two reminders, a week at most: no message of the queue waits longer."""

    remind_every: float = Field(default=86_400.0, ge=60.0, le=604_800.0)
