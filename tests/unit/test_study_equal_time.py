"""Losses at equal time in the record: both uncertainties, a slower arm cut short, and a reason where there is none."""

import math
from typing import Any

import pytest

from gatewise.study import to_plan
from gatewise.study._cells import STEP_CELL, TRAIN
from gatewise.study._equal_time import equal_times
from gatewise.study._record import Record

PLAN = {
    "study": {"arms": ["gelu", "swiglu"]},
    "subject": {"workload": "byte-lm"},
    "train": {"seeds": 4, "steps": 400, "metrics": ["heldout_loss", "step_time"]},
}


def curve(seed: int, offset: float) -> list[list[float]]:
    """A straight way down, a little other by seed: 3 - steps / 400."""
    return [[step, 3.0 - step / 400 + offset + 0.01 * seed] for step in range(40, 401, 40)]


def record(ratio: float = 1.25, *, twin: float = 1.0, offset: float = -0.1, processes: int = 12) -> Record:
    part = to_plan(PLAN).parts[0]
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {STEP_CELL: []}
    for process in range(processes):
        wobble = 1 + 1e-4 * (process % 3 - 1)
        values = {
            "gelu": [0.01, 0.01],
            "gelu (twin)": [0.01 * twin * wobble] * 2,
            "swiglu": [0.01 * ratio * wobble] * 2,
        }
        rows[STEP_CELL].append((process, {"values": values, "pairs": [0, 0]}))
    for arm, moved in (("gelu", 0.0), ("swiglu", offset)):
        rows[TRAIN + arm] = [
            (seed, {"curve": curve(seed, moved * (1 + 0.05 * seed)), "failure": None, "final_loss": 2.0, "steps": 400})
            for seed in range(4)
        ]
    return Record(part=part, prepared={"arms": {"gelu": {}, "swiglu": {}}}, rows=rows)


def test_the_slower_arm_is_read_where_the_baseline_ends() -> None:
    (found,) = equal_times(record(1.25))
    assert found["reason"] is None
    assert (found["arm"], found["baseline"], found["seeds"]) == ("swiglu", "gelu", 4)
    assert found["baseline_steps"] == 400
    assert found["steps"] == pytest.approx(320, abs=1)  # 400 / 1.25
    # At equal steps it is 0.1075 better in the mean over seeds; 80 steps fewer cost it 0.2.
    assert found["difference"] == pytest.approx(0.2 - 0.1075, abs=2e-3)
    assert found["loss"] - found["baseline_loss"] == pytest.approx(found["difference"])
    low, high = found["interval"]
    assert low < found["difference"] < high


def test_the_quicker_arm_ends_first_and_the_baseline_is_read_there() -> None:
    (found,) = equal_times(record(0.8))
    assert found["steps"] == 400
    assert found["baseline_steps"] == pytest.approx(320, abs=1)
    assert found["difference"] == pytest.approx(-0.2 - 0.1075, abs=2e-3)


def test_a_noisy_cell_gives_a_reason_and_no_number() -> None:
    (found,) = equal_times(record(twin=1.1))
    assert "twin is not yet equivalent" in found["reason"]
    assert {found[name] for name in ("steps", "loss", "difference", "interval")} == {None}


def test_without_step_times_or_with_a_failed_run_there_is_a_reason() -> None:
    (found,) = equal_times(record(processes=0))
    assert found["reason"]
    assert found["loss"] is None
    failed = record()
    failed.rows[TRAIN + "swiglu"][0][1]["failure"] = "NaN/inf loss at step 7"
    (found,) = equal_times(failed)
    assert "failed" in found["reason"]


def test_one_seed_is_no_spread() -> None:
    held = record()
    for arm in ("gelu", "swiglu"):
        held.rows[TRAIN + arm] = held.rows[TRAIN + arm][:1]
    (found,) = equal_times(held)
    assert "two seeds" in found["reason"]


def test_a_part_that_does_not_ask_for_both_has_none() -> None:
    part = to_plan(PLAN | {"train": {"metrics": ["heldout_loss"]}}).parts[0]
    assert equal_times(Record(part=part, prepared={}, rows={})) == []
    assert all(math.isfinite(each["alpha"]) for each in equal_times(record()))
