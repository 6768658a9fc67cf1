"""How every arm is trained: the same steps, data, optimiser and schedule for all of them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from gatewise.core import GatewiseError, unknown_name

Schedule = Literal["cosine", "linear", "constant"]
Precision = Literal["f32", "bf16"]

MIN_STEPS = 200
"""Fewer steps are refused: the loss is then mostly byte frequencies and pairs, which every arm learns alike."""

_STEPS_MULTIPLE = 20
_EVAL_STEPS = 20
"""What one held-out evaluation of `byte-lm` costs beside its training steps: 0.34 s beside 0.017 s, measured."""

_MANY_POINTS, _FEW_POINTS = 10, 5
_EVAL_FROM = 0.6
_MOST_EVAL_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """One training run. Everything here is the same for all arms. Raises `GatewiseError` for a value out of range.

    Attributes:
        steps: optimiser steps.
        batch: sequences in a step; None takes the workload's own.
        learning_rate: AdamW's peak learning rate. On `byte-lm` 0.01 was the best of 0.005, 0.007, 0.01, 0.014 and 0.02
            for gelu, relu and swiglu alike, so the one rate favours none of them.
        warmup: the share of the steps over which the rate rises linearly from 0.
        schedule: how the rate falls after the warm-up: `cosine` or `linear` to `final_rate`, or `constant`.
        final_rate: the rate at the last step as a share of the peak.
        weight_decay: AdamW's, on matrices only.
        beta1, beta2: AdamW's.
        grad_clip: the largest global gradient norm; a larger one is scaled down to it. 0 does not clip.
        eval_every: steps between two points of the curve; the last step always is one.
        eval_from: the share of the steps before which no point is taken. The target lies late: where evaluations are
            dear, five points in the last 40 % read it better than five over the whole run: between points far apart a
            falling curve lies below the straight line, which overstated the steps of a slow arm by 6 %.
        eval_batches: how many of the workload's held-out batches each point of the curve is taken over; None takes
            all of them. The tokens are the same for every point, arm and seed.
        threads: torch threads, which also fixes the order of float additions.
        precision: `f32`, or `bf16`: products in bfloat16 (autocast) where the processor has them; weights, gradients,
            optimiser state and held-out losses stay float32.
    """

    steps: int = 900
    batch: int | None = None
    learning_rate: float = 1e-2
    warmup: float = 0.05
    schedule: Schedule = "cosine"
    final_rate: float = 0.0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    grad_clip: float = 1.0
    eval_every: int = 90
    eval_from: float = 0.0
    eval_batches: int | None = None
    threads: int = 1
    precision: Precision = "f32"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "eval_every", "eval_batches", "threads"):
            value = getattr(self, name)
            if value is None and name in ("batch", "eval_batches"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise GatewiseError(f"train.{name} must be a whole number of at least 1, got {value!r}")
        if self.schedule not in get_args(Schedule):
            raise unknown_name("schedule", self.schedule, get_args(Schedule))
        if self.precision not in get_args(Precision):
            raise unknown_name("precision", self.precision, get_args(Precision))
        self._check("learning_rate", self.learning_rate > 0, "above 0")
        for name in ("weight_decay", "grad_clip"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("warmup", "eval_from", "beta1", "beta2"):
            self._check(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._check("final_rate", 0 <= self.final_rate <= 1, "in [0, 1]")

    def _check(self, name: str, valid: bool, words: str) -> None:
        value = getattr(self, name)
        if not valid or not math.isfinite(value):
            raise GatewiseError(f"train.{name} must be a finite number {words}, got {value!r}")

    def rate(self, step: int) -> float:
        """The learning rate of optimiser step `step`, counted from 0."""
        warm = max(1, round(self.warmup * self.steps)) if self.warmup else 0
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = min(1.0, (step - warm) / max(1, self.steps - warm))
        fall = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[self.schedule]
        floor = 1.0 if self.schedule == "constant" else self.final_rate
        return self.learning_rate * (floor + (1 - floor) * fall)

    def evaluates(self, done: int) -> bool:
        """Whether the curve has a point after so many steps."""
        late_enough = done >= self.eval_from * self.steps - 1e-9
        return done == self.steps or (done % self.eval_every == 0 and late_enough)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a record or a worker process."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrainPlan":
        """The plan back from `to_json`, or from a plan file's table. Raises `GatewiseError` for an unknown key."""
        known = [field.name for field in fields(cls)]
        for key in data:
            if key not in known:
                raise unknown_name("train setting", key, known)
        return cls(**data)


def run_seconds(steps: int, step_seconds: float, *, eval_seconds: float | None = None) -> float:
    """Seconds of one run of so many steps, held-out evaluations included: the inverse of `scaled_plan`."""
    evaluation = _EVAL_STEPS * step_seconds if eval_seconds is None else eval_seconds
    work = (steps + 0.5) * step_seconds
    seconds = work + _MANY_POINTS * evaluation
    return seconds if _points(seconds, evaluation) == _MANY_POINTS else work + _FEW_POINTS * evaluation


def _points(seconds: float, evaluation: float) -> int:
    """How many points a curve gets in a run of so many seconds."""
    return _MANY_POINTS if _MANY_POINTS * evaluation <= _MOST_EVAL_SHARE * seconds else _FEW_POINTS


def scaled_plan(
    seconds_per_run: float,
    step_seconds: float,
    plan: TrainPlan | None = None,
    *,
    eval_seconds: float | None = None,
    most_steps: int | None = None,
) -> TrainPlan:
    """`plan` (default: `TrainPlan()`) with as many steps as fit into `seconds_per_run` of one process.

    The held-out tokens stay what they are: a gap between arms is blurred by too few of them more than by the seed.
    What gives way is the number of points: 10, or the last 5 of them where 10 would take more than a quarter of the
    time. The steps are rounded down to a multiple of 20, so that the 80 % point is one of them.

    Args:
        seconds_per_run: wall time for one run (one arm, one seed), in seconds, without starting its process.
        step_seconds: measured seconds of one step of the slowest arm.
        eval_seconds: seconds of one held-out evaluation; None takes 20 steps' time, as measured on `byte-lm`.
        most_steps: an upper limit for the steps.

    Raises `GatewiseError` when fewer than `MIN_STEPS` fit, and says what it would take: below that the curves are still
    about byte frequencies, and a verdict on the arms would be about nothing.
    """
    if not (math.isfinite(seconds_per_run) and math.isfinite(step_seconds) and step_seconds > 0):
        raise GatewiseError(
            f"training needs its time and a step's time in seconds, got {seconds_per_run}, {step_seconds}"
        )
    evaluation = _EVAL_STEPS * step_seconds if eval_seconds is None else eval_seconds
    points = _points(seconds_per_run, evaluation)
    fit = int((seconds_per_run - points * evaluation) / step_seconds)
    steps = (fit if most_steps is None else min(fit, most_steps)) // _STEPS_MULTIPLE * _STEPS_MULTIPLE
    if steps < MIN_STEPS:
        need = MIN_STEPS * step_seconds + _FEW_POINTS * evaluation
        raise GatewiseError(
            f"{seconds_per_run:.1f} s a training run allow {max(0, steps)} steps; fewer than {MIN_STEPS} say nothing\n"
            f"valid: at least {need:.1f} s a run on this machine, or a smaller model"
        )
    eval_from = 0.0 if points == _MANY_POINTS else _EVAL_FROM
    return replace(plan or TrainPlan(), steps=steps, eval_every=steps // _MANY_POINTS, eval_from=eval_from)
