"""The choices of this machine, kept in a file: one file for each machine, below the user's cache folder.

    $GATEWISE_CACHE, else $XDG_CACHE_HOME/gatewise, else ~/.cache/gatewise

GATEWISE_CACHE=off keeps them in memory. A file that cannot be read is begun anew, a folder that cannot be written keeps
them in memory; `status` says so. Written whole under another name and then renamed, after the choices that another
process has written meanwhile were read. Needs no torch.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from gatewise.core import environment

from ._library import status as native_status

FOLDER = "GATEWISE_CACHE"
"""Environment variable: the folder of the file, or `off`."""
SCHEMA = "gatewise.choices/7"
LIMITS = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that make a machine another one to torch's libraries."""

Key = tuple[tuple[str, str | int | float | bool], ...]
"""Names and values, sorted by name."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One answer.

    Attributes:
        question: such as `linear.forward`.
        key: what it was asked for: shapes, dtype, threads.
        chosen: the way to take.
        source: `measured` in this process, `cached` from an earlier one, `forced`, or `only` where there is one way.
        times_s: median seconds a call of each candidate; empty where nothing was measured.
        rounds: how often each was timed.
        dear: those that are taken for another reason than time, and were shown to take more than that is worth.
        at: when it was measured, in ISO 8601.
        forced: the way that was asked for, where one was.
        note: what else there is to say: a candidate that failed, a forced way that is not there.
    """

    question: str
    key: Key
    chosen: str
    source: str
    times_s: Mapping[str, float] = field(default_factory=dict[str, float])
    rounds: int = 0
    dear: tuple[str, ...] = ()
    at: str | None = None
    forced: str | None = None
    note: str | None = None

    def plain(self) -> dict[str, Any]:
        """As data for a record."""
        return {**asdict(self), "key": dict(self.key), "times_s": dict(self.times_s), "dear": list(self.dear)}


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where choices are kept: the file, or None and why not; a reason beside a file says that it was begun anew."""

    path: Path | None
    reason: str | None = None


class _Held:
    """What this process has read of the file, and what went wrong with it."""

    path: Path | None = None
    choices: dict[tuple[str, Key], Choice] | None = None
    reason: str | None = None


@cache
def machine() -> dict[str, str]:
    """What must be equal for a choice to hold: the processor, its instructions, the versions."""
    facts = environment()
    packages = facts["packages"]
    versions = packages if isinstance(packages, dict) else {}
    native = native_status()
    found = {
        "cpu": str(facts["cpu"]),
        "instruction_set": str(facts["instruction_set"]),
        "torch": str(versions.get("torch")),
        "gatewise": str(versions.get("gatewise")),
        "native_kernels": native.instruction_set or "absent",
    }
    return found | {name: os.environ[name] for name in LIMITS if name in os.environ}


def folder() -> Path | None:
    """Where the file is; None when choices are not to be kept."""
    given = os.environ.get(FOLDER)
    if given == "off":
        return None
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base) / "gatewise" if base else Path.home() / ".cache" / "gatewise"
    except RuntimeError:  # no home
        return None


def _path() -> Path | None:
    place = folder()
    if place is None:
        return None
    identity = hashlib.sha256(json.dumps(machine(), sort_keys=True).encode()).hexdigest()[:12]
    return place / f"choices-{identity}.json"


def order(choice: Choice) -> tuple[str, list[tuple[str, float, str]]]:
    """By question, then by the values of the key: numbers as numbers, before words."""
    return choice.question, [_rank(name, value) for name, value in choice.key]


def _rank(name: str, value: str | float) -> tuple[str, float, str]:
    return (name, -1.0, value) if isinstance(value, str) else (name, value, "")


def load() -> dict[tuple[str, Key], Choice]:
    """The choices of this machine, read once a process and place."""
    if _Held.choices is None:
        _Held.path = _path()
        _Held.choices, _Held.reason = _read(_Held.path)
        if _Held.path is None:
            _Held.reason = f"{FOLDER}=off" if os.environ.get(FOLDER) == "off" else "this user has no home folder"
    return _Held.choices


def store(choice: Choice) -> None:
    """Keep a measured choice, in the file where there is one."""
    held = load()
    place = (choice.question, choice.key)
    held[place] = choice
    path = _Held.path
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            others, _ = _read(path)
            held.update({key: other for key, other in others.items() if key not in held})
            _write(path, held)
    except OSError as error:
        _Held.reason = f"choices are kept in memory only: {path.parent} cannot be written ({error.strerror or error})"


def forget(*, stored: bool = False) -> None:
    """Read the file again at the next question; with `stored`, remove it."""
    path = _Held.path or _path()
    _Held.choices, _Held.path, _Held.reason = None, None, None
    if stored and path is not None:
        path.unlink(missing_ok=True)


def status() -> Status:
    """Where the choices of this machine are kept, and what went wrong."""
    load()
    return Status(path=_Held.path, reason=_Held.reason)


def _read(path: Path | None) -> tuple[dict[tuple[str, Key], Choice], str | None]:
    """What is in a file; nothing, and why, where it is not what it should be."""
    if path is None:
        return {}, None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA or content["machine"] != machine():
            raise ValueError("it is of another version or machine")
        found = [_choice(each) for each in content["choices"]]
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        return {}, f"{path.name} could not be read and is begun anew: {str(error).splitlines()[0]}"
    return {(each.question, each.key): each for each in found}, None


def _choice(data: Mapping[str, Any]) -> Choice:
    times = {str(name): float(value) for name, value in data["times_s"].items()}
    chosen = data["chosen"]
    if chosen not in times and times:
        raise ValueError(f"{chosen!r} was not measured")
    return Choice(
        question=str(data["question"]),
        key=_key(data["key"]),
        chosen=str(chosen),
        source="measured",
        times_s=times,
        rounds=int(data["rounds"]),
        dear=tuple(str(each) for each in data["dear"]),
        at=None if data["at"] is None else str(data["at"]),
        note=None if data["note"] is None else str(data["note"]),
    )


def _key(data: Mapping[str, Any]) -> Key:
    for name, value in data.items():
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"{name} of a key is {value!r}")
    return tuple(sorted(data.items()))


def _write(path: Path, held: Mapping[tuple[str, Key], Choice]) -> None:
    entries = [replace(each, source="measured").plain() for each in sorted(held.values(), key=order)]
    content = json.dumps({"schema": SCHEMA, "machine": machine(), "choices": entries}, indent=1)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(content + "\n")
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """One process at a time, where the system can lock a file."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path.with_suffix(".lock"), "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
