"""The registry: a folder of immutable objects, and SQLite for labels, aliases and their history."""

import getpass
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._rows import ALIASES, NOTHING, Alias, Move, Version, before_rollback, check_alias, check_name

DATABASE = "registry.sqlite"
OBJECTS = "objects"
SCHEMA_VERSION = 1
BUSY_S = 30.0
"""How long a writer waits for another one."""

_TABLES = """
CREATE TABLE IF NOT EXISTS versions (
    model TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, threads INTEGER NOT NULL,
    registered TEXT NOT NULL, by TEXT NOT NULL, study TEXT, manifest TEXT NOT NULL, environment TEXT NOT NULL,
    PRIMARY KEY (model, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS moves (
    model TEXT NOT NULL, alias TEXT NOT NULL, revision INTEGER NOT NULL, before TEXT, after TEXT,
    kind TEXT NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL, because TEXT NOT NULL,
    PRIMARY KEY (model, alias, revision)
) WITHOUT ROWID;
"""
_MOVE = "model, alias, revision, before, after, kind, at, by, because"
_VERSION = "model, version, digest, threads, registered, by, study, manifest, environment"


class Registry:
    """Versions of models and where `live`, `shadow` and `canary` point.

    Every operation opens the database for itself, so a registry may be shared by threads and outlive a fork; every
    change is one transaction. An alias is what its last move says: there is no second place that could disagree.

    Args:
        folder: where it lies. `create`: whether it is made where there is none.

    Raises:
        GatewiseError: there is none, it is something else, it is of a newer gatewise, or the disk is full.
    """

    def __init__(self, folder: str | Path, *, create: bool = False) -> None:
        self.folder = Path(folder)
        self.path = self.folder / DATABASE
        if not self.path.is_file():
            if not create:
                raise GatewiseError(f"there is no registry in {str(self.folder)!r}; gatewise register makes one")
            try:
                (self.folder / OBJECTS).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise GatewiseError(f"cannot make the registry {self.folder}: {error.strerror or error}") from error
        with self._open() as database:
            found = int(database.execute("PRAGMA user_version").fetchone()[0])
            if found > SCHEMA_VERSION:
                raise GatewiseError(f"{self.path} was written by a newer gatewise; upgrade gatewise")
            if found == SCHEMA_VERSION:
                return
            if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise GatewiseError(f"{self.path}: this file is a database of something else, not a registry")
            database.execute("PRAGMA journal_mode=WAL")
            with _transaction(database):  # another process may have been first
                for statement in _TABLES.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def object(self, digest: str) -> Path:
        """The folder of a version's files."""
        return self.folder / OBJECTS / digest

    def models(self) -> list[str]:
        """The served names."""
        with self._open() as database:
            return [row[0] for row in database.execute("SELECT DISTINCT model FROM versions ORDER BY model")]

    def versions(self, model: str) -> list[Version]:
        """The versions of a model, the oldest first. Raises `GatewiseError` for an unknown model."""
        with self._open() as database:
            rows = database.execute(
                f"SELECT {_VERSION} FROM versions WHERE model = ? ORDER BY registered, version", (model,)
            ).fetchall()
        if not rows:
            raise unknown_name("model", model, self.models())
        return [_version(row) for row in rows]

    def version(self, model: str, name: str = "live") -> Version:
        """A version by its label, by an alias, or by its digest.

        Raises:
            GatewiseError: an unknown model or version, an alias that points nowhere.
        """
        known = self.versions(model)
        label = name
        if name in ALIASES:
            label = self.alias(model, name).version or ""
            if not label:
                raise GatewiseError(
                    f"{model}: {name} points at no version; gatewise promote {model} VERSION --to {name}"
                )
        for version in known:
            if label in (version.version, version.digest):
                return version
        raise unknown_name(f"version of {model}", name, [version.version for version in known])

    def alias(self, model: str, alias: str = "live") -> Alias:
        """Where an alias points; revision 0 where it was never moved."""
        check_alias(alias)
        with self._open() as database:
            return _alias(database, model, alias)

    def aliases(self, model: str) -> dict[str, Alias]:
        """All three, at one moment."""
        with self._open() as database, _transaction(database, "DEFERRED"):
            return {alias: _alias(database, model, alias) for alias in ALIASES}

    def history(self, model: str, alias: str = "live") -> list[Move]:
        """Every move of an alias, the first one first."""
        check_alias(alias)
        with self._open() as database:
            return _moves(database, model, alias)

    def add(self, version: Version) -> Version:
        """Write down a version whose files are in place. The same one again is no error.

        Raises:
            GatewiseError: the label has other content, or the same content with other threads or another study.
        """
        check_name("model", version.model)
        check_name("version", version.version)
        with self._open() as database, _transaction(database):
            row = database.execute(
                f"SELECT {_VERSION} FROM versions WHERE model = ? AND version = ?", (version.model, version.version)
            ).fetchone()
            if row is not None:
                known = _version(row)
                _check_same(known, version)
                return known
            database.execute(
                f"INSERT INTO versions ({_VERSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    version.model,
                    version.version,
                    version.digest,
                    version.threads,
                    version.registered,
                    version.by,
                    json.dumps(version.study, allow_nan=False) if version.study is not None else None,
                    json.dumps(version.manifest, allow_nan=False),
                    json.dumps(version.environment, allow_nan=False),
                ),
            )
        return version

    def restore(self, digest: str, manifest: Mapping[str, Any]) -> None:
        """Files that were gone are there again: the same content with new probes, which its versions now refer to."""
        with self._open() as database, _transaction(database):
            database.execute(
                "UPDATE versions SET manifest = ? WHERE digest = ?", (json.dumps(manifest, allow_nan=False), digest)
            )

    def promote(
        self,
        model: str,
        version: str,
        alias: str = "live",
        *,
        expect: str | None = None,
        because: str = "",
        by: str = "",
    ) -> Alias:
        """Point an alias at a version, by compare-and-swap.

        Args:
            version: a label, another alias, a digest; `none` empties `shadow` or `canary`.
            expect: the label that the alias must point at now (`none`: nowhere), else nothing is moved.
            because, by: kept in the history; `by` is the user's name by default.

        Raises:
            GatewiseError: unknown names; the alias does not point at what was expected.
        """
        check_alias(alias)
        if version == NOTHING and alias == "live":
            raise GatewiseError(f"live of {model} always points at a version; promote another one, or roll back")
        self.versions(model)
        label = None if version == NOTHING else self.version(model, version).version
        with self._open() as database, _transaction(database):
            now = _alias(database, model, alias)
            _check_expected(now, expect, _moves(database, model, alias))
            if now.version == label:
                return now
            return _move(database, now, label, kind="promote", because=because, by=by)

    def rollback(
        self, model: str, alias: str = "live", *, expect: str | None = None, because: str = "", by: str = ""
    ) -> Alias:
        """Point an alias at what it pointed at before. Twice goes two promotions back.

        Raises:
            GatewiseError: unknown names; there is nothing before; the alias does not point at what was expected.
        """
        check_alias(alias)
        self.versions(model)
        with self._open() as database, _transaction(database):
            now = _alias(database, model, alias)
            moves = _moves(database, model, alias)
            _check_expected(now, expect, moves)
            before = before_rollback(moves)
            if before is None or (alias == "live" and before[0] is None):
                told = f"{now.version!r} is the first" if now.version else "it never pointed anywhere"
                raise GatewiseError(f"{alias} of {model} has nothing to roll back to: {told}")
            return _move(database, now, before[0], kind="rollback", because=because, by=by)

    def before(self, model: str, alias: str = "live") -> str | None:
        """Where `rollback` would point an alias; None where it would point nowhere, or refuse."""
        found = before_rollback(self.history(model, alias))
        return found[0] if found else None

    @contextmanager
    def _open(self) -> Generator[Any]:
        import sqlite3  # keeps `gatewise --help` light

        try:
            database = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_S)
            try:
                database.execute("PRAGMA synchronous=FULL")
                yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            text = str(error)
            for sign, told in (
                ("full", "the disk is full; nothing was changed"),
                ("not a database", "this file is not a registry"),
                ("no such table", "this file is not a registry"),
                ("locked", "another gatewise is writing to it; nothing was changed"),
            ):
                text = told if sign in text else text
            raise GatewiseError(f"{self.path}: {text}") from error


