"""Which processes a run consists of."""

from collections.abc import Sequence
from dataclasses import dataclass
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

PROCESSES: dict[tuple[str, str, str], tuple[int, int, int]] = {
    ("elementwise", "recycled", ""): (4, 2, 2),
    ("elementwise", "fresh", ""): (2, 1, 1),
    ("small", "recycled", ""): (4, 0, 2),
    ("dram", "recycled", ""): (3, 2, 2),
    ("dram", "fresh", ""): (1, 0, 1),
    ("linear", "recycled", ""): (3, 1, 1),
    ("ffn", "recycled", ""): (3, 1, 1),
    ("train", "recycled", ""): (4, 2, 2),
    ("bf16", "recycled", ""): (3, 1, 1),
    ("bf16", "fresh", ""): (2, 0, 1),
    ("lm", "recycled", ""): (3, 1, 1),
    ("lm", "fresh", ""): (2, 0, 1),
    ("lm", "recycled", "losses"): (4, 0, 3),
}
"""Part, memory and piece to the number of processes: of one thread, of each other number of threads, and when quick.

Losses do not depend on time: their processes are seeds."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One process: what it is asked, and its number among those of its kind, which is its seed."""

    asked: dict[str, Any]
    number: int


def steps(parts: Sequence[str], threads: Sequence[int], *, quick: bool) -> list[Step]:
    """All processes, round by round, so that what the machine does besides falls on all parts."""
    kinds = []
    for (part, memory, only), (one, more, few) in PROCESSES.items():
        if part not in parts:
            continue
        for count in dict.fromkeys(threads):
            number = few if quick and (count == 1 or more) else 0 if quick else one if count == 1 else more
            kinds.append(({"part": part, "memory": memory, "only": only, "threads": count}, number))
    most = max((number for _, number in kinds), default=0)
    return [Step(asked=kind, number=turn) for turn in range(most) for kind, number in kinds if turn < number]
