"""What all commands share: the connection, and how to print."""

import json
import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from certrelay_cli.config import ENDPOINT, KEY, SCOPE, VAULT, Config
from certrelay_client import Client, EntraId, FunctionKey, NotSignedIn

STYLES = {
    "completed": "green", "ok": "green", "valid": "green", "settled": "green", "failed": "red", "expired": "red",
    "refused": "red", "canceled": "yellow", "inProgress": "cyan", "running": "cyan", "disabled": "dim",
}  # fmt: skip


class Session:
    """Made once for each run. `config` is what flags, environment and the saved file say."""

    def __init__(self, config: Config, timeout: float = 60) -> None:
        self.config = config
        self._timeout = timeout
        self.out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self.notes = Console(stderr=True, highlight=False, soft_wrap=True)

    @cached_property
    def client(self) -> Client:
        """Raises NotSignedIn or typer.BadParameter."""
        if not self.config.endpoint:
            raise NotSignedIn(f"no endpoint is known: `certrelay login URL`, --endpoint, or {ENDPOINT}")
        try:
            return Client(self.config.endpoint, self._auth(), self._timeout)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    def close(self) -> None:
        if "client" in self.__dict__:
            self.client.close()

    def vault(self, given: str) -> str:
        """The vault's alias: as given, else the configured one, else the only one that there is."""
        alias = given or self.config.vault
        if alias:
            return alias
        known = [vault["name"] for vault in self.client.list_vaults()["value"]]
        if len(known) == 1:
            return known[0]
        raise typer.BadParameter(f"say which vault with --vault or {VAULT}: {', '.join(known) or 'there is none'}")

    def print_json(self, value: Any) -> None:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def show(self, found: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, json: bool) -> None:
        """Print what the API answered: for programs as it is, for people as a table. `rows` may be lazy."""
        if json:
            self.print_json(found)
        else:
            self.table(columns, rows)

    def tell(self, found: Any, text: str, *, json: bool) -> None:
        """Print what the API answered: for programs as it is, for people as a sentence."""
        if json:
            self.print_json(found)
        else:
            self.say(text)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table. Values are text from elsewhere: no markup, no control characters."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(cell(value) for value in row))
        if not sys.stdout.isatty():  # nothing is cut off in a pipe
            self.out.print(table, width=max(self.out.measure(table).maximum, 1), crop=False, no_wrap=True)
        else:
            self.out.print(table)

    def say(self, text: str, style: str = "") -> None:
        self.out.print(Text(printable(text), style=style))

    def note(self, text: str, style: str = "") -> None:
        """For people; on standard error."""
        self.notes.print(Text(printable(text), style=style))

    def _auth(self) -> httpx.Auth:
        if self.config.function_key:
            return FunctionKey(self.config.function_key)
        if self.config.scope:
            return EntraId(self.config.scope)
        raise NotSignedIn(f"no sign-in is known: `certrelay login`, --scope or {SCOPE}, or {KEY}")


def cell(value: Any) -> Text:
    """A value as a person reads it."""
    if value is None or value == "":
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, dict):
        return Text(printable(", ".join(f"{key}={one}" for key, one in value.items())))
    if isinstance(value, list):
        return Text(printable(", ".join(map(str, value))))
    return Text(printable(str(value)), style=STYLES.get(str(value), ""))


def printable(text: str) -> str:
    """Without control characters: the text comes from elsewhere, and goes to a terminal."""
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)
