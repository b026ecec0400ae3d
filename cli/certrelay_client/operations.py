"""The routes of operations, replacements and the forecast."""

from typing import cast

from certrelay_client import request_models as requests
from certrelay_client import response_models as responses
from certrelay_client.routes import Routes
from certrelay_client.transport import at


class OperationRoutes(Routes):
    """What was, is and will be done, over all certificates."""

    def get_operation(self, id: str) -> responses.Operation:
        return cast("responses.Operation", self._json("GET", at("operations/{id}", id=id)))

    def list_operations(
        self,
        *,
        state: str | None = None,
        vault: str | None = None,
        authority: str | None = None,
        since: str | None = None,
        name: str | None = None,
        max: int | None = None,
        continuation: str | None = None,
        format: str | None = None,
    ) -> responses.OperationList:
        return cast(
            "responses.OperationList",
            self._json(
                "GET",
                "operations",
                query={
                    "state": state,
                    "vault": vault,
                    "authority": authority,
                    "since": since,
                    "name": name,
                    "max": max,
                    "continuation": continuation,
                    "format": format,
                },
            ),
        )

    def get_forecast(
        self, *, days: int | None = None, max: int | None = None, continuation: str | None = None
    ) -> responses.Forecast:
        query = {"days": days, "max": max, "continuation": continuation}
        return cast("responses.Forecast", self._json("GET", "forecast", query=query))

    def start_replacement(
        self, body: requests.StartReplacement, *, idempotency_key: str | None = None
    ) -> responses.Replacement:
        return cast("responses.Replacement", self._json("POST", "replacements", body=body, key=idempotency_key))

    def list_replacements(
        self, *, state: str | None = None, max: int | None = None, continuation: str | None = None
    ) -> responses.ReplacementList:
        return cast(
            "responses.ReplacementList",
            self._json("GET", "replacements", query={"state": state, "max": max, "continuation": continuation}),
        )

    def get_replacement(self, id: str) -> responses.Replacement:
        return cast("responses.Replacement", self._json("GET", at("replacements/{id}", id=id)))

    def cancel_replacement(self, id: str) -> responses.Replacement:
        return cast("responses.Replacement", self._json("DELETE", at("replacements/{id}", id=id)))
