"""An authority that is people: an operator has the CSR signed and posts the answer to CertRelay's API.

Nothing is sent anywhere. The order stays pending until the operation gets its answer or its deadline passes; every
look at it reminds the operators, by the notification `waiting`.
"""

from typing import ClassVar

from certrelay.connectors.base import ConnectorSettings, Context, Feature, Outcome, Pending, SigningRequest
from certrelay.connectors.manual.settings import ManualSettings


class Manual:
    """Connector `manual`. An order's reference is its operation id, so the same order is found again."""

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
