"""Commands: login, logout, whoami."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from certrelay_cli import config
from certrelay_cli.options import Json
from certrelay_cli.session import Session
from certrelay_client.transport import check_endpoint


def register(app: typer.Typer) -> None:
    for command in (login, logout, whoami):
        app.command()(command)


def login(
    ctx: typer.Context,
    endpoint: Annotated[str, typer.Argument(help="The app's URL, such as https://certrelay.contoso.example.")] = "",
    scope: Annotated[str, typer.Option(help="Sign in with Entra ID: the scope, api://…/.default.")] = "",
    function_key: Annotated[
        bool, typer.Option("--function-key", help="Sign in with a function key; it is asked for, or read from a pipe.")
    ] = False,
    vault: Annotated[str, typer.Option(help="The vault of commands without --vault.")] = "",
) -> None:
    """Save where CertRelay is and how to sign in, and try it.

    Example: certrelay login https://certrelay.contoso.example --scope api://certrelay/.default
    """
    session: Session = ctx.obj
    if scope and function_key:
        raise typer.BadParameter("give either --scope or --function-key")
    key = ""
    if function_key:
        key = str(typer.prompt("Function key", hide_input=True)) if sys.stdin.isatty() else sys.stdin.read().strip()
        if not key:
            raise typer.BadParameter("the function key is empty")
    chosen = config.Config(endpoint, scope, key, vault).over(session.config)
    try:
        chosen = replace(chosen, endpoint=check_endpoint(chosen.endpoint))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    trial = Session(lambda: chosen)
    try:
        count = len(trial.client.list_vaults()["value"])
    finally:
        trial.close()
    config.save(config.path(), chosen)
    session.say(f"signed in to {chosen.endpoint}: {count} {'vault' if count == 1 else 'vaults'}", "green")


def logout(ctx: typer.Context) -> None:
    """Forget the saved endpoint and sign-in.

    Example: certrelay logout
    """
    config.forget(config.path())
    ctx.obj.say("forgotten")


def whoami(ctx: typer.Context, json: Json = False) -> None:
    """Who you are for CertRelay, and what you may do where.

    Example: certrelay whoami
    """
    session: Session = ctx.obj
    me = session.client.get_me()
    if json:
        session.print_json(me)
        return
    own = [
        ("endpoint", session.config.endpoint),
        ("name", me["name"]),
        ("known as", me["display_name"]),
        ("role", me["role"]),
        ("ids", me["ids"]),
    ]
    session.table(("whoami", ""), [*own, ("decided by", me["decided_by"])])
    session.table(("vault", "role"), [(vault["name"], vault["role"]) for vault in me["vaults"]])
