"""One file of a log: a SQLite database in WAL mode that holds the entries from its first number on.

A log's folder:

    log.lock                      held by the one process that writes
    segments/<first>.sqlite       the open file, and closed ones that are not Parquet yet
    records/<first>.parquet       closed files; `pandas.read_parquet(folder / "records")` reads them all
    labels/<first>.parquet        their labels, where they have any

While `<first>.sqlite` is there it is the truth, and Parquet files of the same name are leftovers of a conversion that
did not finish.
"""

import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from gatewise.core import GatewiseError

from ._log_rows import LABEL_COLUMNS, RECORD_COLUMNS, Row, VersionKey, text

SCHEMA_VERSION = 3
_APPLICATION_ID = 0x67776C67  # "gwlg"
_CHUNKS = (128, 16, 1)  # rows an INSERT; one statement takes the interpreter's lock once, whatever it inserts

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE versions (id INTEGER PRIMARY KEY, model TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE record_rows (
    number INTEGER PRIMARY KEY, request TEXT NOT NULL, at_ns INTEGER NOT NULL, version_id INTEGER NOT NULL,
    role TEXT NOT NULL, first INTEGER, status TEXT NOT NULL, reason TEXT, queue_s REAL, compute_s REAL,
    beside_s REAL, control INTEGER, rows INTEGER NOT NULL, batch_rows INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    features TEXT, outputs TEXT, predictions TEXT, confidences TEXT, content BLOB, source TEXT,
    source_number INTEGER NOT NULL
);
CREATE TABLE labels (
    number INTEGER PRIMARY KEY, request TEXT NOT NULL, row INTEGER NOT NULL, value REAL, at_ns INTEGER NOT NULL,
    source TEXT, source_number INTEGER NOT NULL
);
CREATE VIEW records AS SELECT record_rows.*, model, version, digest
    FROM record_rows JOIN versions ON versions.id = record_rows.version_id;
"""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss; where the system cannot (Windows), nothing is done."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def name_of(first: int) -> str:
    """The name that the files of a segment share."""
    return f"{first:020d}"


def segment_path(folder: Path, first: int) -> Path:
    """Where the SQLite file of a segment is."""
    return folder / "segments" / f"{name_of(first)}.sqlite"


def parquet_path(folder: Path, kind: str, first: int) -> Path:
    """Where the Parquet file of a segment's `records` or `labels` is."""
    return folder / kind / f"{name_of(first)}.parquet"


def firsts(folder: Path) -> list[int]:
    """The first numbers of all segments of a log, in order, whatever form they have."""
    found: set[int] = set()
    for path in (
        *folder.glob("segments/*.sqlite"),
        *folder.glob("records/*.parquet"),
        *folder.glob("labels/*.parquet"),
    ):
        if path.stem.isascii() and path.stem.isdigit():
            found.add(int(path.stem))
    return sorted(found)


def new_meta() -> dict[str, str]:
    """The facts of a log that begins. `log` is its identity; a copy of it that goes on by itself has the same one."""
    zeros = ("reserved", "dropped", "deleted_until", "deleted_records", "deleted_labels")
    return {"log": uuid.uuid4().hex, "created_ns": str(time.time_ns())} | dict.fromkeys(zeros, "0")


class Segment:
    """The open file of a log. Only its writer's thread touches it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = int(path.stem)
        self.versions: dict[VersionKey, int] = {}
        self._fresh: list[tuple[int, str, str, str]] = []
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            check_schema(self.db, path)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=1", "wal_autocheckpoint=2000"):
                self.db.execute(f"PRAGMA {pragma}")
            self.db.execute(f"PRAGMA journal_size_limit={64 << 20}")
            self.versions.update({(row[1], row[2], row[3]): row[0] for row in read_versions(self.db)})
            self.begun_ns = int(read_meta(self.db).get("begun_ns", time.time_ns()))
            self._page_bytes = int(self.db.execute("PRAGMA page_size").fetchone()[0])
        except BaseException:
            self.db.close()
            raise

    @classmethod
    def create(cls, folder: Path, first: int, meta: dict[str, str]) -> "Segment":
        """Begin a file: under another name first, so that a file with a segment's name is always whole."""
        path = segment_path(folder, first)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        db = sqlite3.connect(draft, isolation_level=None)
        try:
            db.executescript(_TABLES)
            db.executemany("INSERT INTO meta VALUES (?, ?)", {**meta, "begun_ns": str(time.time_ns())}.items())
            db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.execute("PRAGMA journal_mode=WAL")  # here, where no reader's lock is in the way
        finally:
            db.close()
        os.replace(draft, path)
        sync_folder(path.parent)
        return cls(path)

    def version_id(self, key: VersionKey) -> int:
        """The id of a version in this file; a new one is stored with the next commit."""
        known = self.versions.get(key)
        if known is None:
            known = self.versions[key] = len(self.versions) + 1
            self._fresh.append((known, text(key[0]), text(key[1]), text(key[2])))
        return known

    def write(self, records: Sequence[Row], labels: Sequence[Row], meta: dict[str, str]) -> None:
        """Store all of it in one durable transaction, or nothing. Raises `sqlite3.Error`."""
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        try:
            if self._fresh:
                db.executemany("INSERT INTO versions VALUES (?, ?, ?, ?)", self._fresh)
            _insert(db, "record_rows", len(RECORD_COLUMNS), records)
            _insert(db, "labels", len(LABEL_COLUMNS), labels)
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled it back already
                db.execute("ROLLBACK")
            raise
        self._fresh.clear()

    def last(self) -> int:
        """The largest number stored here; `first - 1` where there is none."""
        return max(last_number(self.db), self.first - 1)

    def size_bytes(self) -> int:
        """The size of the file, without what the WAL holds twice."""
        return int(self.db.execute("PRAGMA page_count").fetchone()[0]) * self._page_bytes

    def close(self) -> None:
        """Fold the WAL in and close; where a reader is in the way, the WAL stays and is folded in later."""
        with suppress(sqlite3.Error):
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()


def _insert(db: sqlite3.Connection, table: str, width: int, rows: Sequence[Row]) -> None:
    marks = "(" + ",".join("?" * width) + ")"
    at = 0
    for size in _CHUNKS:
        if len(rows) - at < size:
            continue
        statement = f"INSERT INTO {table} VALUES {','.join([marks] * size)}"
        while len(rows) - at >= size:
            db.execute(statement, [value for row in rows[at : at + size] for value in row])
            at += size


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is not a log's, or of another version. Raises `GatewiseError`; `sqlite3.Error` if damaged."""
    if path.stat().st_size == 0:
        raise sqlite3.DatabaseError("the file is empty")
    found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if int(db.execute("PRAGMA application_id").fetchone()[0]) != _APPLICATION_ID:
        raise GatewiseError(f"{path}: this file is a database of something else, not a gatewise log")
    if found != SCHEMA_VERSION:
        age = "a newer" if found > SCHEMA_VERSION else "an older"
        raise GatewiseError(
            f"{path} was written by {age} gatewise (log version {found}, this one reads {SCHEMA_VERSION})"
            f"\nread it with that version, or give another folder"
        )


def read_meta(db: sqlite3.Connection) -> dict[str, str]:
    """The facts of the log as this file knows them."""
    return {str(key): str(value) for key, value in db.execute("SELECT key, value FROM meta")}


def read_versions(db: sqlite3.Connection) -> list[tuple[int, str, str, str]]:
    """The versions that this file names, as (id, model, version, digest)."""
    return db.execute("SELECT id, model, version, digest FROM versions ORDER BY id").fetchall()


@contextmanager
def open_for_reading(path: Path) -> Generator[sqlite3.Connection]:
    """A connection for reading. Raises `FileNotFoundError` and `sqlite3.Error`.

    A WAL that a killed writer left must be recovered before it can be read, which a read-only connection cannot: then
    the file is opened for writing (SQLite's own locks guard it, no entry changes), or, in a folder that may not be
    written, a copy of it is read.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    with TemporaryDirectory(prefix="gatewise-log-") if not os.access(path.parent, os.W_OK) else nullcontext() as spare:
        address = path.absolute().as_uri()
        try:
            db = _probed(f"{address}?mode=ro", path)
        except sqlite3.OperationalError:
            if not path.exists():  # it has become Parquet, or was deleted, in this moment
                raise FileNotFoundError(path) from None
            if spare is None:
                db = _probed(f"{address}?mode=rw", path)
                db.execute("PRAGMA query_only=1")
            else:
                for end in ("", "-wal"):
                    if (source := path.with_name(path.name + end)).exists():
                        shutil.copyfile(source, Path(spare, source.name))
                db = _probed(Path(spare, path.name).as_uri(), path)
        with closing(db):
            yield db


def _probed(address: str, path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        check_schema(db, path)
    except BaseException:
        db.close()
        raise
    return db


def last_number(db: sqlite3.Connection) -> int:
    """The largest number in a file; 0 where there is none."""
    return int(
        db.execute(
            "SELECT max((SELECT coalesce(max(number), 0) FROM record_rows),"
            "           (SELECT coalesce(max(number), 0) FROM labels))"
        ).fetchone()[0]
    )


def read_rows(db: sqlite3.Connection, table: str, after: int, until: int, page: int) -> Iterator[Row]:
    """The rows of a table after a number and up to another, in order; each page is a short transaction of its own."""
    query = f"SELECT * FROM {table} WHERE number > ? AND number <= {until} ORDER BY number LIMIT {page}"
    while True:
        rows = db.execute(query, (after,)).fetchall()
        yield from rows
        if len(rows) < page:
            return
        after = rows[-1][0]


def remove(paths: Iterable[Path]) -> None:
    """Delete files that may be gone already."""
    for path in paths:
        path.unlink(missing_ok=True)
