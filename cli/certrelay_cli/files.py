"""Commands: plan, apply, export, schema."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from certrelay_cli import exits, options
from certrelay_cli.options import Json, Timeout, Vault, Yes
from certrelay_cli.session import Session, printable

if TYPE_CHECKING:  # what reads YAML is imported by the commands that do
    from certrelay_cli.code.apply import Outcome, Result
    from certrelay_cli.code.planner import Plan

File = Annotated[Path | None, typer.Option("--file", "-f", help="The file with what is wanted.")]
Prune = Annotated[
    bool, typer.Option("--prune", help="Release what CertRelay renews and the file has not. Nothing is ever deleted.")
]


def register(app: typer.Typer) -> None:
    for command in (plan, apply, export, schema):
        app.command()(command)


def plan(
    ctx: typer.Context,
    file: File = Path("certificates.yaml"),
    prune: Prune = False,
    out: Annotated[Path | None, typer.Option(help="Save the plan, for `certrelay apply --plan`.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the plan as Markdown, for a pull request.")] = None,
    json: Json = False,
) -> None:
    """What would change, and why. Exits with 2 when there is something to do, with 3 when it cannot be done.

    Example: certrelay plan -f certificates.yaml --out plan.json
    """
    from certrelay_cli.code import prepare, render

    session: Session = ctx.obj
    found = _planned(session, file, prune=prune)
    if markdown:
        options.write_file(markdown, render.markdown(found).encode())
    if json:
        session.print_json(render.to_json(found))
    else:
        for line, style in render.lines(found):
            session.say(line, style)
    if found.problems:
        raise typer.Exit(exits.REFUSED)
    if out:
        options.write_file(out, prepare.to_text(found).encode())
    if found.changes:
        raise typer.Exit(exits.RAISED_FOR_CHANGES)


def apply(
    ctx: typer.Context,
    file: File = None,
    saved: Annotated[Path | None, typer.Option("--plan", help="A plan of `certrelay plan --out`.")] = None,
    prune: Prune = False,
    yes: Yes = False,
    timeout: Timeout = 3600,
    json: Json = False,
) -> None:
    """Do a saved plan, or a new one for the file. May be repeated; goes on where it was cut off.

    Example: certrelay apply -f certificates.yaml --yes
    """
    from certrelay_cli.code import prepare, render

    session: Session = ctx.obj
    if (file is None) == (saved is None) or (saved and prune):
        raise typer.BadParameter("give either --file (with --prune or not), or --plan")
    todo = prepare.saved(session.client, prepare.load(saved)) if saved else _planned(session, file, prune=prune)
    for line, style in render.lines(todo):
        session.note(line, style)
    if todo.problems:
        raise typer.Exit(exits.REFUSED)
    if todo.changes and not saved:
        options.confirm("Do that?", yes)
    _apply(session, todo, timeout, json=json)


def export(
    ctx: typer.Context,
    vault: Vault = "",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default standard output.")] = None,
    managed: Annotated[bool, typer.Option("--managed", help="Only what CertRelay renews.")] = False,
) -> None:
    """Write the file for what is there. It is the way in for existing certificates, and a backup of what is wanted.

    Example: certrelay export --vault main --out certificates.yaml
    """
    from certrelay_cli.code import actual, prepare
    from certrelay_cli.code import export as exporting

    session: Session = ctx.obj
    alias = session.vault(vault)
    known = prepare.service(session.client, alias)
    filters = {"state": "managed"} if managed else {}
    names = [line["name"] for line in session.client.certificates(alias, **filters)]
    found = actual.read(session.client, alias, names, ())
    text, notes = exporting.text(alias, found.values(), known.default_days)
    if out:
        options.write_file(out, text.encode())
    else:
        session.write(text.encode())
    for note in notes:
        session.note(note, "yellow")


def schema(ctx: typer.Context) -> None:
    """The JSON Schema of certificates.yaml, for editors.

    Example: certrelay schema
    """
    from certrelay_cli.code import document

    ctx.obj.print_json(document.schema())


def _planned(session: Session, file: Path | None, *, prune: bool) -> "Plan":
    from certrelay_cli.code import document, prepare, wanted

    content = document.load(file or Path("certificates.yaml"))
    return prepare.fresh(session.client, content.vault, wanted.all_of(content, str(file)), prune=prune)


def _apply(session: Session, todo: "Plan", timeout: float, *, json: bool) -> None:
    from certrelay_cli.code import render
    from certrelay_cli.code.apply import Interrupted
    from certrelay_cli.code.apply import apply as applying

    with _progress(session) as seen:
        try:
            outcomes = applying(session.client, todo, timeout, time.sleep, seen)
        except Interrupted as interrupted:
            session.note(render.interrupted(interrupted.outcomes))
            if json:
                session.print_json(render.outcomes_json(interrupted.outcomes))
            raise
    if json:
        session.print_json(render.outcomes_json(outcomes))
    else:
        for line, style in render.outcome_lines(outcomes):
            session.say(line, style)
    raise typer.Exit(_code_of({outcome.result for outcome in outcomes}))


@contextmanager
def _progress(session: Session) -> "Iterator[Callable[[Sequence[Outcome]], None]]":
    """On a terminal a line shows how it stands, else each change that has ended is a line."""
    from certrelay_cli.code import render

    if session.notes.is_terminal:
        with session.notes.status("") as status:
            yield lambda outcomes: status.update(Text(printable(render.progress(outcomes))))
        return
    told: set[int] = set()
    one_at_a_time = threading.Lock()

    def seen(outcomes: "Sequence[Outcome]") -> None:
        with one_at_a_time:
            ended = [outcome for outcome in outcomes if outcome.has_ended and id(outcome) not in told]
            told.update(map(id, ended))
            for outcome in ended:
                session.note(render.ended(outcome))

    yield seen


def _code_of(results: "Collection[Result]") -> int:
    """What hinders most first: who is not signed in is refused nothing yet."""
    from certrelay_cli.code.apply import Result

    codes = {
        Result.NOT_SIGNED_IN: exits.NOT_SIGNED_IN, Result.UNREACHABLE: exits.UNREACHABLE,
        Result.REFUSED: exits.REFUSED, Result.FAILED: exits.REFUSED, Result.TIMED_OUT: exits.TIMED_OUT,
    }  # fmt: skip
    return next((code for result, code in codes.items() if result in results), exits.DONE)
