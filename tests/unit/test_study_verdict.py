"""What a study says in plain words: an unfair arm is branded where it is named, a reason stands with its own arms."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from test_study_evidence import facts

from gatewise.core import GatewiseError, Store
from gatewise.study import Plan, to_plan
from gatewise.study._budget import Prices, check_affordable
from gatewise.study._cells import TRAIN
from gatewise.study._conductor import Conductor
from gatewise.study._executor import Executor
from gatewise.study._questions import judged
from gatewise.study._record import Record
from gatewise.study._verdict import next_steps, verdict

UNFAIR = "unmatched: 15 parameters against 10 (+50 %, matching = none)"


def plan(*arms: Any, seeds: int = 6, metrics: Sequence[str] = ("heldout_loss",)) -> Plan:
    return to_plan(
        {
            "study": {"arms": list(arms)},
            "subject": {"workload": "byte-lm"},
            "train": {"seeds": seeds, "metrics": list(metrics)},
        }
    )


def run_of(loss: float, failure: str | None = None) -> dict[str, Any]:
    return {
        "final_loss": loss,
        "curve": [[50, 2 * loss], [100, loss]],
        "steps": 100,
        "failure": failure,
        "data_order_sha256": "same",
    }


def record(made: Plan, losses: dict[str, float], *, unfair: Sequence[str] = ()) -> Record:
    rng = random.Random(0)
    rows = {
        TRAIN + label: [(seed, run_of(loss * rng.lognormvariate(0, 0.001))) for seed in range(6)]
        for label, loss in losses.items()
    }
    prepared = facts(*losses)
    for label in unfair:
        prepared["arms"][label] = prepared["arms"][label] | {"unfair": UNFAIR}
    return Record(part=made.parts[0], prepared=prepared, rows=rows)


def said(held: Record) -> dict[str, Any]:
    return verdict([held], [judged(held)], shares=(), dropped=(), interrupted=False)


def test_an_unfair_arm_is_branded_in_the_headline_and_not_recommended() -> None:
    made = plan("gelu", {"name": "swiglu", "label": "swiglu-none", "matching": "none"})
    found = said(record(made, {"gelu": 3.0, "swiglu-none": 2.7}, unfair=["swiglu-none"]))
    assert found["answers"][0]["verdict"] == "better"
    assert "swiglu-none (unfair) pays against gelu" in found["headline"]
    assert found["recommendation"].startswith("Stay with gelu: only swiglu-none (unfair) came out better")


def test_a_fair_arm_that_pays_is_recommended_before_an_unfair_one_that_gains_more() -> None:
    made = plan("gelu", "swiglu", {"name": "swiglu", "label": "swiglu-none", "matching": "none"})
    held = record(made, {"gelu": 3.0, "swiglu": 2.8, "swiglu-none": 2.5}, unfair=["swiglu-none"])
    found = said(held)
    assert "swiglu and swiglu-none (unfair) pay against gelu" in found["headline"]
    assert found["recommendation"] == "Change to swiglu, on this machine and this model."


def test_a_reason_names_only_the_arms_that_it_is_about() -> None:
    held = record(plan("gelu", "swiglu", "relu"), {"gelu": 3.0, "swiglu": 3.0, "relu": 3.0})
    for label in ("swiglu", "relu"):
        held.rows[TRAIN + label] = [(seed, run_of(3.0, f"NaN/inf loss at step {len(label)}")) for seed in range(6)]
    assert next_steps(held, judged(held)) == [
        "held-out loss at equal steps of swiglu: swiglu: NaN/inf loss at step 6 (6 of 6 seeds).",
        "held-out loss at equal steps of relu: relu: NaN/inf loss at step 4 (6 of 6 seeds).",
    ]


@pytest.mark.parametrize(("asked", "told"), [(2, 2), (3, 3), (6, 4)])
def test_a_budget_that_is_too_small_speaks_of_the_seeds_that_were_asked_for(asked: int, told: int) -> None:
    with pytest.raises(GatewiseError, match=f"training 2 arms on {told} seeds"):
        check_affordable(plan("gelu", "relu", seeds=asked), Prices(), 3.0, 1.0)


class _Slow:
    """An executor of which every run ends after the budget."""

    def untimed(self, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for job in jobs:
            yield job, run_of(3.0)


def test_runs_that_the_end_of_the_budget_left_out_stand_among_what_was_dropped(tmp_path: Path) -> None:
    made = plan("gelu", "relu", seeds=3)
    store = Store(tmp_path / "study.sqlite")
    store.put("prepared:main", facts("gelu", "relu"))
    store.put("training:main", {"plan": {"steps": 100}, "seeds": 3})
    conductor = Conductor(
        plan=made, store=store, out=tmp_path, progress=lambda text, left: None, executor=cast(Executor, _Slow())
    )
    conductor.deadline = -1e9
    conductor._train(made.parts[0])  # pyright: ignore[reportPrivateUsage]
    (dropped,) = cast(list[dict[str, Any]], store.get("dropped"))
    kept = store.cells("main")
    store.close()
    assert len(list(kept)) == 1
    assert dropped["what"] == "5 of 6 training runs of part 'main'"
    assert "the budget ended" in dropped["why"]
