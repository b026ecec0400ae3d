"""The clock of the sandbox. It runs with the machine's and can be moved."""

import os
import threading
import time
from pathlib import Path


class Clock:
    """UNIX time plus an offset in seconds.

    With a path the offset lies in that file, as text, and is read again whenever the file changes, so that
    several processes share one clock. Without a path it is held in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._offset = 0.0
        self._stamp: tuple[int, int, int] | None = None
        self._lock = threading.Lock()

    @property
    def offset(self) -> float:
        """Seconds that this clock is ahead of the machine's."""
        if self._path is None:
            return self._offset
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return 0.0
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp != self._stamp:
            self._offset = float(self._path.read_text(encoding="ascii").strip() or 0)
            self._stamp = stamp
        return self._offset

    def now(self) -> float:
        """UNIX seconds."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock by this many seconds; a negative number moves it back."""
        with self._lock:
            self._write(self.offset + seconds)

    def set(self, moment: float) -> None:
        """Move the clock to this moment (UNIX seconds), from where it runs on."""
        with self._lock:
            self._write(moment - time.time())

    def _write(self, offset: float) -> None:
        if self._path is None:
            self._offset = offset
            return
        # A reader never sees half a number: the file is replaced as a whole.
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(repr(offset), encoding="ascii")
        temporary.replace(self._path)
