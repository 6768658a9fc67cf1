"""`train.compare_at = "time"`: every arm's schedule is planned to end after the same time, so that none is cut short.

An arm gets as many steps as the baseline's training time holds of its own, and its learning rate falls to the end over
those. What a step takes is measured here, arm and baseline in interleaved pairs, before anything is trained. It is a
measurement: another machine or hour gives another number of steps, and a study that is resumed keeps those it has. The
judged losses do not carry its uncertainty: an arm whose ratio is not known to `TOLERANCE` is branded like an unmatched
one, which on a busy machine is the usual end.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewise import train
from gatewise.core import Evidence, GatewiseError, Rule

RATIOS = "step-ratios.json"
ALPHA = 0.05
TOLERANCE = 0.05
"""How far the ends of a ratio's interval may lie from it, as a share."""

FEWEST_SHARE, MOST_SHARE = 0.2, 5.0
"""A ratio beyond these is no schedule that anybody would compare."""

_RULE = Rule(kind="ratio", direction="lower", margin=0.05)


def step_ratios(
    measured: Mapping[str, Callable[[], list[float]]], *, folder: Path | None = None
) -> dict[str, dict[str, Any]]:
    """By arm, how long its step takes against the baseline's: `ratio`, `interval` (95 %), `known` (to `TOLERANCE`).

    Args:
        measured: by arm, gives the log-ratios of interleaved pairs when called.
        folder: where they are kept for a study that is resumed.

    Raises `GatewiseError` where a ratio has no interval or is beyond what can be compared.
    """
    kept = None if folder is None else folder / RATIOS
    if kept is not None and kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    found = {label: _ratio(label, log_ratios()) for label, log_ratios in measured.items()}
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(found), encoding="utf-8")
        unfinished.replace(kept)
    return found


def _ratio(label: str, effects: list[float]) -> dict[str, Any]:
    judged = Evidence(effects=tuple(effects), rule=_RULE, method="median").at(ALPHA)
    if judged.estimate is None or judged.interval is None:
        raise GatewiseError(f"what a step of {label} takes could not be measured: {judged.reason}")
    if not FEWEST_SHARE <= judged.estimate <= MOST_SHARE:
        raise GatewiseError(
            f"a step of {label} takes {judged.estimate:.2f} of the baseline's: too far apart for equal time"
            '\nvalid: compare_at = "steps", or arms of a like size'
        )
    low, high = judged.interval
    known = low >= judged.estimate * (1 - TOLERANCE) and high <= judged.estimate * (1 + TOLERANCE)
    facts = {"pairs": len(effects), "known": known, "tolerance": TOLERANCE, "reproducible": False}
    return {"ratio": judged.estimate, "interval": [low, high]} | facts


def scheduled(plan: train.TrainPlan, ratio: float) -> train.TrainPlan:
    """The plan of an arm whose step takes `ratio` of the baseline's, which is trained by `plan`: as long, to the end.

    The curve keeps its number of points, so that held-out evaluations take each arm's runs about as long too.
    """
    points = max(1, plan.steps // plan.eval_every)
    steps = max(points, round(plan.steps / ratio / points) * points)
    return replace(plan, steps=steps, eval_every=steps // points)


def spoken_steps(label: str, baseline: str, found: Mapping[str, Any]) -> str:
    """What every verdict on such an arm must be read with."""
    low, high = found["interval"]
    return (
        f"at equal time, not at equal steps: a step of {label} takes {found['ratio']:.3f} of {baseline}'s "
        f"({low:.3f} to {high:.3f}, before training), and its schedule has as many fewer or more"
    )


def unknown_ratio(label: str, found: Mapping[str, Any]) -> str | None:
    """Why an arm's schedule is no fair one, or None where the ratio of steps is known well enough."""
    if found["known"]:
        return None
    low, high = found["interval"]
    return (
        f"not matched by time: a step of {label} takes {found['ratio']:.3f} of the baseline's "
        f"({low:.3f} to {high:.3f}), and within {found['tolerance']:.0%} was asked"
    )
