"""Persistence of the vault's state: none, or one SQLite file.

The vault works in memory. A store gets every change, in one transaction, before the answer is sent.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

TIMEOUT = 2.0  # seconds until another store has closed the file
Change = tuple[str, str, str | None]
"""Kind, key and JSON; None deletes."""


class Store(Protocol):
    """What the vault needs of a store."""

    def load(self) -> Iterator[tuple[str, str, str]]:
        """Every stored kind, key and JSON."""
        ...

    def write(self, changes: Iterable[Change]) -> None:
        """Store all changes; if this raises, none."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class MemoryStore:
    """Stores nothing."""

    def load(self) -> Iterator[tuple[str, str, str]]:
        return iter(())

    def write(self, changes: Iterable[Change]) -> None:
        pass

    def close(self) -> None:
        pass


class SqliteStore:
    """One table in one file, which is this store's alone. A write that returned survives a kill of the process at any
    moment. Raises OSError for a file that another store uses, or that is none.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, timeout=TIMEOUT, check_same_thread=False, isolation_level=None)
            self._open()
        except sqlite3.Error as error:
            raise OSError(f"{path}: {error}") from error

    def _open(self) -> None:
        # The vault works in memory: it would not see what another one writes.
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode=WAL")
        # WAL with NORMAL loses nothing when the process dies; only a power failure can lose the last writes.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS state (kind TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, key))"
            " WITHOUT ROWID"
        )

    def load(self) -> Iterator[tuple[str, str, str]]:
        with self._lock:
            return iter(self._connection.execute("SELECT kind, key, value FROM state").fetchall())

    def write(self, changes: Iterable[Change]) -> None:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for kind, key, value in changes:
                    if value is None:
                        self._connection.execute("DELETE FROM state WHERE kind = ? AND key = ?", (kind, key))
                    else:
                        self._connection.execute("REPLACE INTO state VALUES (?, ?, ?)", (kind, key, value))
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()
