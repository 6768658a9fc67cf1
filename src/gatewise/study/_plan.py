"""The plan of a study: what is compared, on what, and how it is judged. It validates and never acts."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from gatewise.core import METRICS, GatewiseError, metric

from ._plan_search import Search, search_of

ORIGINAL = "original"
TWIN_SUFFIX = " (twin)"
CALLS = {
    "latency": "forward",
    "throughput": "forward",
    "gradient_time": "backward",
    "time_to_first_token": "first_token",
    "decode_time": "decode",
    "tokens_per_second": "decode",
}
"""Which call each timed metric is taken from."""

TIMED = tuple(CALLS)
GENERATED = ("time_to_first_token", "decode_time", "tokens_per_second", "kv_cache_bytes")
"""What takes a model that writes text token by token."""

DIAGNOSTICS = (
    "generalisation_gap",
    "heldout_accuracy",
    "shifted_loss",
    "slice_gap",
    "gradient_spread",
    "curvature_spread",
    "dead_units",
    "dead_units_most",
    "saturated_units",
    "gate_openness",
    "largest_hidden",
)
"""What a training run records beside its loss, each for its own price."""

STEPPED = ("step_time", "time_to_target")
LEARNT = ("heldout_loss", "steps_to_target", "time_to_target", *DIAGNOSTICS)
TRAINED = ("heldout_loss", "steps_to_target", *STEPPED, "training_memory", *DIAGNOSTICS)
DERIVED = ("cost",)
MATCHINGS = ("params", "flops", "time", "none")
"""What a gate's width is chosen by; `time` is measured, and only where arms are trained."""

STOCK, GATEWISE = KERNELS = ("stock", "gatewise")
"""What computes an arm: torch's own code, or gatewise's native kernels where it has them."""

PRECISIONS = ("f32", "bf16")
COMPARED_AT = ("steps", "time")
DTYPES = ("float32", "bfloat16", "float16")


