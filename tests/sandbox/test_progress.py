"""Progress is alive on a terminal, and plain lines anywhere else."""

import io
import re
import time

import pytest

from sandbox.progress import Progress


@pytest.fixture(autouse=True)
def a_good_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


class Stream(io.TextIOWrapper):
    """A stream in memory that counts how often it was flushed."""

    def __init__(self, is_terminal: bool, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        self.is_terminal = is_terminal
        super().__init__(self.bytes, encoding=encoding, newline="")

    def isatty(self) -> bool:
        return self.is_terminal

    def text(self) -> str:
        """What has been written and flushed."""
        return self.bytes.getvalue().decode(self.encoding)


def run_steps(stream: Stream) -> None:
    progress = Progress(stream)
    with progress.step("Bake a cake") as step:
        step.now("stir")
        step.now("stir")
        step.now("wait [bold]10[/] :clock:")
        step.detail("with cherries")
    with pytest.raises(ValueError, match="too hot"), progress.step("Eat it") as step:
        step.detail("one slice")
        raise ValueError("too hot")


PLAIN = [
    "> Bake a cake",
    "  stir",
    "  wait [bold]10[/] :clock:",
    "  ok, N s",
    "    with cherries",
    "> Eat it",
    "  FAILED, N s",
    "    one slice",
]


def lines_of(text: str) -> list[str]:
    return re.sub(r"\d+\.\d s", "N s", text).splitlines()


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"])
def test_without_a_terminal_there_are_plain_lines_at_once(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    stream = Stream(is_terminal=False)
    run_steps(stream)
    assert lines_of(stream.text()) == PLAIN


def test_without_a_terminal_no_line_is_folded() -> None:
    stream = Stream(is_terminal=False)
    Progress(stream).line("https://127.0.0.1/" + "x " * 300 + "end")
    assert stream.text().count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_terminal_that_cannot_draw_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    if encoding == "utf-8":
        monkeypatch.setenv("TERM", "dumb")
    stream = Stream(is_terminal=True, encoding=encoding)
    run_steps(stream)
    assert lines_of(stream.text()) == PLAIN


def test_what_a_stream_cannot_encode_becomes_a_question_mark() -> None:
    stream = Stream(is_terminal=False, encoding="ascii")
    Progress(stream).line("Zürich")
    assert stream.text() == "Z?rich\n"


def test_on_a_terminal_a_spinner_tells_what_goes_on() -> None:
    stream = Stream(is_terminal=True)
    with Progress(stream).step("Bake a cake") as step:
        step.now("stir [bold]well[/]")
    assert "⠋ Bake a cake" in plain(stream.text())
    assert "Bake a cake - stir [bold]well[/]" in plain(stream.text())


def plain(text: str) -> str:
    """The text without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_on_a_terminal_an_ended_step_stays_with_its_sign_and_time() -> None:
    stream = Stream(is_terminal=True)
    run_steps(stream)
    shown = plain(stream.text())
    for line in (r"✓ Bake a cake \d+\.\d s\n    with cherries\n", r"✗ Eat it \d+\.\d s\n    one slice\n$"):
        assert re.search(line, shown)


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_step_ends_as_failed_and_gives_the_cursor_back(end: type[BaseException]) -> None:
    stream = Stream(is_terminal=True)
    with pytest.raises(end), Progress(stream).step("Bake a cake"):
        raise end
    assert "✗ Bake a cake" in plain(stream.text())
    assert stream.text().rfind("\x1b[?25h") > stream.text().rfind("\x1b[?25l") >= 0


def test_the_time_of_a_step_stands_still_when_it_has_ended() -> None:
    with Progress(Stream(is_terminal=False)).step("Bake a cake") as step:
        time.sleep(0.05)
    first = step.seconds
    time.sleep(0.02)
    assert first >= 0.05
    assert step.seconds == first
