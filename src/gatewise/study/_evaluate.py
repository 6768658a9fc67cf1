"""`evaluate`: from a plan to its document. Opens or resumes the store, conducts, writes down what came out."""

import contextlib
import shutil
import signal
import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatewise import kernels
from gatewise.core import GatewiseError, Store, environment, same_machine

from ._conductor import Conductor, Goal, Progress
from ._errors import OtherStudyError
from ._plan import GATEWISE, Plan, from_json
from ._record import Record, read_record
from ._result import document

STORE = "study.sqlite"
DISK_BYTES = 800_000_000
"""Free disk a study asks for before it begins: copies of the arms, and its record."""


def machine() -> dict[str, Any]:
    """The environment of a record: `core.environment`, and whether native kernels are here or why not."""
    status = kernels.status()
    return {**environment(), "kernels": {"instruction_set": status.instruction_set, "reason": status.reason}}


def _quiet(text: str, left_s: float) -> None:
    del text, left_s


def _open(plan: Plan, out: Path, *, resume: bool) -> Store:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GatewiseError(f"cannot write to {out}: {error.strerror}") from error
    path = out / STORE
    existed = path.exists()
    if existed and not resume:
        raise GatewiseError(f"{out} already holds a study\nuse --resume to go on with it, or another --out")
    if not existed and shutil.disk_usage(out).free < DISK_BYTES:
        free = shutil.disk_usage(out).free / 1e9
        raise GatewiseError(f"{out} has {free:.1f} GB free; a study asks for {DISK_BYTES / 1e9:.1f} GB")
    store = Store(path)
    try:
        _begin(plan, store, out)
    except BaseException:
        store.close()
        raise
    return store


def _begin(plan: Plan, store: Store, out: Path) -> None:
    here = machine()
    known = store.get("plan")
    if known is None:
        store.put("plan", plan.to_json())
        store.put("environment", here)
        store.put("started", datetime.now(UTC).isoformat(timespec="seconds"))
        return
    if from_json(known).fingerprint != plan.fingerprint:
        raise OtherStudyError(
            f"{out} holds a study of another plan or seed\nresume it with its own plan, or give another --out"
        )
    differing = same_machine(store.get("environment"), here)
    if differing:
        raise OtherStudyError(
            f"{out} was measured on another machine or with other versions ({', '.join(differing)} differ)"
            "\nits records and new ones cannot be compared; give another --out"
        )
    _check_kernels(plan, store, here, out)


def _check_kernels(plan: Plan, store: Store, here: dict[str, Any], out: Path) -> None:
    """Arms on native kernels go on with the instruction set that they began with."""
    if not any(arm.kernel == GATEWISE for part in plan.parts for arm in part.arms):
        return
    before, now = (known["kernels"]["instruction_set"] for known in (store.get("environment"), here))
    if before != now:
        why = here["kernels"]["reason"]
        raise OtherStudyError(
            f"{out} was measured on native kernels {before}, and here they are {now or 'absent'}"
            f"{f' ({why})' if why else ''}\nits records and new ones cannot be compared; give another --out"
        )


@contextlib.contextmanager
def _terminable() -> Generator[None]:
    """SIGTERM ends the study as Ctrl-C does, where signals can be set (the main thread)."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, stop)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _forget(folder: Path, *, made: bool) -> None:
    for path in folder.glob(f"{STORE}*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "arms", ignore_errors=True)
    if made:
        with contextlib.suppress(OSError):  # somebody else put something there
            folder.rmdir()


def evaluate(
    plan: Plan,
    out: Path | str,
    *,
    resume: bool = False,
    progress: Progress = _quiet,
    replay: str = "",
    goal: Goal | None = None,
) -> dict[str, Any]:
    """Run a study and return its document (schema `gatewise.result/1`).

    Args:
        plan: what to compare.
        out: the folder of the study's record; it is made.
        resume: go on with the study that stands there. Finished cells are never measured again.
        progress: told what is being done and how many seconds of the budget are left.
        replay: the command that runs this study, for the record.
        goal: says what is still open, where it is not the study's own comparisons that matter.

    Raises:
        GatewiseError: bad input, a budget that cannot give one verdict, a disk that is full, a worker that crashed.
        KeyboardInterrupt: stopped by the user; what was finished is stored.
    """
    folder = Path(out)
    existed, made = (folder / STORE).exists(), not folder.exists()
    store = _open(plan, folder, resume=resume)
    began = time.monotonic()
    before = float(store.get("seconds") or 0.0)
    try:
        with _terminable():
            store.put("finished", False)
            Conductor(plan=plan, store=store, out=folder, progress=progress, goal=goal).run()
            store.put("finished", True)
    except GatewiseError:
        if not existed and not any(store.cells(part.name) for part in plan.parts):
            store.close()
            _forget(folder, made=made)  # nothing was measured: the next try must not stumble over this one
        raise
    finally:
        with contextlib.suppress(GatewiseError):  # a full disk was reported already
            store.put("seconds", before + time.monotonic() - began)
        store.close()
    shutil.rmtree(folder / "arms", ignore_errors=True)
    return read_study(folder, replay=replay)


def read_study(folder: Path | str, *, replay: str = "") -> dict[str, Any]:
    """The document of a stored study, finished or not. Raises `GatewiseError` when there is none."""
    path = Path(folder) / STORE
    if not path.is_file():
        raise GatewiseError(f"{folder} holds no gatewise study (no {STORE})")
    store = Store(path)
    try:
        plan = _stored_plan(store)
        if replay:
            store.put("replay", replay)
        return document(plan, store, replay=replay or store.get("replay") or "")
    finally:
        store.close()


def read_records(folder: Path | str) -> list[Record]:
    """What a stored study measured, part by part. Raises `GatewiseError` when there is none."""
    path = Path(folder) / STORE
    if not path.is_file():
        raise GatewiseError(f"{folder} holds no gatewise study (no {STORE})")
    store = Store(path)
    try:
        return [read_record(store, part) for part in _stored_plan(store).parts]
    finally:
        store.close()


def _stored_plan(store: Store) -> Plan:
    known = store.get("plan")
    if known is None:
        raise GatewiseError(f"{store.path} holds no plan: the study never began")
    return from_json(known)
