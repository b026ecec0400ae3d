"""An authority where people sign: an operator has the CSR signed and posts the certificate to CertRelay's API.

Nothing is sent anywhere. The order stays pending until the certificate is posted or the operation's deadline passes.
Every time the order is polled, the notification `waiting` reminds the operators.
"""

from typing import ClassVar

from certrelay.connectors.base import ConnectorSettings, Context, Feature, Outcome, Pending, SigningRequest
from certrelay.connectors.manual.settings import ManualSettings


class Manual:
    """Connector `manual`. An order's reference is its operation id, so a repeat finds the same order."""

    Settings: ClassVar[type[ConnectorSettings]] = ManualSettings
    features: ClassVar[frozenset[Feature]] = frozenset(Feature)
    default_deadline_hours: ClassVar[float] = 14 * 24

    def __init__(self, settings: ManualSettings, context: Context) -> None:
        self._settings = settings
        self._authority = context.authority

    def submit(self, request: SigningRequest) -> Outcome:
        return self._wait(request)

    def collect(self, request: SigningRequest, reference: str) -> Outcome:
        return self._wait(request)

    def _wait(self, request: SigningRequest) -> Outcome:
        awaits = f"have its CSR signed by {self._authority}, and post the certificate"
        return Pending(request.operation_id, self._settings.remind_every, awaits)
