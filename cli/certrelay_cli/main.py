"""The command: its global options, its commands, and what an error is worth."""

import importlib.metadata
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from certrelay_cli import certificates, changes, config, exits, files, fleet, issuers, service, signin
from certrelay_cli.config import Config
from certrelay_cli.inputs import Malformed, read_text
from certrelay_cli.session import Closed, Session, printable, printing
from certrelay_client import BadValue, ClientError, NotSignedIn, Refused, TimedOut, Unreachable

HELP = """Certificates of Azure Key Vault, from any certificate authority.

Example: certrelay create www --authority corp --dns www.contoso.example

Exit codes: 0 done, 2 wrong use, 3 refused, 4 not signed in, 5 unreachable, 6 timed out, 130 interrupted. `plan` alone
exits with 2 when there is something to do, and with 1 for a wrong use."""

DEBUG = "CERTRELAY_DEBUG"

app = typer.Typer(
    name="certrelay", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)
for part in (signin, certificates, changes, fleet, service, issuers, files):
    part.register(app)


@dataclass
class Run:
    """One run of the program. `command`: the one that was called; empty before that is known."""

    command: str = ""


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            version = importlib.metadata.version("certrelay-cli")
        except importlib.metadata.PackageNotFoundError:
            version = "of a checkout, which is not installed"
        with printing():
            print(f"certrelay {version}", flush=True)
        raise typer.Exit


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
    request_timeout: Annotated[float, typer.Option(min=0.1, help="How many seconds a request may take.")] = 60,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    def read() -> Config:
        key = read_text(function_key_file).strip() if function_key_file else ""
        flags = Config(endpoint, scope, key)
        return flags.over(config.from_environment()).over(config.saved(config.path()))

    ctx.obj.command = ctx.invoked_subcommand or ""
    ctx.obj = Session(read, request_timeout)
    ctx.call_on_close(ctx.obj.close)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    _open_streams()
    given = sys.argv[1:] if arguments is None else arguments
    run = Run()
    code = _run(given, run)
    is_plan = run.command == "plan" if run.command else "plan" in given
    if is_plan and code == exits.USAGE:
        return exits.UNEXPECTED
    return exits.CHANGES if code == exits.RAISED_FOR_CHANGES else code


def _run(given: list[str], run: Run) -> int:
    try:
        app(given, prog_name="certrelay", obj=run)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else exits.UNEXPECTED
    except (ClientError, Malformed) as error:
        tell(error)
        return code_of(error)
    except UnicodeEncodeError:
        print("certrelay: an argument or a variable is no text in Unicode", file=sys.stderr)
        return exits.USAGE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Closed:
        return exits.CLOSED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        # Not its text: it may be a part of an answer, or of what was sent.
        what = "an answer that this version of the command does not understand, or a fault of its own"
        print(f"certrelay: {what} ({type(error).__name__}); {DEBUG}=1 shows where", file=sys.stderr)
        return exits.UNEXPECTED
    return exits.DONE


def _open_streams() -> None:
    """A stream that is closed (`>&-`) takes everything, and has nothing; what a terminal cannot show is escaped."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def code_of(error: ClientError | Malformed) -> int:
    for kind, code in (
        ((BadValue, Malformed), exits.USAGE),
        (Refused, exits.REFUSED),
        (NotSignedIn, exits.NOT_SIGNED_IN),
        (Unreachable, exits.UNREACHABLE),
        (TimedOut, exits.TIMED_OUT),
    ):
        if isinstance(error, kind):
            return code
    return exits.UNEXPECTED


def tell(error: ClientError | Malformed) -> None:
    """The error and each of its faults, on standard error."""
    if isinstance(error, Malformed):
        print(printable(str(error)), file=sys.stderr)
        return
    code = f" ({error.code})" if isinstance(error, Refused) and error.code else ""
    print(printable(f"certrelay: {error}{code}"), file=sys.stderr)
    if isinstance(error, Refused):
        for pointer, detail in error.faults if str(error) not in [detail for _, detail in error.faults] else ():
            print(printable(f"  {pointer or '/'}: {detail}"), file=sys.stderr)
        if error.correlation_id:
            print(printable(f"  correlation id: {error.correlation_id}"), file=sys.stderr)
