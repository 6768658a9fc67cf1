"""Which processes a run consists of, and how long they take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

RUNNERS = {
    "correctness": "correctness:run",
    "elementwise": "elementwise:run",
    "small": "small:run",
    "dram": "dram:run",
    "linear": "blocks:run_linear",
    "ffn": "blocks:run_ffn",
    "train": "training:run_train",
    "bf16": "training:run_bf16",
    "lm": "lm:run",
}
"""The module and function of each part."""
PARTS = tuple(name for name in RUNNERS if name != "correctness")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of process.

    Attributes:
        one: how many of one thread.
        more: how many of each other number of threads.
        quick: how many in a quick run.
        first_s, next_s: about how long the first takes, which compiles for all, and each later one; for the estimate
            of what is left until such processes were seen.
    """

    one: int
    more: int
    quick: int
    first_s: float
    next_s: float


KINDS: dict[tuple[str, str, str], Kind] = {
    ("elementwise", "recycled", ""): Kind(one=4, more=1, quick=2, first_s=150, next_s=50),
    ("elementwise", "fresh", ""): Kind(one=2, more=1, quick=1, first_s=10, next_s=10),
    ("small", "recycled", ""): Kind(one=4, more=0, quick=2, first_s=13, next_s=13),
    ("dram", "recycled", ""): Kind(one=3, more=1, quick=2, first_s=90, next_s=65),
    ("dram", "fresh", ""): Kind(one=1, more=0, quick=1, first_s=50, next_s=50),
    ("linear", "recycled", ""): Kind(one=1, more=1, quick=1, first_s=72, next_s=72),
    ("ffn", "recycled", ""): Kind(one=3, more=1, quick=1, first_s=175, next_s=85),
    ("train", "recycled", ""): Kind(one=4, more=1, quick=2, first_s=60, next_s=50),
    ("bf16", "recycled", ""): Kind(one=3, more=1, quick=1, first_s=60, next_s=55),
    ("bf16", "fresh", ""): Kind(one=3, more=0, quick=1, first_s=35, next_s=30),
    ("lm", "recycled", ""): Kind(one=3, more=1, quick=1, first_s=100, next_s=75),
    ("lm", "recycled", "forward"): Kind(one=3, more=1, quick=1, first_s=75, next_s=50),
    ("lm", "fresh", ""): Kind(one=3, more=0, quick=1, first_s=130, next_s=70),
    ("lm", "recycled", "losses"): Kind(one=4, more=0, quick=3, first_s=30, next_s=30),
}
"""Part, memory and piece. Losses do not depend on time: their processes are seeds."""
QUICKER = 0.4
"""About the share of these times that a quick run takes."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One process: what it is asked, and its number among those of its kind, which is its seed."""

    asked: dict[str, Any]
    number: int
    kind: Kind

    @property
    def name(self) -> str:
        """Of all processes that are asked the same."""
        return ", ".join(str(value) for value in self.asked.values())


def steps(parts: Sequence[str], threads: Sequence[int], *, quick: bool) -> list[Step]:
    """All processes: one thread first, which is judged; round by round, so that what the machine does falls on all."""
    found: list[Step] = []
    for count in sorted(set(threads)):
        for turn in range(max(kind.one for kind in KINDS.values())):
            for (part, memory, only), kind in KINDS.items():
                number = kind.one if count == 1 else kind.more
                if quick:
                    number = kind.quick if count == 1 else min(kind.more, kind.quick)
                if part in parts and turn < number:
                    asked = {"part": part, "memory": memory, "only": only, "threads": count}
                    found.append(Step(asked=asked, number=turn, kind=kind))
    return found


def remaining_s(left: Iterable[Step], took_s: Mapping[str, Sequence[float]], *, quick: bool) -> float:
    """About how long these processes will take: as long as others of their kind did, else as long as is known.

    `took_s` holds the times that were seen, in order, by a step's name; the first of several compiles for the others.
    """
    total = 0.0
    for step in left:
        found = took_s.get(step.name, ())
        usual = step.kind.first_s if step.number == 0 else step.kind.next_s
        if len(found) > 1:
            total += fmean(found[1:])
        elif found and step.number > 0:
            total += min(found[0], found[0] * step.kind.next_s / step.kind.first_s)
        else:
            total += usual * (QUICKER if quick else 1.0)
    return total
