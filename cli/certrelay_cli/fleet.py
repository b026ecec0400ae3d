"""Commands about many certificates: operations, replace, replacements, forecast."""

from datetime import datetime
from itertools import islice
from typing import Annotated

import typer

from certrelay_cli import options, words
from certrelay_cli.options import IdempotencyKey, Json, Yes, without_none
from certrelay_cli.session import Session
from certrelay_client.paging import pages
from certrelay_client.request_models import StartReplacement
from certrelay_client.response_models import OperationList, Replacement


def register(app: typer.Typer) -> None:
    for command in (operations, replace, replacements, forecast):
        app.command()(command)


def operations(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="One operation, by its id.")] = "",
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    vault: Annotated[str | None, typer.Option(help="Only those of this vault.")] = None,
    authority: Annotated[str | None, typer.Option(help="Only those of this authority.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those requested since then (ISO 8601).")] = None,
    name: Annotated[str | None, typer.Option(help="Only those of certificates whose names begin with this.")] = None,
    limit: Annotated[int, typer.Option(help="How many to print at most.")] = 200,
    json: Json = False,
) -> None:
    """The operations of all certificates; or one of them. Open ones are first.

    Example: certrelay operations --state failed
    """
    session: Session = ctx.obj

    def page(after: str | None) -> OperationList:
        return session.client.list_operations(
            state=state, vault=vault, authority=authority, since=since, name=name, max=min(limit, 200),
            continuation=after,
        )  # fmt: skip

    if id:
        found = [session.client.get_operation(id)]
    else:
        found = list(islice((one for part in pages(page) for one in part["value"]), max(limit, 0)))
    rows = (
        (one["id"], one["vault"], one["name"], one["kind"], one["status"], one["step"], words.authority(one))
        for one in found
    )
    columns = ("id", "vault", "name", "kind", "status", "step", "authority")
    session.show(found[0] if id else found, columns, rows, json=json)


def replace(
    ctx: typer.Context,
    vault: Annotated[list[str] | None, typer.Option(help="Those of this vault; may be repeated.")] = None,
    authority: Annotated[str | None, typer.Option(help="Those that this authority renews.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A pattern for names, * for any text; may be repeated.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="Those whose issuer is this one.")] = None,
    serial_number: Annotated[list[str] | None, typer.Option(help="Those with this number; may be repeated.")] = None,
    key_type: Annotated[str | None, typer.Option(help="RSA or EC.")] = None,
    issued_before: Annotated[datetime | None, typer.Option(help="Those issued before (UTC).")] = None,
    yes: Yes = False,
    idempotency_key: IdempotencyKey = None,
    json: Json = False,
) -> None:
    """Renew all certificates that meet every criterion. It goes as fast as the rate limits allow.

    Example: certrelay replace --authority corp --name "www*" --yes
    """
    session: Session = ctx.obj
    body: StartReplacement = without_none(
        vaults=vault, authority=authority, names=name, issuer=issuer, serial_numbers=serial_number, key_type=key_type,
        issued_before=f"{issued_before.isoformat()}Z" if issued_before else None,
    )  # fmt: skip
    if not body:
        raise typer.BadParameter("give at least one criterion")
    options.confirm(f"Renew all certificates with {body}?", yes)
    job = session.client.start_replacement(body, idempotency_key=options.key(idempotency_key))
    _show(session, job, json)


def replacements(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="A replacement's id; without one, all are listed.")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Start no further renewals of it.")] = False,
    state: Annotated[str | None, typer.Option(help="running, started, settled or canceled.")] = None,
    json: Json = False,
) -> None:
    """A replacement and its progress; or all of them.

    Example: certrelay replacements
    """
    session: Session = ctx.obj
    if id:
        job = session.client.cancel_replacement(id) if cancel else session.client.get_replacement(id)
        _show(session, job, json)
        return
    parts = pages(lambda after: session.client.list_replacements(state=state, max=100, continuation=after))
    found = [one for part in parts for one in part["value"]]
    rows = ((one["id"], one["state"], one["requested_at"], words.who(one)) for one in found)
    session.show(found, ("id", "state", "requested", "by"), rows, json=json)


def forecast(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(help="How many days ahead.")] = 30,
    json: Json = False,
) -> None:
    """What will be renewed when, and by which authority.

    Example: certrelay forecast --days 90
    """
    session: Session = ctx.obj
    found, *others = pages(lambda after: session.client.get_forecast(days=days, max=1000, continuation=after))
    for part in others:
        found["renewals"] += part["renewals"]
        found["continuation"] = part["continuation"]
    if json:
        session.print_json(found)
        return
    rows = ((one["due"], one["vault"], one["name"], one["authority"], one["expires"]) for one in found["renewals"])
    session.table(("due", "vault", "name", "authority", "expires"), rows)
    for vault in found["unreadable_vaults"]:
        session.note(f"vault {vault} cannot be read", "red")


def _show(session: Session, job: Replacement, json: bool) -> None:
    rows = ((key, job[key]) for key in ("id", "state", "requested_at", "progress"))
    session.show(job, ("replacement", ""), rows, json=json)
