"""The workers of a run share one Azurite, which is there as long as one of them uses it."""

import contextlib
import threading
from pathlib import Path
from typing import Self

import pytest

from sandbox.azurite import Azurite
from sandbox.ports import accepts_connections, listen
from tests.shared_azurite import shared

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="files are locked where there is fcntl")


class TestServer(Azurite):
    """It listens like Azurite, and does nothing else."""

    __test__ = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for port in self.ports.values():
                stack.enter_context(listen(port))
            self._stack = stack.pop_all()
        return self

    def runs(self) -> bool:
        return all(map(accepts_connections, self.ports.values()))


def test_the_second_uses_the_firsts_which_ends_when_both_are_done(tmp_path: Path) -> None:
    first, second, third = TestServer(tmp_path), TestServer(tmp_path), TestServer(tmp_path)
    begun = contextlib.ExitStack()
    assert begun.enter_context(shared(first, tmp_path)) is first
    with shared(second, tmp_path) as one:
        assert one.ports == first.ports
        leaving = threading.Thread(target=begun.close)
        leaving.start()
        leaving.join(0.05)
        assert leaving.is_alive()
        assert first.runs()
        assert not second.runs()
    leaving.join()
    assert not first.runs()
    with shared(third, tmp_path) as one:
        assert one is third
        assert third.runs()


def test_one_that_died_is_not_used(tmp_path: Path) -> None:
    dead, server = TestServer(tmp_path), TestServer(tmp_path)
    with shared(dead, tmp_path):
        left = (tmp_path / "azurite.json").read_text()
    (tmp_path / "azurite.json").write_text(left)
    with shared(server, tmp_path) as one:
        assert one is server
