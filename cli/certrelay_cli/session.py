"""What all commands share: the connection, and how to print."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from certrelay_cli.config import ENDPOINT, KEY, SCOPE, VAULT, Config
from certrelay_cli.inputs import Malformed
from certrelay_client import Client, EntraId, FunctionKey, NotSignedIn

UNLIMITED = 1_000_000  # columns
STYLES = {
    "completed": "green", "ok": "green", "valid": "green", "settled": "green", "failed": "red", "expired": "red",
    "refused": "red", "canceled": "yellow", "inProgress": "cyan", "running": "cyan", "disabled": "dim",
}  # fmt: skip


class Closed(Exception):
    """Whoever reads the output has had enough, such as `head`."""


class Output(Console):
    """A console that leaves it to `printing` what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        raise Closed


class Session:
    """Made once for each run. `read`: what flags, environment and the saved file say, read when it is needed."""

    def __init__(self, read: Callable[[], Config], timeout: float = 60) -> None:
        self._read, self._timeout = read, timeout
        # A pipe has no width: a row is one line there, however long.
        is_terminal = sys.stdout.isatty()
        self.out = Output(highlight=False, soft_wrap=not is_terminal, width=None if is_terminal else UNLIMITED)
        self.notes = Output(stderr=True, highlight=False, soft_wrap=True)

    @cached_property
    def config(self) -> Config:
        """Raises Malformed."""
        return self._read()

    @cached_property
    def client(self) -> Client:
        """Raises NotSignedIn, Malformed or typer.BadParameter."""
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
        self.write(f"{json.dumps(value, indent=2, ensure_ascii=False)}\n".encode())

    def write(self, content: bytes) -> None:
        """Write to standard output as it is: for programs, in UTF-8 whatever the terminal has."""
        with printing():
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()

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
        for number, column in enumerate(columns):
            table.add_column(column, overflow="fold", no_wrap=number == 0)  # a name can be copied as it stands
        for row in rows:
            table.add_row(*(cell(value) for value in row))
        with printing():
            self.out.print(table)

    def say(self, text: str, style: str = "") -> None:
        with printing():
            self.out.print(Text(printable(text), style=style))

    def note(self, text: str, style: str = "") -> None:
        """For people; on standard error."""
        with printing():
            self.notes.print(Text(printable(text), style=style))

    def _auth(self) -> httpx.Auth:
        if self.config.function_key:
            return FunctionKey(self.config.function_key)
        if self.config.scope:
            return EntraId(self.config.scope)
        raise NotSignedIn(f"no sign-in is known: `certrelay login`, --scope or {SCOPE}, or {KEY}")


@contextmanager
def printing() -> Iterator[None]:
    """Raises Closed if nobody reads the output any more, and Malformed if it cannot be written."""
    try:
        yield
    except (Closed, BrokenPipeError):
        _abandon_output()
        raise Closed from None
    except OSError as error:
        _abandon_output()
        raise Malformed("the output", [f"cannot be written: {error.strerror}"]) from None


def _abandon_output() -> None:
    """What is still in its buffer is not tried again at the end of the program."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
