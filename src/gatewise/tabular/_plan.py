"""What is asked of a file: its target, the arms, the seeds, and the few settings beside them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name

Asked = Literal["auto", "classify", "regress"]
Task = Literal["classify", "regress"]

ARMS = ("gelu", "swiglu", "relu")
SEEDS, BUDGET_S = 6, 300.0
ALPHA = 0.05
MARGIN = 0.01
"""A change of less than one point of a hundred of what guessing costs is no practical difference."""

MOST_ROWS = 50_000
"""More rows than this are sampled; the page says so."""


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """One study of one file. Raises `GatewiseError` for an unknown arm or task and a value out of range.

    Attributes:
        target: the column to be predicted.
        arms: activations and gates of the neural network; the first is what the others are compared with.
        seeds: how often everything is trained, each time from other random starts on another part of the training rows.
        budget_s: no training starts that would probably end after it; what was finished is reported.
        task: `classify`, `regress`, or `auto`: numbers with more than ten different values are regressed.
        drop, keep: columns left out; columns kept whatever was found against them.
        group: rows with the same value in this column stay together on one side of every split.
        time: the date column of the split by time; None takes the one with the most different days.
        seed: everything random is derived from it and the file.
        folds: of a cross-validation, which every second seed repeats; 0 holds a quarter out instead; None takes five
            where the rows are fewer than a thousand, and else none.
    """

    target: str
    arms: tuple[str, ...] = ARMS
    seeds: int = SEEDS
    budget_s: float = BUDGET_S
    task: Asked = "auto"
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    seed: int = 0
    folds: int | None = None

    def __post_init__(self) -> None:
        if not self.arms:
            raise GatewiseError("a study needs at least one activation or gate\nvalid: --arms gelu,swiglu,relu")
        for arm in self.arms:
            activations.get(arm)
        if len(set(self.arms)) != len(self.arms):
            raise GatewiseError(f"an arm was named twice: {', '.join(self.arms)}")
        if self.task not in get_args(Asked):
            raise unknown_name("task", self.task, get_args(Asked))
        if isinstance(self.seeds, bool) or not 2 <= self.seeds <= 100:
            raise GatewiseError(
                f"seeds must be a whole number from 2 to 100, not {self.seeds!r}: one run has no spread"
            )
        if self.folds is not None and self.folds != 0 and not 3 <= self.folds <= 20:
            raise GatewiseError(f"folds must be a whole number from 3 to 20, or 0 for none, not {self.folds!r}")
        if not self.budget_s > 0:
            raise GatewiseError(f"the budget must be a time above 0, not {self.budget_s!r} s")

    def identity(self) -> dict[str, Any]:
        """What must be the same for a stored study to go on; seeds and budget may grow."""
        return {key: value for key, value in self.to_json().items() if key not in ("seeds", "budget_s")}

    def to_json(self) -> dict[str, Any]:
        """Plain data for the record."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


SETTINGS = ("drop", "keep", "group", "time", "seed", "folds")
"""What `--set` takes."""


def settings(given: Mapping[str, str]) -> dict[str, Any]:
    """`--set` as arguments of `TablePlan`. Raises `GatewiseError` with the nearest key."""
    found: dict[str, Any] = {}
    for key, content in given.items():
        if key not in SETTINGS:
            raise unknown_name("setting", key, SETTINGS)
        if key in ("seed", "folds"):
            if not (content.isascii() and content.isdecimal()):
                raise GatewiseError(f"--set {key}= takes a whole number, not {content!r}")
            found[key] = int(content)
        elif key in ("drop", "keep"):
            found[key] = tuple(name.strip() for name in content.split(",") if name.strip())
        else:
            found[key] = content
    return found


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A plan with the files it is about."""

    data: Path
    plan: TablePlan
    predict: Path | None = None
