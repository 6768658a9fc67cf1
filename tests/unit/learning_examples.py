"""Invented searches of learning rates, put into the example of a result."""

import copy
from typing import Any

RATES = (0.0025, 0.005, 0.01, 0.02, 0.04)
STEPS = (100, 200, 400)
LOSSES: dict[str, dict[float, tuple[float, ...]]] = {
    "gelu": {0.0025: (2.9,), 0.005: (2.6, 2.41), 0.01: (2.5, 2.35, 2.30), 0.02: (2.52, 2.37, 2.31), 0.04: (2.9,)},
    "relu": {0.0025: (2.9,), 0.005: (2.8,), 0.01: (2.6, 2.43), 0.02: (2.5, 2.4, 2.36), 0.04: (2.4, 2.38, 2.33)},
    "swiglu": {0.0025: (2.9,), 0.005: (2.5, 2.4, 2.29), 0.01: (2.4, 2.3, 2.22), 0.02: (2.55, 2.41), 0.04: ()},
    "swiglu wide": {0.0025: (2.9,), 0.005: (2.5, 2.4, 2.27), 0.01: (2.4, 2.3, 2.2), 0.02: (2.5, 2.4), 0.04: (2.8,)},
    "relu2": dict.fromkeys(RATES, ()),
}
"""By arm and rate: the mean loss at each rung that it was trained to; none where its runs failed at once."""


def basin(low: float, high: float, edges: tuple[str, str], most: float | None) -> dict[str, Any]:
    ends = {"low_edge": edges[0], "high_edge": edges[1], "factor_least": high / low, "factor_most": most}
    return {"distance": 0.02, "best": low, "low": low, "high": high} | ends


BETWEEN, BEYOND, STOPPED = "between", "at or beyond the grid", "not known: stopped early"
BASINS = {
    "gelu": basin(0.01, 0.02, (STOPPED, STOPPED), None),
    "relu": basin(0.04, 0.04, (BETWEEN, BEYOND), None),
    "swiglu": basin(0.01, 0.01, (BETWEEN, BETWEEN), 4.0),
    "swiglu wide": basin(0.01, 0.01, (BETWEEN, STOPPED), None),
    "relu2": None,
}
FAILURE = "NaN/inf loss at step 7"


def found(arm: str) -> dict[str, Any]:
    """What the search of one arm left in the record: two seeds, 0.01 to either side of the mean."""
    table: list[dict[str, Any]] = []
    for rate, means in LOSSES[arm].items():
        losses = {str(steps): [mean - 0.01, mean + 0.01] for steps, mean in zip(STEPS, means, strict=False)}
        failed = [] if means else [FAILURE, FAILURE]
        entry = {"rate": rate, "losses": losses or {"100": [None, None]}, "failures": failed}
        table.append(entry | {"stopped_at": None if len(means) == len(STEPS) else STEPS[max(len(means), 1) - 1]})
    ends = {rate: means[-1] for rate, means in LOSSES[arm].items() if len(means) == len(STEPS)}
    chosen = min(ends, key=lambda rate: ends[rate]) if ends else None
    rung = {"noise": 0.014, "within_noise": None, "within_distance": BASINS[arm]}
    return {
        "arm": arm,
        "matching": "params",
        "chosen": chosen,
        "at_edge": chosen in (RATES[0], RATES[-1]),
        "steps": 2200,
        "seconds": 31.5,
        "heldout_shared": arm == "swiglu",
        "table": table,
        "rungs": [{"steps": steps, "standing": 5 - 2 * place} | rung for place, steps in enumerate(STEPS)],
        "seeds": [1_000_003, 1_000_004],
    }


def with_search(document: dict[str, Any]) -> dict[str, Any]:
    """A result whose training part searched, and says what losses are at equal time."""
    made = copy.deepcopy(document)
    training = next(part["training"] for part in made["study"]["parts"] if part.get("training"))
    training["search"] = {
        "engine": "optuna",
        "journal": "search-1.optuna.journal",
        "arms": {arm: found(arm) for arm in LOSSES},
        "rates": list(RATES),
        "rung_steps": list(STEPS),
        "budget_steps_per_arm": 2200,
        "distance": 0.02,
        "noise": 2.0,
        "seconds": 150.0,
    }
    none = dict.fromkeys(("steps", "baseline_steps", "loss", "baseline_loss", "difference", "interval"))
    training["equal_time"] = [
        {"arm": "relu", "baseline": "gelu", "steps": 600.0, "baseline_steps": 570.0, "loss": 2.244, "alpha": 0.05}
        | {"baseline_loss": 2.231, "difference": 0.013, "interval": [0.004, 0.022], "seeds": 6, "reason": None},
        none | {"arm": "swiglu", "baseline": "gelu", "alpha": 0.05, "seeds": 0, "reason": "the step was not timed"},
    ]
    return made
