"""From a plan to what stands in each cell: the arms times their runtimes, the twin, the conditions, the groups."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gatewise.core import METRICS

from ._plan import CALLS, STOCK, TIMED, TWIN_SUFFIX, Measure, Part

STEP_CELL = "step"
MEMORY = "memory:"
TRAIN = "train:"
TRAINING_MEMORY = "training-memory:"


@dataclass(frozen=True, kw_only=True)
class RunArm:
    """An arm on a runtime: what is loaded, and under which label it is measured."""

    label: str
    arm: str
    folder: str
    runtime: str
    slowdown: float = 0.0
    twin: bool = False
    kernel: str = STOCK

    def to_json(self) -> dict[str, Any]:
        """As a job carries it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One common condition with all arms in it."""

    batch: int
    tokens: int
    threads: int
    device: str
    dtype: str = "float32"
    call: str = "forward"
    """What one call does: `forward`, `backward` (and forward), `first_token` or `decode`."""

    @property
    def id(self) -> str:
        """A stable name, the key in the store."""
        where = f"batch={self.batch} tokens={self.tokens} threads={self.threads} device={self.device}"
        other = "" if self.dtype == "float32" else f" dtype={self.dtype}"
        return f"{where}{other}{'' if self.call == 'forward' else f' {self.call}'}"

    @property
    def conditions(self) -> dict[str, Any]:
        """As the record shows them."""
        shown = {"batch": self.batch, "tokens": self.tokens, "threads": self.threads, "device": self.device}
        return shown if self.dtype == "float32" else shown | {"dtype": self.dtype}

    def times(self, metric: str) -> bool:
        """Whether this cell is where a timed metric is taken."""
        return CALLS.get(metric) == self.call


def cells(measured: Measure) -> list[Cell]:
    """All conditions of a part, call by call in the order of `CALLS`."""
    asked = dict.fromkeys(CALLS[name] for name in measured.metrics if name in CALLS)
    if not asked or "peak_memory" in measured.metrics:
        asked["forward"] = None
    return [
        Cell(batch=batch, tokens=tokens, threads=threads, device=measured.device, dtype=measured.dtype, call=call)
        for call in dict.fromkeys(CALLS.values())
        if call in asked
        for threads in measured.threads
        for batch in measured.batch
        for tokens in measured.tokens
    ]


def forward_cells(measured: Measure) -> list[Cell]:
    """The conditions under which calls are weighed."""
    return [cell for cell in cells(measured) if cell.call == "forward"]


def run_arms(part: Part, folders: dict[str, str]) -> list[RunArm]:
    """The arms times the plan's runtimes, the baseline first; an arm with a runtime of its own runs on that alone."""
    runtimes = part.measure.runtimes if part.measure else ("eager",)
    found: list[RunArm] = []
    for arm in sorted(part.arms, key=lambda arm: arm.label != part.baseline):
        for runtime in (arm.runtime,) if arm.runtime else runtimes:
            label = f"{arm.label}/{runtime}" if len(runtimes) > 1 and not arm.runtime else arm.label
            found.append(
                RunArm(
                    label=label,
                    arm=arm.label,
                    folder=folders.get(arm.label, ""),
                    runtime=runtime,
                    slowdown=arm.slowdown,
                    kernel=arm.kernel,
                )
            )
    return found


def twin_of(baseline: RunArm) -> RunArm:
    """A second copy of the baseline, loaded on its own."""
    return RunArm(
        label=baseline.label + TWIN_SUFFIX,
        arm=baseline.arm,
        folder=baseline.folder,
        runtime=baseline.runtime,
        twin=True,
        kernel=baseline.kernel,
    )


def groups(arms: Sequence[RunArm], *, together: bool) -> list[list[RunArm]]:
    """Who stands in one process: all and the twin; where memory is short, baseline, twin and one arm at a time."""
    baseline, *others = arms
    twin = twin_of(baseline)
    if together:
        return [[baseline, twin, *others]]
    return [[baseline, twin, other] for other in others]


def judged_metrics(part: Part) -> Iterator[str]:
    """The metrics of a part that end in verdicts, in the plan's order."""
    if part.measure:
        yield from (name for name in part.measure.metrics if not METRICS[name].exact)
    if part.train:
        yield from part.train.metrics


def timed_family(part: Part) -> int:
    """How many comparisons come from timed processes: what decides how many processes a first verdict needs."""
    counts = [1]
    for name in judged_metrics(part):
        if name in TIMED and part.measure:
            here = [cell for cell in cells(part.measure) if cell.times(name)]
            counts.append((len(run_arms(part, {})) - 1) * len(here))
        elif name == "step_time":
            counts.append(len(part.arms) - 1)
    return max(counts)
