"""The measured choice between ways to compute one thing: once per question, key and machine, then remembered.

    choose("linear.forward", {"rows": 512, "in": 384, "out": 1024, "dtype": "float32"}, {"torch": f, "onednn": g})

The first candidate is the stock one. Another is chosen only where it was quicker beyond noise (`_choice_timing`). What
was measured is kept in a file of this machine below the user's cache folder (`_choice_file`), so that the next process
takes the same way. Nothing is measured while torch traces or transforms the program, nor where a person has said what
to take:

    GATEWISE_CHOOSE="linear=onednn,ffn=torch"      the whole process
    with forced(linear="torch"): ...               this thread, inside the block

`linear` stands for every question whose name begins with it (`linear.forward`, `linear.by_input`, ...); the longer name
wins. Needs no torch until something is measured.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime

from gatewise.core import GatewiseError, unknown_name

from . import _choice_file
from ._choice_file import Choice, Key
from ._choice_timing import Clock, Price, Timing, compare

FORCE = "GATEWISE_CHOOSE"
"""Environment variable: `question=way,...`, taken without measuring."""
QUESTIONS = {
    "linear.forward": ("torch", "onednn", "split"),
    "linear.by_input": ("torch", "onednn", "split"),
    "linear.by_weight": ("torch", "onednn", "split", "turned"),
    "linear.inference": ("torch", "onednn", "split", "packed"),
    "ffn.inference": ("torch", "native", "rows", "panels", "split", "packed", "blocked"),
    "ffn.training": ("torch", "native", "save", "recompute"),
}
"""Every question that the kernels ask, and the ways that answer it, the stock one first."""
UNDECIDED = "too noisy to tell, so the stock way; measured again by the next process"

_forced: ContextVar[Mapping[str, str]] = ContextVar("gatewise_forced")
_lock = threading.RLock()
_answers: dict[tuple[str, Key], Choice] = {}
_as_told: dict[tuple[str, Key], Choice] = {}  # forced, and so beside what was measured
_environment: Mapping[str, str] | None = None
_quick: dict[tuple[object, ...], str] = {}


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()  # another thread may have held it when the process forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def choose(
    question: str,
    key: Mapping[str, object],
    candidates: Mapping[str, Callable[[], object]],
    prices: Mapping[str, Price] | None = None,
) -> str:
    """The name of the candidate to take for `question` at `key`.

    Args:
        question: such as `linear.forward`; its first word is its family, for which a way may be forced.
        key: what the answer depends on beside the machine: shapes, dtype. The number of torch's threads is added.
            Times are of the processor where that is 1 (and `device`, if there, is `cpu`), else of the wall clock.
        candidates: each computes the same thing once; the stock one first. They must not write to what anybody else
            reads: they are called many times, with no gradient recorded and autocast off.
        prices: of candidates that the caller may take for another reason than their time; `measured` says which of
            them were shown to take more.

    Raises `GatewiseError` where a way is forced that nobody knows, and what a candidate raises when all of them raise.
    """
    found = known(question, key)
    if found is not None and found in candidates:
        return found
    first = next(iter(candidates))
    wanted = _wanted(question)
    if wanted is not None:
        return _as_forced(question, key, wanted, candidates)
    settled = _settled(key)
    if len(candidates) == 1:
        return _remember(Choice(question=question, key=settled, chosen=first, source="only", note="no other way here"))
    why_not = _unmeasurable()
    if why_not is not None:
        return first  # not remembered: the next call may be able to measure
    with _lock:
        found = known(question, key)  # another thread may have measured meanwhile
        if found is not None and found in candidates:
            return found
        timing = _measure(candidates, settled, prices)
        choice = Choice(
            question=question,
            key=settled,
            chosen=timing.chosen,
            source="measured",
            times_s=timing.times_s,
            rounds=timing.rounds,
            dear=timing.dear,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            note="; ".join(filter(None, (timing.note, UNDECIDED if timing.undecided else None))) or None,
        )
        if not timing.undecided:
            _choice_file.store(choice)
        return _remember(choice)


def known(question: str, key: Mapping[str, object]) -> str | None:
    """What was chosen already, in this process or an earlier one of this machine; None where nothing was, or a way is
    forced that was not yet checked. Quick: for callers that would have to make candidates."""
    place = (question, _settled(key))
    wanted = _wanted(question)
    if wanted is not None:
        told = _as_told.get(place)
        return told.chosen if told is not None and told.forced == wanted else None
    answer = _answers.get(place)
    if answer is not None:
        return answer.chosen
    stored = _choice_file.load().get(place)
    if stored is None or stored.chosen not in QUESTIONS.get(question, (stored.chosen,)):
        return None  # a way that nobody knows, in a file that somebody else wrote
    return _remember(replace(stored, source="cached"))


def recall(place: tuple[object, ...]) -> str | None:
    """What `note` kept under `place`; None where nothing is, or a block forces a way. For a caller's hot loop."""
    return _quick.get(place) if _forced.get(None) is None else None


def note(place: tuple[object, ...], way: str) -> str:
    """Keep an answer of `choose` or `known` for `recall`, where no block forces a way and it was not for want of
    measuring."""
    if _forced.get(None) is None and _unmeasurable() is None:
        _quick[place] = way
    return way


