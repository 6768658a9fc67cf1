"""A study's record on disk: SQLite in WAL mode, one row per finished cell of a process, written whole or not at all."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._errors import GatewiseError

SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (
    part TEXT NOT NULL, cell TEXT NOT NULL, process INTEGER NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (part, cell, process)
) WITHOUT ROWID;
"""


class Store:
    """The record of one study.

    A cell is identified by its part, its condition and its process; storing it twice is an error, so the final record
    has every cell once. All cells of one process are stored in one transaction.

    Raises:
        GatewiseError: not a study's store, a store of a newer gatewise, a full or read-only disk.
    """

    def __init__(self, path: Path) -> None:
        import sqlite3  # keeps `gatewise --help` light

        self.path = path
        self._error = sqlite3.Error
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None)
            found = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if found > SCHEMA_VERSION:
                raise GatewiseError(
                    f"{path} was written by a newer gatewise (store version {found}, this one reads {SCHEMA_VERSION})"
                    "\nupgrade gatewise, or give another --out"
                )
            names = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if found == 0 and names:
                raise GatewiseError(f"{path}: this file is a database of something else, not a gatewise study")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except self._error as error:
            text = str(error)
            if "full" in text:
                text = "the disk is full; what was stored before is safe, free space and use --resume"
            elif "not a database" in text:
                text = "this file is not a gatewise study"
            elif "locked" in text:
                text = "another gatewise is working on this study"
            raise GatewiseError(f"{self.path}: {text}") from error

    def close(self) -> None:
        """Close the file; the WAL is folded in."""
        self._db.close()

    def get(self, key: str) -> Any:
        """One value of the study's own facts (its plan, its environment), or None."""
        with self._errors():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: Any) -> None:
        """Store one of the study's own facts, replacing what stood there."""
        with self._errors():
            self._db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, json.dumps(value, allow_nan=False)),
            )

    def add(self, part: str, process: int, cells: dict[str, Any]) -> None:
        """Store the finished cells of one process, all or none. Raises `GatewiseError` when one is there already."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for cell, record in cells.items():
                    self._db.execute(
                        "INSERT INTO cells VALUES (?, ?, ?, ?)",
                        (part, cell, process, json.dumps(record, allow_nan=False)),
                    )
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def cells(self, part: str) -> list[tuple[str, int, Any]]:
        """All finished cells of a part as (cell, process, record), in order of process."""
        with self._errors():
            rows = self._db.execute(
                "SELECT cell, process, record FROM cells WHERE part = ? ORDER BY process, cell", (part,)
            ).fetchall()
        return [(cell, process, json.loads(record)) for cell, process, record in rows]
