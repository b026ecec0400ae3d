"""The operations of all certificates, open and ended, page by page."""

from dataclasses import dataclass
from datetime import UTC, datetime

from certrelay.access import grants
from certrelay.callers import Role
from certrelay.services import Services
from certrelay.storage.operation import Operation, State

LIST = "operations"  # for its continuations
TABLES = ("open", "ended")
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
    `concurrency`. `since`: requested at that time (UTC) or later."""

    state: str | None = None
    vault: str | None = None
    authority: str | None = None
    since: datetime | None = None


def page(
    services: Services, filters: Filters, limit: int, after: str | None = None
) -> tuple[list[Operation], str | None]:
    """At most `limit` operations, the open ones first, and the continuation for the next call; None at the end.

    Only those that the caller may read.

    A call reads two pages at most, so it may return fewer, even none, before the end. An operation that ends
    meanwhile may be in the list twice. Raises Invalid (the continuation), NotPermitted (the vault), NotFound (the
    vault), NotReady."""
    if filters.vault is not None:
        if services.caller is not None:
            grants.require(services.caller, Role.READER, filters.vault)
        services.vault_settings(filters.vault)
    continuations = services.storage.continuations
    tables = _tables(filters.state)
    table, start = continuations.open_row(LIST, after, tables)
    found: list[Operation] = []
    for name in tables[tables.index(table) :]:
        if len(found) == limit:
            return found, continuations.seal_row(LIST, name, None)
        condition, parameters = _condition(filters, name)
        more, following = services.storage.page(name, condition, limit - len(found), start, **parameters)
        found, start = found + [one for one in more if grants.may(services, Role.READER, one.vault, one.name)], None
        if following is not None:
            return found, continuations.seal_row(LIST, name, following)
    return found, None


def _tables(state: str | None) -> tuple[str, ...]:
    """Where operations in a state are: an ended one is still among the open ones until it is closed."""
    return TABLES if state in (None, State.COMPLETED, State.FAILED, State.CANCELED) else TABLES[:1]


def _condition(filters: Filters, table: str) -> tuple[str, dict[str, str]]:
    """An OData condition and its parameters."""
    conditions, parameters = [], {}
    if filters.state in _CONDITIONS:
        conditions.append(_CONDITIONS[filters.state])
    elif filters.state is not None:
        conditions.append("state eq @state")
        parameters["state"] = filters.state
    if filters.vault is not None and table == "open":
        conditions.append("PartitionKey eq @vault")
        parameters["vault"] = filters.vault
    elif filters.vault is not None:  # its partitions are `vault|name`
        conditions.append("PartitionKey ge @first and PartitionKey lt @last")
        parameters |= {"first": f"{filters.vault}|", "last": f"{filters.vault}}}"}
    if filters.authority is not None:
        conditions.append("authority eq @authority")
        parameters["authority"] = filters.authority
    if filters.since is not None:
        conditions.append("requested_at ge @since")
        parameters["since"] = filters.since.astimezone(UTC).isoformat()
    return " and ".join(one for one in conditions if one), parameters
