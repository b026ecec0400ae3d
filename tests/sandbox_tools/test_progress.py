"""Progress is alive on a terminal, and plain lines anywhere else."""

import io
import re
import time

import pytest

from sandbox.progress import CLEAR_LINE, FRAMES, Progress, table

pytestmark = pytest.mark.usefixtures("a_good_terminal")


@pytest.fixture
def a_good_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)


class Stream(io.TextIOWrapper):
    def __init__(self, is_terminal: bool, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        self.is_terminal = is_terminal
        super().__init__(self.bytes, encoding=encoding, newline="")

    def isatty(self) -> bool:
        return self.is_terminal

    def text(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


def run_steps(stream: Stream) -> None:
    progress = Progress(stream)
    with progress.step("Bake a cake") as step:
        step.now("stir")
        step.now("stir")
        step.now("wait")
        step.detail("with cherries")
    with pytest.raises(ValueError, match="too hot"), progress.step("Eat it") as step:
        step.detail("one slice")
        raise ValueError("too hot")


def test_without_a_terminal_there_are_plain_lines() -> None:
    stream = Stream(is_terminal=False)
    run_steps(stream)
    lines = re.sub(r"\d+\.\d s", "N s", stream.text()).splitlines()
    assert lines == [
        "> Bake a cake",
        "  stir",
        "  wait",
        "  ok, N s",
        "    with cherries",
        "> Eat it",
        "  FAILED, N s",
        "    one slice",
    ]


def visible(text: str) -> list[str]:
    """What a terminal shows in the end."""
    lines = [line.rpartition(CLEAR_LINE)[2] for line in text.split("\n")]
    return [re.sub(r"\x1b\[\d*m", "", line) for line in lines]


def test_on_a_terminal_only_the_ended_steps_stay() -> None:
    stream = Stream(is_terminal=True)
    run_steps(stream)
    shown = [re.sub(r"\d+\.\d s", "N s", line) for line in visible(stream.text())]
    assert shown == ["✓ Bake a cake N s", "    with cherries", "✗ Eat it N s", "    one slice", ""]


def test_on_a_terminal_a_spinner_tells_what_goes_on() -> None:
    stream = Stream(is_terminal=True)
    with Progress(stream).step("Bake a cake") as step:
        step.now("stir")
        end = time.monotonic() + 60
        while stream.text().count("stir") < 3 and time.monotonic() < end:
            time.sleep(0.05)
    frames = [part for part in stream.text().split(CLEAR_LINE) if "stir" in part]
    assert len(frames) >= 2
    assert all(frame[0] in FRAMES for frame in frames)
    assert len({frame[0] for frame in frames}) >= 2


def test_a_spinner_is_never_wider_than_the_terminal() -> None:
    stream = Stream(is_terminal=True)
    with Progress(stream).step("x" * 200):
        end = time.monotonic() + 60
        while "x" not in stream.text() and time.monotonic() < end:
            time.sleep(0.05)
    frames = [part for part in stream.text().split(CLEAR_LINE) if part and part[0] in FRAMES]
    assert frames
    assert all(len(frame) < 60 for frame in frames)


def test_no_thread_is_left_behind_when_a_step_is_interrupted() -> None:
    import threading

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), Progress(Stream(is_terminal=True)).step("Bake a cake"):
        raise KeyboardInterrupt
    assert set(threading.enumerate()) <= before


def test_colours_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, plain = Stream(is_terminal=True), Stream(is_terminal=True)
    run_steps(stream)
    monkeypatch.setenv("NO_COLOR", "1")
    run_steps(plain)
    assert "\x1b[32m" in stream.text()
    assert not re.search(r"\x1b\[\d*m", plain.text())


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Stream(is_terminal=True)
    run_steps(stream)
    assert "\x1b" not in stream.text()


def test_a_terminal_that_knows_only_ascii_gets_plain_lines() -> None:
    stream = Stream(is_terminal=True, encoding="ascii")
    run_steps(stream)
    Progress(stream).line("Zürich")
    assert "\x1b" not in stream.text()
    assert stream.text().endswith("Z?rich\n")


def test_the_time_of_a_step_stands_still_when_it_has_ended() -> None:
    with Progress(Stream(is_terminal=False)).step("Bake a cake") as step:
        time.sleep(0.05)
    first = step.seconds
    time.sleep(0.02)
    assert first >= 0.05
    assert step.seconds == first


def test_a_table_is_aligned_with_numbers_to_the_right() -> None:
    rows = [["step", "calls", "seconds"], ["issue", "7", "1.2"], ["renew it", "12", "10.3"]]
    assert table(rows) == [
        "step      calls  seconds",
        "--------  -----  -------",
        "issue         7      1.2",
        "renew it     12     10.3",
    ]
