"""The response bodies about all certificates at once, as models for OpenAPI."""

from typing import Literal

from handlers.response_models import Body


class Day(Body):
    date: str
    authority: str
    renewals: int
    capacity: int | None


class VaultDay(Body):
    date: str
    vault: str
    renewals: int
    capacity: int


class ExpectedRenewal(Body):
    vault: str
    name: str
    authority: str
    due: str
    expires: str


class Forecast(Body):
    """`days` counts all renewals, `vault_days` those in vaults with a `rate`; `renewals` has a page of them."""

    days: list[Day]
    vault_days: list[VaultDay]
    renewals: list[ExpectedRenewal]
    unreadable_vaults: list[str]
    continuation: str | None


class RefusedRenewal(Body):
    """A certificate that cannot be renewed, and why; without a name: a whole vault."""

    vault: str
    name: str
    detail: str


class Replacement(Body):
    """`refused` has a thousand at most."""

    id: str
    state: Literal["running", "started", "settled", "canceled"]
    requested_by: str
    requested_by_name: str = ""
    requested_at: str
    looked_at: int
    progress: dict[str, int]
    refused: list[RefusedRenewal]
