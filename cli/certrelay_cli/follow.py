"""Follow operations to their end, with progress for people."""

from collections.abc import Iterator
from typing import Any

import typer
from rich.text import Text

from certrelay_cli import exits, words
from certrelay_cli.session import Session, printable
from certrelay_client.response_models import Operation


def finish(session: Session, operation: Operation, *, json: bool, wait: bool, timeout: float) -> None:
    """Follow the operation, unless it is not to be waited for, and print how it stands.

    Exits with REFUSED if it failed or was canceled. Raises TimedOut."""
    if wait and operation["status"] == "inProgress":
        operation = followed(session, operation, timeout)
    session.show(operation, ("operation", ""), summary(operation), json=json)
    if operation["status"] in ("failed", "canceled"):
        raise typer.Exit(exits.REFUSED)


def followed(session: Session, operation: Operation, timeout: float) -> Operation:
    """The operation at its end. On a terminal a line shows its step, else each new step is a line."""
    try:
        return _followed(session, operation, timeout)
    except KeyboardInterrupt:
        name = operation["name"]
        session.note(f"{name}: the operation goes on; `certrelay operation {name}` follows it")
        raise


def _followed(session: Session, operation: Operation, timeout: float) -> Operation:
    if not session.notes.is_terminal:
        steps = [operation["step"]]

        def note(now: Operation) -> None:
            if now["step"] != steps[-1]:
                steps.append(now["step"])
                session.note(f"{now['name']}: {now['step']}")

        return session.client.follow(operation, timeout, note)
    with session.notes.status(line(operation)) as status:
        return session.client.follow(operation, timeout, lambda now: status.update(line(now)))


def line(operation: Operation) -> Text:
    return Text(printable(f"{operation['name']}: {operation['status_details']}"))


def summary(operation: Operation) -> Iterator[tuple[str, Any]]:
    said = {**operation, "requested_by": words.who(operation)}
    for key in ("name", "vault", "id", "kind", "status", "status_details", "authority", "requested_by", "target"):
        if said.get(key):
            yield key, said[key]
    error = operation.get("error") or operation.get("last_error")
    if error:
        yield "error", f"{error['code']}: {error['message']}"
