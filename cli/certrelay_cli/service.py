"""Commands about the service itself: vaults, authorities, doctor, status, health, poison, notifications."""

from typing import Annotated

import typer

from certrelay_cli import exits, options
from certrelay_cli.options import Json, Yes
from certrelay_cli.session import Session
from certrelay_client.service_models import Delivery

Id = Annotated[str, typer.Argument(help="The message's id.")]

poison = typer.Typer(help="The messages that could not be processed.", no_args_is_help=True)
notifications = typer.Typer(help="Who is told of what.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    for command in (vaults, authorities, rollover, dns_persist, status, doctor, health, openapi):
        app.command()(command)
    app.add_typer(poison, name="poison")
    app.add_typer(notifications, name="notifications")


def vaults(ctx: typer.Context, json: Json = False) -> None:
    """The vaults of the settings, and their rules.

    Example: certrelay vaults
    """
    session: Session = ctx.obj
    found = session.client.list_vaults()["value"]
    rows = ((one["name"], one["url"], one["authorities"]) for one in found)
    session.show(found, ("name", "url", "authorities"), rows, json=json)


def authorities(ctx: typer.Context, json: Json = False) -> None:
    """The authorities, what each can do, and its rules.

    Example: certrelay authorities
    """
    session: Session = ctx.obj
    found = session.client.list_authorities()["value"]
    rows = ((one["name"], one["connector"], one["default_validity_days"], one["features"]) for one in found)
    session.show(found, ("name", "connector", "days", "features"), rows, json=json)


def rollover(
    ctx: typer.Context, authority: Annotated[str, typer.Argument(help="An ACME authority.")], json: Json = False
) -> None:
    """Replace the key of the account at an ACME authority.

    Example: certrelay rollover letsencrypt
    """
    session: Session = ctx.obj
    found = session.client.roll_over_account_key(authority)
    session.tell(found, f"{found['authority']}: the account has the key {found['key_id']}", json=json)


def dns_persist(
    ctx: typer.Context,
    authority: Annotated[str, typer.Argument(help="An ACME authority.")],
    name: Annotated[str, typer.Argument(help="The DNS name; *.NAME for wildcards too.")],
    until: Annotated[str | None, typer.Option(help="When the record shall end (RFC 3339).")] = None,
    json: Json = False,
) -> None:
    """The TXT record that proves a name for good. With it no renewal needs one at an ACME authority (dns-persist-01).

    Example: certrelay dns-persist letsencrypt www.contoso.example
    """
    session: Session = ctx.obj
    found = session.client.get_dns_persist(authority, name=name, until=until)
    if json:
        session.print_json(found)
        return
    session.table(("name", "type", "value"), ((one["name"], one["type"], one["value"]) for one in found["records"]))
    session.say("it is published" if found["published"] else found["detail"])


def status(ctx: typer.Context, json: Json = False) -> None:
    """How the service stands: timers, operations, incidents.

    Example: certrelay status
    """
    session: Session = ctx.obj
    found = session.client.get_status()
    if json:
        session.print_json(found)
        return
    late = [run["name"] for run in found["runs"] if run["late"]]
    rows = [("version", found["version"]), ("now", found["now"]), ("operations", found["operations"])]
    session.table(("status", ""), [*rows, ("late timers", late), ("poison messages", found["poison_messages"])])
    states = [(one["name"], one["open"], one["issued_at"], one["down_since"]) for one in found["authorities"]]
    session.table(("authority", "open", "issued at", "down since"), states)
    counts = [(one["authority"], one["state"], one["count"]) for one in found["certificates"]]
    session.table(("authority", "certificates", "count"), counts)
    if found["endpoints"]:
        session.table(("endpoints", "count"), sorted(found["endpoints"].items()))
    for name in found["not_deployed"]:
        session.say(f"not-deployed {name}: its endpoint does not serve the newest version", "red")
    for incident in found["incidents"]:
        text = f"{incident['event']} {incident['subject']} since {incident['since']}: {incident['detail']}"
        session.say(f"{text}; {incident['next_step']}", "red")


def doctor(ctx: typer.Context, json: Json = False) -> None:
    """What is wrong with the deployment, and what mends it. Exits with 3 if something is.

    Example: certrelay doctor
    """
    session: Session = ctx.obj
    found = session.client.get_doctor()
    rows = (("ok" if one["ok"] else "failed", one["what"], one["detail"], one["mend"]) for one in found["findings"])
    session.show(found, ("", "what", "detail", "mend"), rows, json=json)
    if not found["ok"]:
        raise typer.Exit(exits.REFUSED)


def health(ctx: typer.Context, json: Json = False) -> None:
    """Whether storage, vaults and authorities can be reached. Exits with 5 if one cannot.

    Example: certrelay health
    """
    session: Session = ctx.obj
    found = session.client.get_readiness()
    rows = (
        ("ok" if one["ok"] else "failed", one["what"], one["milliseconds"], one["detail"]) for one in found["parts"]
    )
    session.show(found, ("", "what", "ms", "detail"), rows, json=json)
    if found["status"] != "ok":
        raise typer.Exit(exits.UNREACHABLE)


def openapi(ctx: typer.Context) -> None:
    """The OpenAPI 3.1 document of the API.

    Example: certrelay openapi
    """
    ctx.obj.print_json(ctx.obj.client.get_openapi())


@poison.command("list")
def list_poison(ctx: typer.Context, json: Json = False) -> None:
    """The messages, newest first, and why they could not be processed.

    Example: certrelay poison list
    """
    session: Session = ctx.obj
    found = session.client.list_poison_messages()["value"]
    rows = ((one["id"], one["queue"], one["subject"], one["at"], one["reason"]) for one in found)
    session.show(found, ("id", "queue", "subject", "at", "reason"), rows, json=json)


@poison.command("retry")
def retry_poison(ctx: typer.Context, id: Id) -> None:
    """Put a message back into its queue, when the cause is gone.

    Example: certrelay poison retry 4711
    """
    ctx.obj.print_json(ctx.obj.client.retry_poison_message(id))


@poison.command("drop")
def drop_poison(ctx: typer.Context, id: Id, yes: Yes = False) -> None:
    """Forget a message; an open operation goes on without it.

    Example: certrelay poison drop 4711 --yes
    """
    options.confirm(f"Forget the message {id}?", yes)
    ctx.obj.print_json(ctx.obj.client.drop_poison_message(id))


@notifications.command("list")
def list_notifications(ctx: typer.Context, json: Json = False) -> None:
    """The targets, their events, and the last deliveries.

    Example: certrelay notifications list
    """
    session: Session = ctx.obj
    found = session.client.list_notification_targets()["value"]
    rows = (
        (one["name"], one["kind"], one["host"], one["events"], said(one["last_delivered"]), said(one["last_failed"]))
        for one in found
    )
    session.show(found, ("name", "kind", "host", "events", "last delivered", "last failed"), rows, json=json)


@notifications.command("test")
def send_test(
    ctx: typer.Context, target: Annotated[str, typer.Argument(help="A target of the settings.")], json: Json = False
) -> None:
    """Send a test message now. Exits with 3 if the target does not take it.

    Example: certrelay notifications test ops
    """
    session: Session = ctx.obj
    found = session.client.send_test_notification(target)
    text = f"{target} {'has taken it' if found['delivered'] else 'has not taken it'}: {answered(found)}"
    session.tell(found, text, json=json)
    if not found["delivered"]:
        raise typer.Exit(exits.REFUSED)


def said(delivery: Delivery | None) -> str:
    """A delivery in words; empty without one."""
    return f"{delivery['at']} {delivery['event']} {delivery['subject']}: {answered(delivery)}" if delivery else ""


def answered(delivery: Delivery) -> str:
    return f"status {delivery['status']}" if delivery["status"] else "no response"