def choices() -> tuple[Choice, ...]:
    """What this process was told, measured and forced, in the order of the questions: for records."""
    return tuple(sorted([*_answers.values(), *_as_told.values()], key=_choice_file.order))


def measured(question: str, key: Mapping[str, object]) -> Choice | None:
    """What a question was answered by, where this process was told and no way is forced."""
    return _answers.get((question, _settled(key))) if _wanted(question) is None else None


def forget(*, stored: bool = False) -> None:
    """Forget what this process was told, so that it is looked up or measured again; with `stored` the file as well."""
    global _environment
    with _lock:
        _answers.clear()
        _as_told.clear()
        _quick.clear()
        _environment = None
        _choice_file.forget(stored=stored)


@contextmanager
def forced(ways: Mapping[str, str] | None = None, /, **by_family: str) -> Generator[None]:
    """Take these ways inside the block, in this thread: `forced(linear="torch")` or
    `forced({"linear.forward": "torch"})`.

    Wins over GATEWISE_CHOOSE. Raises `GatewiseError` for an unknown question or way, naming the nearest, and for a
    question that is given twice.
    """
    if ways is not None and not isinstance(ways, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GatewiseError(f"forced takes question=way, such as forced(linear='torch'), or a mapping, not {ways!r}")
    given = {**(ways or {}), **by_family}
    if len(given) != len(ways or {}) + len(by_family):
        raise GatewiseError(f"forced: {', '.join(sorted((ways or {}).keys() & by_family))} is given twice")
    for question, way in given.items():
        _check(question, way)
    token = _forced.set({**_forced.get({}), **given})
    try:
        yield
    finally:
        _forced.reset(token)


def asked() -> dict[str, str]:
    """What is forced here and now, by question or family; empty when nothing is."""
    return {**_from_environment(), **_forced.get({})}


def is_forced(family: str) -> bool:
    """Is a way forced for any question of a family?"""
    inside, outside = _forced.get(None), _from_environment()
    if not inside and not outside:
        return False
    return any(question.partition(".")[0] == family for question in asked())


def bucket(number: int, most: int) -> int:
    """The power of two at or above `number`, at most `most`: what a varying number of rows is measured and kept as."""
    return min(1 << max(number - 1, 0).bit_length(), most)


def _settled(key: Mapping[str, object]) -> Key:
    import torch

    items = {name: value if isinstance(value, (str, int, float, bool)) else str(value) for name, value in key.items()}
    items.setdefault("threads", torch.get_num_threads())
    return tuple(sorted(items.items()))


def _wanted(question: str) -> str | None:
    """The way that is forced for a question: by its own name, or its family's; the block before the environment."""
    inside, outside = _forced.get(None), _from_environment()
    if not inside and not outside:
        return None
    family = question.partition(".")[0]
    for ways in (inside or {}, outside):
        wanted = ways.get(question) or ways.get(family)
        if wanted is not None:
            return wanted
    return None


def _from_environment() -> Mapping[str, str]:
    """What GATEWISE_CHOOSE says, read once a process (again after `forget`)."""
    global _environment
    if _environment is None:
        ways: dict[str, str] = {}
        for part in os.environ.get(FORCE, "").split(","):
            question, equals, way = (word.strip() for word in part.partition("="))
            if not part.strip():
                continue
            if not equals:
                raise GatewiseError(f"{FORCE}: {part.strip()!r} is not question=way, such as linear=torch")
            try:
                _check(question, way)
            except GatewiseError as error:
                raise GatewiseError(f"{FORCE}: {error}") from None
            ways[question] = way
        _environment = ways
    return _environment


def _check(question: str, way: str) -> None:
    ways: dict[str, set[str]] = {}
    for name, known_ways in QUESTIONS.items():
        ways[name] = set(known_ways)
        ways.setdefault(name.partition(".")[0], set()).update(known_ways)
    if not isinstance(question, str) or question not in ways:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise unknown_name("question to force a way for", question, ways)
    if not isinstance(way, str) or way not in ways[question]:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise unknown_name(f"way of {question!r}", way, ways[question])


def _as_forced(question: str, key: Mapping[str, object], wanted: str, candidates: Mapping[str, object]) -> str:
    """The forced way; the stock one where this question has no such way here, which its note says."""
    first = next(iter(candidates))
    note = None if wanted in candidates else f"{wanted} is no way of this here: valid {', '.join(candidates)}"
    chosen = first if note else wanted
    told = Choice(question=question, key=_settled(key), chosen=chosen, source="forced", forced=wanted, note=note)
    _as_told[question, told.key] = told
    return chosen


def _remember(choice: Choice) -> str:
    _answers[choice.question, choice.key] = choice
    return choice.chosen


def _unmeasurable() -> str | None:
    """Why nothing can be measured now; None when it can."""
    import torch

    from ._surroundings import watched

    return "torch compiles the program" if torch.compiler.is_compiling() else watched()


def _measure(candidates: Mapping[str, Callable[[], object]], key: Key, prices: Mapping[str, Price] | None) -> Timing:
    import torch

    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        return compare(candidates, clock=clock_for(dict(key)), prices=prices)


def clock_for(key: Mapping[str, object]) -> Clock:
    """The time of the one thread that computes, where it is one: what others do on the machine does not count then."""
    alone = key["threads"] == 1 and key.get("device", "cpu") == "cpu"
    return time.thread_time if alone else time.perf_counter