@contextmanager
def _transaction(database: Any, kind: str = "IMMEDIATE") -> Generator[None]:
    database.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # a full disk has rolled it back already
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def now_text() -> str:
    """The time as it is written down."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def user() -> str:
    """Who is at work."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _move(database: Any, now: Alias, after: str | None, *, kind: str, because: str, by: str) -> Alias:
    row = (now.model, now.alias, now.revision + 1, now.version, after, kind, now_text(), by or user(), because)
    database.execute(f"INSERT INTO moves ({_MOVE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return Alias(model=now.model, alias=now.alias, version=after, revision=now.revision + 1)


def _check_expected(now: Alias, expect: str | None, moves: list[Move]) -> None:
    if expect is None or expect == (now.version or NOTHING):
        return
    last = f", moved by {moves[-1].by} at {moves[-1].at}" if moves else ""
    raise GatewiseError(
        f"{now.alias} of {now.model} points at {now.version or 'no version'} (revision {now.revision}{last}), "
        f"not at {expect}\nnothing was moved; look at gatewise versions {now.model}, then decide again"
    )


def _check_same(known: Version, new: Version) -> None:
    where = f"{known.model} {known.version}"
    if known.digest != new.digest:
        raise GatewiseError(
            f"{where} is registered with other content ({known.digest[:12]}, this is {new.digest[:12]}), and a version "
            "never changes\nregister it under another label"
        )
    if known.threads != new.threads:
        raise GatewiseError(
            f"{where} is registered with threads={known.threads}, not {new.threads}; give it another label"
        )
    old, other = ((version.study or {}).get("sha256") for version in (known, new))
    if other is not None and old != other:
        raise GatewiseError(f"{where} is registered with {'another' if old else 'no'} study; give it another label")


def _alias(database: Any, model: str, alias: str) -> Alias:
    row = database.execute(
        "SELECT after, revision FROM moves WHERE model = ? AND alias = ? ORDER BY revision DESC LIMIT 1", (model, alias)
    ).fetchone()
    return Alias(model=model, alias=alias, version=row[0] if row else None, revision=row[1] if row else 0)


def _moves(database: Any, model: str, alias: str) -> list[Move]:
    rows = database.execute(
        f"SELECT {_MOVE} FROM moves WHERE model = ? AND alias = ? ORDER BY revision", (model, alias)
    ).fetchall()
    return [Move(**dict(zip(_MOVE.split(", "), row, strict=True))) for row in rows]


def _version(row: tuple[Any, ...]) -> Version:
    fields: dict[str, Any] = dict(zip(_VERSION.split(", "), row, strict=True))
    for key in ("study", "manifest", "environment"):
        fields[key] = json.loads(fields[key]) if fields[key] is not None else None
    return Version(**fields)
