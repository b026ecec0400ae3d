"""The settings of an authority where people sign."""

from pydantic import Field

from certrelay.connectors.settings import ConnectorSettings


class ManualSettings(ConnectorSettings):
    """`remind_every`: seconds between two reminders. At most a week, since no queue message can be delayed longer."""

    remind_every: float = Field(default=86_400.0, ge=60.0, le=604_800.0)
