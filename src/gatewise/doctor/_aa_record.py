"""The record of A/A studies on disk: `aa.jsonl`, one finished study a line, written through before the next begins."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gatewise.core import GatewiseError, environment, same_machine

from ._aa_plan import Design

FILE = "aa.jsonl"
SCHEMA = "gatewise.aa/1"
REQUIRED = ("schema", "seed", "environment", "design", "comparisons", "seconds")

Line = dict[str, Any]


class Record:
    """The studies in one folder; used in a `with`. Without a folder they are kept in memory.

    A last line that was half written when something was killed is cut off before the next one is written; the study in
    it was never reported. Opening a record changes nothing in it.

    Raises:
        GatewiseError: a folder that cannot be written, a file that is damaged or something else, records of another
            machine, other versions or another design, another doctor at work on the same file.
    """

    def __init__(self, folder: Path | None, design: Design) -> None:
        self.studies: list[Line] = []
        self.cut = 0
        self._end: int | None = None
        self._mend = b""
        self._design = design
        self._file = None
        if folder is None:
            return
        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
        except OSError as error:
            raise GatewiseError(f"cannot write {self._path}: {error.strerror}") from error
        try:
            self._lock()
            self._read()
            self._check()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def next_seed(self) -> int:
        """A seed that no study of the record has had."""
        return max((int(study["seed"]) for study in self.studies), default=-1) + 1

    def add(self, study: Mapping[str, Any]) -> None:
        """Keep one finished study: on the disk, not in a buffer, when this returns."""
        line: Line = {"schema": SCHEMA, "design": self._design.to_json(), "environment": environment()} | dict(study)
        if self._file is not None:
            try:
                if self._end is not None:
                    self._file.truncate(self._end)
                self._file.write(self._mend + json.dumps(line, allow_nan=False).encode() + b"\n")
                self._end, self._mend = None, b""
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise GatewiseError(f"cannot write {self._path}: {error.strerror}") from error
        self.studies.append(line)

    def _lock(self) -> None:
        assert self._file is not None
        try:
            import fcntl
        except ImportError:  # not on this system
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise GatewiseError(f"another gatewise doctor is at work on {self._path}") from error
        except OSError:
            return  # a file system without locks

    def _read(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        content = self._file.read()
        *lines, last = content.split(b"\n")
        for number, line in enumerate(lines, 1):
            study = parsed(line)
            if study is None:
                raise GatewiseError(f"{self._path}, line {number}: not an A/A study of gatewise; give another --out")
            self.studies.append(study)
        if not last:
            return
        study = parsed(last)
        if study is not None:  # only the end of the line is missing
            self.studies.append(study)
            self._mend = b"\n"
        elif lines or last.startswith(b"{"):
            self.cut = len(last)
            self._end = len(content) - len(last)
        else:
            raise GatewiseError(f"{self._path} is not a record of A/A studies; give another --out")

    def _check(self) -> None:
        here, design = environment(), self._design.to_json()
        for study in self.studies:
            differing = same_machine(study["environment"], here)
            if differing:
                raise GatewiseError(
                    f"{self._path} comes from another machine or other versions ({', '.join(differing)} differ)"
                    "\nits rates and new ones cannot be added up; give another --out"
                )
            other = [key for key, value in design.items() if study["design"].get(key) != value]
            if other:
                was = ", ".join(f"{key} {study['design'].get(key)!r}" for key in other)
                raise GatewiseError(f"{self._path} holds A/A studies of another design ({was}); give another --out")


def parsed(line: bytes) -> Line | None:
    """One line as a study, or None when it is not a whole one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found, dict) and all(key in found for key in REQUIRED) and found["schema"] == SCHEMA
    shaped = whole and isinstance(found["comparisons"], list) and isinstance(found["seed"], int)
    return found if shaped and isinstance(found["environment"], dict) and isinstance(found["design"], dict) else None
