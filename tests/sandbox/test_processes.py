"""Children end with their parent, however that ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.processes import ProcessError, Processes

ROOT = Path(__file__).parents[2]
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
# Starts a child that starts a grandchild, says both pids, and waits for what the test does to it.
PARENT = """
import sys, time
from pathlib import Path
from sandbox.processes import Processes, exit_on_signals
child = '''
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(grandchild.pid, flush=True)
time.sleep(60)
'''
exit_on_signals()
with Processes(Path(sys.argv[1])) as processes:
    started = processes.start("child", [sys.executable, "-c", child])
    started.wait_until(lambda: started.log.read_text().endswith("\\n"))
    print(started.pid, started.log.read_text().strip(), flush=True)
    if sys.argv[2] == "fail":
        raise ValueError("a failure in the parent")
    time.sleep(60)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_parent(directory: Path, behaviour: str = "wait") -> tuple[subprocess.Popen[str], list[int]]:
    command = [sys.executable, "-c", PARENT, str(directory), behaviour]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    return parent, pids


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_parent_ends_children_and_grandchildren(tmp_path: Path, number: signal.Signals) -> None:
    parent, pids = start_parent(tmp_path)
    parent.send_signal(number)
    parent.communicate(timeout=300)
    assert wait_for(lambda: not any(map(is_alive, pids)))


# Struck as soon as the child's process exists, before anybody has noted that it does.
STRUCK = """
import os, subprocess, sys
from pathlib import Path
from sandbox import processes

class Popen(subprocess.Popen):
    def __init__(self, command, **options):
        super().__init__(command, **options)
        if sys.argv[1] in command:
            os.kill(os.getpid(), int(sys.argv[2]))

processes.subprocess.Popen = Popen
processes.exit_on_signals()
with processes.Processes(Path(sys.argv[1])) as started:
    started.start("child", [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]])
"""


def runs_with(word: str) -> bool:
    """Whether there is a process with this word in its command."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(path.read_bytes())
    return any(word.encode() in command.split(b"\0") for command in commands)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_a_child_is_started_leaves_no_child(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", STRUCK, str(tmp_path), str(number.value)]
    parent = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300, check=False)
    assert parent.returncode in (-number, 128 + number)
    assert wait_for(lambda: not runs_with(str(tmp_path)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_failure_in_the_parent_ends_children_and_grandchildren(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path, "fail")
    assert "a failure in the parent" in parent.communicate(timeout=300)[1]
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sigterm_gives_the_usual_exit_code(tmp_path: Path) -> None:
    parent, _ = start_parent(tmp_path)
    parent.terminate()
    parent.communicate(timeout=300)
    assert parent.returncode == 128 + signal.SIGTERM


def test_a_process_that_ends_itself_says_its_last_words() -> None:
    program = """
import logging.handlers, sys
from sandbox.processes import end_process
kept = logging.handlers.MemoryHandler(9, target=logging.StreamHandler(sys.stdout))
logging.getLogger().addHandler(kept)
logging.warning("kept until the end")
print("on the way")
end_process(3)
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=300, check=False)
    assert (ended.returncode, ended.stdout) == (3, b"on the way\nkept until the end\n")


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.processes.GRACE", 0.3)
    with Processes(tmp_path) as processes:
        child = processes.start("stubborn", STUBBORN)
        child.wait_until(lambda: "deaf" in child.log.read_text())
    assert not child.is_running()


def test_a_child_is_asked_before_it_is_killed(tmp_path: Path) -> None:
    polite = (
        "import signal, sys, time; signal.signal(15, lambda *_: (print('bye'), sys.exit())); print('up', flush=True)"
    )
    with Processes(tmp_path) as processes:
        child = processes.start("polite", [sys.executable, "-c", f"{polite}; time.sleep(60)"])
        child.wait_until(lambda: "up\n" in child.log.read_text())
    assert child.log.read_text().split() == ["up", "bye"]


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    child = processes.start("sleep", SLEEP)
    processes.stop()
    processes.stop()
    assert not child.is_running()


def test_a_child_that_ends_too_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    words = "import sys; print('one'); sys.exit('the disk is full')"
    with Processes(tmp_path) as processes:
        child = processes.start("doomed", [sys.executable, "-c", words])
        with pytest.raises(ProcessError, match=r"(?s)doomed ended with code 1 .*doomed\.log.*one.*the disk is full"):
            child.wait_until(lambda: False)


def test_a_child_that_is_not_ready_in_time_is_reported(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("sleep", SLEEP)
        with pytest.raises(ProcessError, match=r"(?s)sleep was not ready within 0.1 s.*it wrote nothing"):
            child.wait_until(lambda: False, timeout=0.1)


def test_only_the_tail_of_a_long_log_is_shown(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        child = processes.start("chatty", [sys.executable, "-c", "for i in range(1000): print('line', i)"])
        with pytest.raises(ProcessError) as error:
            child.wait_until(lambda: False)
    assert "line 999" in str(error.value)
    assert "line 979" not in str(error.value)


def test_a_child_that_has_ended_is_noticed_later(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("sleep", SLEEP)
        processes.check()
        brief = processes.start("brief", [sys.executable, "-c", ""])
        assert wait_for(lambda: not brief.is_running())
        with pytest.raises(ProcessError, match="brief ended unexpectedly"):
            processes.check()


def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes, pytest.raises(ProcessError, match="ghost cannot be started"):
        processes.start("ghost", [tmp_path / "no-such-program"])


def test_a_child_gets_the_given_environment_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_PARENT", "1")
    show = "import os; print(sorted(n for n in os.environ if n.startswith('OF_')), flush=True)"
    with Processes(tmp_path) as processes:
        child = processes.start("env", [sys.executable, "-c", show], env={"OF_THE_TEST": "1"})
        assert wait_for(lambda: "]" in child.log.read_text())
    assert child.log.read_text().strip() == "['OF_THE_TEST']"


def test_a_child_started_by_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    from threading import Thread

    with Processes(tmp_path) as processes:
        thread = Thread(target=processes.start, args=("sleep", SLEEP))
        thread.start()
        thread.join()
        time.sleep(0.1)
        processes.check()


def test_no_child_is_left_to_this_process(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        pid = processes.start("sleep", SLEEP).pid
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
