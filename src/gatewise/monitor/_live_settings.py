"""What the live judge is told beforehand. Nothing here may be chosen after the traffic was seen."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from gatewise.core import GatewiseError

from ._budget import FalseAlarmBudget

Timing = Literal["latency", "compute"]
METRICS = ("latency", "tail", "errors", "disagreement", "accuracy")
DAY_S = 86_400.0
"""One round of the day for the people and systems that label; one missing label holds accuracy back no longer."""


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """Levels, margins and limits of the live judge.

    Attributes:
        alpha: the chance that a test of one metric of one comparison ever raises a false alarm.
        run_length: units (pairs; blocks of a canary) between two false alarms of a detector; None: no detectors.
        metrics: which of latency, tail, errors, disagreement and accuracy are judged.
        timing: `latency` (queue and computation) or `compute` alone.
        latency_margin: a ratio of medians that does not matter: 0.02 is 2 %.
        tail_limit_s: requests above it are the tail. None: the live version's own quantile of its first `tail_window`.
        tail_share, tail_window: that quantile's share (0.01: the 99th percentile), and of how many requests.
        tail_odds: how many times as large a tail you want to be told of soonest; most of the evidence is staked on it.
        tail_margin, errors_margin, accuracy_margin: differences of shares that do not matter.
        allowed_disagreement: the share of predictions that may differ between two versions.
        tolerance: how far two numbers may lie apart to count as the same prediction; a label likewise. 0 for classes.
        block: pairs that are known to share the private luck of one version (see `PairedEvidence`); 1: none known.
        canary_share: the share of requests that the canary gets; None: learnt from the traffic before each block.
        waiting: requests that wait for a partner or for labels at a time.
        labels_within_s: how far the records' own clock may go past a request before its labels are waited for no more;
            a day. Longer where labels take longer: those that come later count for nothing. None: while there is room.
        folder: the records' folder, for the replay command of an alarm.
    """

    alpha: float = 1e-3
    run_length: float | None = None
    metrics: tuple[str, ...] = METRICS
    timing: Timing = "latency"
    latency_margin: float = 0.02
    tail_limit_s: float | None = None
    tail_share: float = 0.01
    tail_window: int = 1_000
    tail_odds: float = 3.0
    tail_margin: float = 0.005
    errors_margin: float = 0.001
    accuracy_margin: float = 0.005
    allowed_disagreement: float = 0.05
    tolerance: float = 0.0
    block: int = 1
    canary_share: float | None = None
    waiting: int = 10_000
    labels_within_s: float | None = DAY_S
    folder: str = "FOLDER"

    def __post_init__(self) -> None:
        _within("alpha", self.alpha, 0.0, 0.5)
        _within("tail_share", self.tail_share, 0.0, 0.5)
        _within("allowed_disagreement", self.allowed_disagreement, 0.0, 1.0)
        if self.canary_share is not None:
            _within("canary_share", self.canary_share, 0.0, 1.0)
        for name in ("latency_margin", "tail_margin", "errors_margin", "accuracy_margin", "tolerance"):
            _number(name, getattr(self, name))
            if not 0 <= getattr(self, name) < math.inf:
                raise GatewiseError(f"{name} must be a finite number of 0 or more, not {getattr(self, name)!r}")
        for name in ("tail_limit_s", "labels_within_s"):
            value = getattr(self, name)
            if value is not None and (_number(name, value) <= 0 or not math.isfinite(value)):
                raise GatewiseError(f"{name} must be a finite number of seconds above 0, or None, not {value!r}")
        if self.run_length is not None and not 1 < _number("run_length", self.run_length) < math.inf:
            raise GatewiseError(f"run_length must be a number of units above 1, or None, not {self.run_length!r}")
        if not 1 < _number("tail_odds", self.tail_odds) < math.inf:
            raise GatewiseError(f"tail_odds must be above 1 (3 is a tripling), not {self.tail_odds!r}")
        for name in ("tail_window", "waiting", "block"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise GatewiseError(f"{name} must be a whole number of 1 or more, not {getattr(self, name)!r}")
        if self.tail_window * self.tail_share < 5:
            raise GatewiseError(
                f"tail_window = {self.tail_window} holds fewer than 5 of a share of {self.tail_share}; "
                f"take at least {math.ceil(5 / self.tail_share)}"
            )
        if self.timing not in ("latency", "compute"):
            raise GatewiseError(f"timing must be 'latency' or 'compute', not {self.timing!r}")
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics or len(set(self.metrics)) != len(self.metrics):
            raise GatewiseError(f"metrics must be different ones of {', '.join(METRICS)}, not {self.metrics!r}")

    def within(self, budget: FalseAlarmBudget) -> "LiveSettings":
        """The same settings with the levels that keep a budget of false alarms."""
        if budget.metrics < len(self.metrics):
            raise GatewiseError(f"the budget is for {budget.metrics} metrics; {len(self.metrics)} are judged")
        return replace(self, alpha=budget.alpha, run_length=budget.run_length)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise GatewiseError(f"{name} must be a number, not {value!r}")
    return float(value)


def _within(name: str, value: object, low: float, high: float) -> None:
    if not low < _number(name, value) <= high or value == 1.0:
        raise GatewiseError(f"{name} must lie above {low:g} and be at most {high:g} (and below 1), not {value!r}")
