"""The operations of all certificates, open and ended, page by page."""

from dataclasses import dataclass
from datetime import UTC, datetime

from certrelay.access import grants
from certrelay.callers import Role
from certrelay.services import Services
from certrelay.storage.operation import Operation, State

LIST = "operations"  # for its continuations
AFTER_NAMES = "{"  # comes after all that a name has: letters, digits, hyphens
MORE_STATES = ("open", "failing", "crowded")  # besides those of an operation
STATES = (*State, *MORE_STATES)
_CONDITIONS = {
    "open": "",
    "failing": "failure_code ne '' and failure_code ne 'Crowded'",
    "crowded": "failure_code eq 'Crowded'",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which operations to list: those that meet all filters that are set.

    `state`: one of STATES; `failing`: open, and the last try failed; `crowded`: open, and waiting for a free slot of a
    `concurrency`. `name`: how the certificate's name begins, in upper or lower case. `since`: requested at that time
    (UTC) or later."""

    state: str | None = None
    vault: str | None = None
    authority: str | None = None
    since: datetime | None = None
    name: str | None = None


def page(
    services: Services, filters: Filters, limit: int, after: str | None = None
) -> tuple[list[Operation], str | None]:
    """At most `limit` operations, the open ones first, and the continuation for the next call; None at the end.

    Only those that the caller may read.

    A call reads one page of the open and one of the ended ones, with a name one of those of each vault, so it may
    return fewer, even none, before the end. An operation that ends meanwhile may be in the list twice. Raises Invalid
    (the continuation), NotPermitted (the vault), NotFound (the vault), NotReady."""
    if filters.vault is not None:
        if services.caller is not None:
            grants.require(services.caller, Role.READER, filters.vault)
        services.vault_settings(filters.vault)
    continuations = services.storage.continuations
    places = _places(services, filters)
    place, start = continuations.open_row(LIST, after, places)
    found: list[Operation] = []
    for here in places[places.index(place) :]:
        if len(found) == limit:
            return found, continuations.seal_row(LIST, here, None)
        table, _, vault = here.partition("|")
        condition, parameters = _condition(filters, table, vault)
        more, following = services.storage.page(table, condition, limit - len(found), start, **parameters)
        found, start = found + [one for one in more if grants.may(services, Role.READER, one.vault, one.name)], None
        if following is not None:
            return found, continuations.seal_row(LIST, here, following)
    return found, None


def _places(services: Services, filters: Filters) -> tuple[str, ...]:
    """Where to look: `open`, and `ended` or `ended|VAULT`: keys of ended ones begin with the vault, then the name.

    An ended operation is still among the open ones until it is closed."""
    if filters.state not in (None, State.COMPLETED, State.FAILED, State.CANCELED):
        return ("open",)
    if filters.vault is None and filters.name is None:
        return ("open", "ended")
    vaults = [filters.vault] if filters.vault else services.settings.vaults
    return ("open", *(f"ended|{vault}" for vault in vaults if grants.may(services, Role.READER, vault)))


def _condition(filters: Filters, table: str, vault: str) -> tuple[str, dict[str, str]]:
    """An OData condition and its parameters. `vault`: the only one whose ended operations to look for; "" for all."""
    conditions, parameters = [], {}
    if filters.state in _CONDITIONS:
        conditions.append(_CONDITIONS[filters.state])
    elif filters.state is not None:
        conditions.append("state eq @state")
        parameters["state"] = filters.state
    if filters.vault is not None and table == "open":
        conditions.append("PartitionKey eq @vault")
        parameters["vault"] = filters.vault
    name = (filters.name or "").lower()
    key, first = ("RowKey", name) if table == "open" else ("PartitionKey", f"{vault}|{name}")
    if vault or name:
        conditions.append(f"{key} ge @first and {key} lt @last")
        parameters |= {"first": first, "last": first + AFTER_NAMES}
    if filters.authority is not None:
        conditions.append("authority eq @authority")
        parameters["authority"] = filters.authority
    if filters.since is not None:
        conditions.append("requested_at ge @since")
        parameters["since"] = filters.since.astimezone(UTC).isoformat()
    return " and ".join(one for one in conditions if one), parameters
