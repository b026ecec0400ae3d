"""Options that many commands have, and how their values are read.

Typer takes each option from a parameter, so the functions of commands have as many as the commands have options.
"""

import os
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from certrelay_cli import triggers
from certrelay_cli.inputs import read_text

Name = Annotated[str, typer.Argument(help="The certificate's name in the vault.")]
Vault = Annotated[str, typer.Option("--vault", help="The vault's alias [env: CERTRELAY_VAULT].")]
Json = Annotated[bool, typer.Option("--json", help="Print the API's JSON, for programs.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return at once; do not follow the operation to its end.")]
Timeout = Annotated[float, typer.Option(help="How many seconds to follow an operation at most.")]
Force = Annotated[bool, typer.Option("--force", help="Even if the certificate is then no longer renewed.")]
Disabled = Annotated[bool, typer.Option("--disabled", help="The new version is disabled.")]
Version = Annotated[str, typer.Option(help="A version; by default the newest one.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="A tag; may be repeated.")]
Days = Annotated[int | None, typer.Option(help="The validity to ask for, in days.")]
Renew = Annotated[str | None, typer.Option(metavar="30d|67%", help="Renew so long before expiry, or after this share.")]
IdempotencyKey = Annotated[str | None, typer.Option(help="The same request with the same key is done once.")]
PasswordEnv = Annotated[str | None, typer.Option(metavar="NAME", help="The variable that holds the password.")]
PasswordFile = Annotated[Path | None, typer.Option(help="The file that holds the password; - is standard input.")]


def tags(given: list[str] | None) -> dict[str, str]:
    found = {}
    for one in given or []:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--tag needs NAME=VALUE, not {one!r}")
        found[name] = value
    return found


def key(given: str | None) -> str:
    """The Idempotency-Key as given, else a new one: then what is not answered can be sent again."""
    return given or uuid.uuid4().hex


def trigger(text: str | None) -> dict[str, int] | None:
    """`--renew` as a lifetime action's trigger. Raises typer.BadParameter."""
    try:
        return None if text is None else dict([triggers.from_text(text)])
    except ValueError as error:
        raise typer.BadParameter(f"--renew {error}") from None


def password(variable: str | None, file: Path | None, prompt: str | None) -> str | None:
    """A password from the environment, a file, or the terminal; never from an argument, which others can see."""
    if variable is not None:
        if variable not in os.environ:
            raise typer.BadParameter(f"the variable {variable} is not set")
        return os.environ[variable]
    if file is not None:
        return read_text(file, may_be_empty=True).removesuffix("\n").removesuffix("\r")
    if prompt and sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, default="", show_default=False)) or None
    return None


def write_file(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None


def confirm(question: str, yes: bool) -> None:
    """Ask a person. Raises typer.BadParameter where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: give --yes")
    typer.confirm(question, abort=True)


def without_none(**values: Any) -> Any:
    """The values that are given, as a request's body."""
    return {name: value for name, value in values.items() if value not in (None, [], {}, ())}