def seconds(text: str | float) -> float:
    """A time span such as `90`, `"90s"`, `"2m"`, `"1.5h"` in seconds. Raises `GatewiseError`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|)\s*", str(text))
    if not found or float(found[1]) <= 0:
        raise GatewiseError(f"a time span looks like 90s, 2m or 1.5h, not {text!r}")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}[found[2]]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise GatewiseError(message)


def _positive_ints(name: str, values: tuple[int, ...]) -> None:
    good = bool(values) and all(type(value) is int and value > 0 for value in values)
    _require(good, f"{name} must be a list of whole numbers above 0, not {list(values)!r}")
    _require(len(set(values)) == len(values), f"{name} names a value twice: {list(values)!r}")


def _check_kernels(where: str, kernels: tuple[str, ...]) -> None:
    given = kernels if isinstance(kernels, str) else list(kernels)
    known = bool(kernels) and all(name in KERNELS for name in kernels) and len(set(kernels)) == len(kernels)
    _require(known, f"{where}.kernels is a list of {' and '.join(KERNELS)}, not {given!r}")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One variant. `slowdown` plants a known slowdown (0.1: calls take 10 % longer) to see whether it is noticed.

    `kernel` is `stock` or `gatewise`; without one the arm runs on each of the part's kernels.
    """

    name: str
    label: str = ""
    matching: str = "params"
    runtime: str = ""
    slowdown: float = 0.0
    kernel: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name + (f"+{GATEWISE}" if self.kernel == GATEWISE else ""))
        _require(self.kernel in ("", *KERNELS), f"an arm's kernel is {' or '.join(KERNELS)}, not {self.kernel!r}")
        _require(bool(self.name.strip()), "an arm needs a name")
        _require(not self.label.endswith(TWIN_SUFFIX), f"the label {self.label!r} is kept for the baseline's twin")
        _require(self.matching in MATCHINGS, f"matching is {', '.join(MATCHINGS)}, not {self.matching!r}")
        _require(
            0 <= self.slowdown <= 10 and math.isfinite(self.slowdown),
            f"slowdown is a fraction from 0 to 10, not {self.slowdown!r}",
        )


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model and its data: a workload by name, or a `model` (folder, saved model, `package.module:function`)."""

    workload: str = ""
    model: str = ""
    data: str = ""
    text: str = ""
    target: str = ""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Settings of a built-in workload: `{ dim = 96, layers = 4 }`."""

    def __post_init__(self) -> None:
        odd = [key for key, value in self.options.items() if type(value) is float and not math.isfinite(value)]
        _require(not odd, f"[subject] options: {', '.join(odd)} must be a finite number")
        _require(not self.options or bool(self.workload), "[subject] options go with a built-in workload, not a model")
        _require(bool(self.workload) != bool(self.model), "[subject] needs either workload or model")
        if self.data or self.text or self.target:
            _require(bool(self.model), "[subject] data, text and target go with model, not with a built-in workload")
            _require(
                bool(self.data and self.text and self.target),
                "quality on your own data needs all three of data, text and target in [subject]",
            )


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is measured without changing weights, under which conditions."""

    metrics: tuple[str, ...] = ("latency", "output_difference", "parameters", "flops")
    runtimes: tuple[str, ...] = ("eager",)
    kernels: tuple[str, ...] = (STOCK,)
    batch: tuple[int, ...] = (1, 32)
    tokens: tuple[int, ...] = (16,)
    threads: tuple[int, ...] = (1,)
    device: str = "cpu"
    dtype: str = "float32"
    """What weights and inputs are cast to where times and memory are measured."""

    calibration: str = ""
    """An `.npz` file of inputs that static quantisation takes its ranges from; without one, part of the probes."""

    allocator: str = "recycled"
    """`recycled`: freed memory is kept for the next call, as a tuned server does; `default`: the C library decides."""

    def __post_init__(self) -> None:
        allocators = ("recycled", "default")
        _require(self.allocator in allocators, f"measure.allocator is recycled or default, not {self.allocator!r}")
        for name, values in (("metrics", self.metrics), ("runtimes", self.runtimes)):
            words = bool(values) and all(type(value) is str for value in values)
            _require(words, f"measure.{name} must be a list of names, not {list(values)!r}")
        _check_kernels("measure", self.kernels)
        for name in self.metrics:
            metric(name)
        _require(
            re.fullmatch(r"cpu|cuda(:\d+)?", self.device) is not None,
            f"measure.device is cpu, cuda or cuda:N, not {self.device!r}",
        )
        _require(
            self.device == "cpu" or "peak_memory" not in self.metrics,
            "peak_memory is measured on the CPU; leave it out of the metrics for another device",
        )
        wrong = [name for name in self.metrics if name in TRAINED]
        _require(not wrong, f"{', '.join(wrong)} comes from training; name it in train.metrics of a [train] table")
        derived = [name for name in self.metrics if name in DERIVED]
        _require(
            not derived, f"{', '.join(derived)} follows from latency and a [cost] table; it is not measured itself"
        )
        written = [name for name in self.metrics if name in GENERATED]
        elsewhere = [name for name in self.runtimes if name != "eager"]
        _require(
            not (written and elsewhere),
            f"{', '.join(written)} is measured in eager, not on {', '.join(elsewhere)}; give it a part of its own",
        )
        _require(self.dtype in DTYPES, f"measure.dtype is {', '.join(DTYPES)}, not {self.dtype!r}")
        for name in ("batch", "tokens", "threads"):
            _positive_ints(name, getattr(self, name))
        _require(
            len(set(self.runtimes)) == len(self.runtimes) > 0, f"runtimes must be distinct names: {self.runtimes!r}"
        )


@dataclass(frozen=True, kw_only=True)
class Train:
    """Arms trained from scratch on equal data, budgets and paired seeds. `steps = 0`: as many as the budget allows.

    `learning_rate` is the peak for all arms; 0 takes the workload's own. With `search` (true, or a table of `Search`)
    each arm finds its own around that one. With `compare_at = "time"` (not `steps`) the arms' schedules are planned to
    end after the same time. `precision` is `f32`, or `bf16` for products in bfloat16.
    """

    seeds: int = 6
    steps: int = 0
    matching: str = "params"
    learning_rate: float = 0.0
    precision: str = "f32"
    compare_at: str = "steps"
    search: Search | None = None
    kernels: tuple[str, ...] = (STOCK,)
    metrics: tuple[str, ...] = ("heldout_loss", "steps_to_target", "step_time", "time_to_target")

    @property
    def learns(self) -> bool:
        """Whether anything is asked that takes whole training runs."""
        return any(name in LEARNT for name in self.metrics)

    @property
    def steps_timed(self) -> bool:
        """Whether single steps are timed."""
        return any(name in STEPPED for name in self.metrics)

    def __post_init__(self) -> None:
        object.__setattr__(self, "search", search_of(self.search))
        _check_kernels("train", self.kernels)
        _require(self.precision in PRECISIONS, f"train.precision is {' or '.join(PRECISIONS)}, not {self.precision!r}")
        _require(self.matching in MATCHINGS, f"matching is {', '.join(MATCHINGS)}, not {self.matching!r}")
        _require(
            self.compare_at in COMPARED_AT, f"train.compare_at is {' or '.join(COMPARED_AT)}, not {self.compare_at!r}"
        )
        _require(
            0 <= self.learning_rate < math.inf, f"train.learning_rate must be 0 or more, not {self.learning_rate!r}"
        )
        names = bool(self.metrics) and all(type(name) is str for name in self.metrics)
        _require(names, f"train.metrics must be a list of names, not {list(self.metrics)!r}")
        for name in self.metrics:
            _require(metric(name).name in TRAINED, f"{name} does not come from training; valid: {', '.join(TRAINED)}")
        _require(
            type(self.seeds) is int and self.seeds >= 2, f"train.seeds must be 2 or more (a spread), not {self.seeds!r}"
        )
        _require(type(self.steps) is int and self.steps >= 0, f"train.steps must be 0 or more, not {self.steps!r}")


RECORDED_WITH = {
    "dead_units_most": "dead_units",
    "gate_openness": "saturated_units",
    "largest_hidden": "saturated_units",
}
"""Metrics that one look gives along with another."""


def recorded(train: Train) -> tuple[str, ...]:
    """What runs record beside their loss."""
    names = (RECORDED_WITH.get(name, name) for name in train.metrics if name in DIAGNOSTICS)
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The level of a part's whole family of verdicts, and the margins that differ from the metrics' defaults."""

    alpha: float = 0.05
    margin: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        _require(0 < self.alpha < 0.5, f"judge.alpha must lie between 0 and 0.5, not {self.alpha!r}")
        for name, value in self.margin.items():
            metric(name)
            # From a plan file anything may stand here, whatever the annotation says.
            good = type(value) in (int, float) and math.isfinite(value) and 0 <= value < 10
            _require(good, f"judge.margin.{name} must be a number from 0 (direction only) to 10, not {value!r}")

    def margin_of(self, name: str) -> float:
        """The margin of one metric."""
        return float(self.margin.get(name, METRICS[name].margin))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a machine costs. Without `utilisation` (the share of an hour in which it answers) no cost is ever shown."""

    price_per_hour: float = 0.0
    requests_per_day: int = 0
    utilisation: float = 0.0

    def __post_init__(self) -> None:
        good = math.isfinite(self.price_per_hour) and self.price_per_hour > 0
        _require(good, "[cost] needs a price_per_hour above 0")
        _require(self.requests_per_day >= 0, f"cost.requests_per_day must be 0 or more, not {self.requests_per_day!r}")
        _require(0 <= self.utilisation <= 1, f"cost.utilisation is a share from 0 to 1, not {self.utilisation!r}")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One question: arms on one subject, with one family of verdicts."""

    name: str
    subject: Subject
    arms: tuple[Arm, ...]
    baseline: str = ""
    measure: Measure | None = None
    train: Train | None = None
    judge: Judge = field(default_factory=Judge)
    cost: Cost | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", tuple(self._on_kernels()))
        if not self.baseline and self.arms:
            object.__setattr__(self, "baseline", self.arms[0].label)
        labels = [arm.label for arm in self.arms]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        _require(not twice, f"two arms have the label {', '.join(map(repr, twice))}; give one another label")
        _require(self.baseline in labels, f"the baseline {self.baseline!r} is not an arm: {', '.join(labels)}")
        _require(len(labels) > 1, "a comparison needs at least two arms")
        _require(bool(self.measure or self.train), f"part {self.name!r} measures nothing: give [measure] or [train]")
        baseline = next(arm for arm in self.arms if arm.label == self.baseline)
        timed = [arm.label for arm in self.arms if arm.matching == "time"]
        _require(
            not timed or (self.train is not None and self.measure is None),
            f"matching = time is about training steps ({', '.join(timed)}): it goes with [train] and without [measure]",
        )
        _require(baseline.matching != "time", "the baseline's step is what the others are matched to by time")
        _require(baseline.slowdown == 0, "a slowdown is planted in an arm, not in the baseline")

    def _on_kernels(self) -> Iterator[Arm]:
        """The arms, each with its kernel; one without runs on each that the part names, in a row of its own."""
        asked = {table.kernels for table in (self.measure, self.train) if table} - {(STOCK,)} or {(STOCK,)}
        _require(len(asked) == 1, "measure.kernels and train.kernels multiply the same arms: give one of them")
        kernels = min(asked)
        for arm in self.arms:
            for kernel in (arm.kernel,) if arm.kernel else kernels:
                beside = f"+{kernel}" if not arm.kernel and len(kernels) > 1 and kernel != STOCK else ""
                yield replace(arm, kernel=kernel, label=arm.label + beside)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole study."""

    name: str
    parts: tuple[Part, ...]
    seed: int = 0
    budget_s: float = 600.0
    question: str = ""

    def __post_init__(self) -> None:
        _require(bool(self.parts), "a plan needs arms and a subject")
        names = [part.name for part in self.parts]
        _require(len(set(names)) == len(names), f"two parts have the same name: {', '.join(names)}")
        _require(
            type(self.seed) is int and 0 <= self.seed < 2**63,
            f"seed must be a whole number of 0 or more, not {self.seed!r}",
        )

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data: what the record keeps."""
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides which cells are measured; the budget may differ when a study is resumed."""
        content = self.to_json()
        del content["budget_s"]
        for part in content["parts"]:  # what does not say more than the arms do, and what no plan had before it
            for table in ("measure", "train"):
                (part[table] or {}).pop("kernels", None)
            for arm in part["arms"]:
                if arm["kernel"] == STOCK:
                    del arm["kernel"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def from_json(data: dict[str, Any]) -> Plan:
    """The plan back from `Plan.to_json`."""

    def build(kind: type, values: dict[str, Any]) -> Any:
        known = {item.name for item in fields(kind)}
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in known})

    parts = tuple(
        build(
            Part,
            part
            | {
                "subject": build(Subject, part["subject"]),
                "arms": tuple(build(Arm, arm) for arm in part["arms"]),
                "measure": build(Measure, part["measure"]) if part["measure"] else None,
                "train": build(Train, part["train"]) if part["train"] else None,
                "judge": build(Judge, part["judge"]),
                "cost": build(Cost, part["cost"]) if part["cost"] else None,
            },
        )
        for part in data["parts"]
    )
    return build(Plan, data | {"parts": parts})
