"""The command: its global options, its commands, and what an error is worth."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from certrelay_cli import certificates, changes, config, exits, files, fleet, issuers, service, signin
from certrelay_cli.config import Config
from certrelay_cli.options import read_file
from certrelay_cli.session import Session, printable
from certrelay_client import ClientError, NotSignedIn, Refused, TimedOut, Unreachable

HELP = """Certificates of Azure Key Vault, from any certificate authority.

Example: certrelay create www --authority corp --dns www.contoso.example

Exit codes: 0 done, 2 wrong use, 3 refused, 4 not signed in, 5 unreachable, 6 timed out. `plan` alone exits with 2 when
there is something to do, and with 1 for a wrong use."""

app = typer.Typer(
    name="certrelay", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)
for part in (signin, certificates, changes, fleet, service, issuers, files):
    part.register(app)


@app.callback()
def options(
    ctx: typer.Context,
    endpoint: Annotated[str, typer.Option(help="The app's URL [env: CERTRELAY_ENDPOINT].")] = "",
    scope: Annotated[
        str, typer.Option(help="Sign in with Entra ID for this scope, api://…/.default [env: CERTRELAY_SCOPE].")
    ] = "",
    function_key_file: Annotated[
        Path | None, typer.Option(help="A file with a function key, to sign in with [env: CERTRELAY_FUNCTION_KEY].")
    ] = None,
    request_timeout: Annotated[float, typer.Option(help="How many seconds a request may take.")] = 60,
) -> None:
    key = read_file(function_key_file).decode().strip() if function_key_file else ""
    flags = Config(endpoint, scope, key)
    try:
        known = flags.over(config.from_environment()).over(config.saved(config.path()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    ctx.obj = Session(known, request_timeout)
    ctx.call_on_close(ctx.obj.close)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(given, prog_name="certrelay")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else exits.UNEXPECTED
        if code == exits.USAGE and "plan" in given:
            return exits.UNEXPECTED
        return exits.CHANGES if code == exits.RAISED_FOR_CHANGES else code
    except ClientError as error:
        tell(error)
        return code_of(error)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    return exits.DONE


def code_of(error: ClientError) -> int:
    for kind, code in (
        (Refused, exits.REFUSED),
        (NotSignedIn, exits.NOT_SIGNED_IN),
        (Unreachable, exits.UNREACHABLE),
        (TimedOut, exits.TIMED_OUT),
    ):
        if isinstance(error, kind):
            return code
    return exits.UNEXPECTED


def tell(error: ClientError) -> None:
    """The error and each of its faults, on standard error."""
    code = f" ({error.code})" if isinstance(error, Refused) and error.code else ""
    print(printable(f"certrelay: {error}{code}"), file=sys.stderr)
    if isinstance(error, Refused):
        for pointer, detail in error.faults if str(error) not in [detail for _, detail in error.faults] else ():
            print(printable(f"  {pointer or '/'}: {detail}"), file=sys.stderr)
        if error.correlation_id:
            print(printable(f"  correlation id: {error.correlation_id}"), file=sys.stderr)
