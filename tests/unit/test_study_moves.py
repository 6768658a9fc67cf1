"""What moves the time, from planted records: a runtime by so much, an activation by so much, or nothing to say."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_study_evidence import facts, timed

from gatewise.core import Store
from gatewise.study import Plan, to_plan
from gatewise.study._moves import moves, told
from gatewise.study._record import Record, read_record
from gatewise.study._result import document

RUNTIMES = ("eager", "onnxruntime")
TIMES = {("gelu", "eager"): 1.0, ("gelu", "onnxruntime"): 0.5, ("relu", "eager"): 0.96, ("relu", "onnxruntime"): 0.48}


def plan(runtimes: tuple[str, ...] = RUNTIMES, arms: tuple[str, ...] = ("gelu", "relu"), **measure: Any) -> Plan:
    measured = {"metrics": ["latency"], "batch": [1], "runtimes": list(runtimes)} | measure
    tables = {"study": {"arms": list(arms)}, "subject": {"workload": "sentence-encoder"}, "measure": measured}
    return to_plan(tables)


def stored(
    tmp_path: Path,
    times: Mapping[tuple[str, str], float],
    *,
    made: Plan | None = None,
    processes: int = 20,
    calls: tuple[str, ...] = ("",),
) -> Store:
    """A store with times of every arm on every runtime, and of the baseline's twin, at planted ratios."""
    store = Store(tmp_path / "study.sqlite")
    store.put("prepared:main", facts(*dict.fromkeys(arm for arm, _ in times)))
    store.put("environment", {"packages": {"gatewise": "0"}})
    several = len({runtime for _, runtime in times}) > 1
    ratios = {f"{arm}/{runtime}" if several else arm: ratio for (arm, runtime), ratio in times.items()}
    first = next(iter(ratios))
    rng = random.Random(0)
    for process in range(processes):
        cells = {
            f"batch={batch} tokens=16 threads=1 device=cpu{call}": timed(rng, ratios | {f"{first} (twin)": 1.0})
            for call in calls
            for batch in ((made or plan()).parts[0].measure or pytest.fail("nothing is measured")).batch
        }
        store.add("main", process, cells)
    return store


def found(tmp_path: Path, times: Mapping[tuple[str, str], float], **more: Any) -> list[dict[str, Any]]:
    made = more.get("made") or plan()
    store = stored(tmp_path, times, **more)
    entries = list(moves(read_record(store, made.parts[0])))
    store.close()
    return entries


def test_a_runtime_of_twice_the_speed_is_not_the_activations_doing(tmp_path: Path) -> None:
    (entry,) = found(tmp_path, TIMES)
    runtime, activation = entry["runtime"], entry["activation"]
    assert (runtime["arm"], runtime["than"]) == ("gelu/onnxruntime", "gelu/eager")
    assert runtime["factor"] == pytest.approx(2.0, rel=0.01)
    assert runtime["interval"][0] < 0.5 < runtime["interval"][1]
    assert activation["arm"].startswith("relu/")
    assert activation["arm"].partition("/")[2] == activation["than"].partition("/")[2]
    assert activation["factor"] == pytest.approx(1 / 0.96, rel=0.01)
    assert entry["conditions"]["batch"] == 1
    assert "2.00 times (gelu/onnxruntime is faster than gelu/eager)" in entry["text"]
    assert "the activation moves it far less, 1.04 times" in entry["text"]


def test_every_ratio_stays_on_one_axis(tmp_path: Path) -> None:
    (entry,) = found(tmp_path, TIMES)
    assert [(row["arm"], row["than"]) for row in entry["runtimes"]] == [("gelu/onnxruntime", "gelu/eager")]
    assert [(row["arm"], row["than"]) for row in entry["activations"]] == [
        ("relu/eager", "gelu/eager"),
        ("relu/onnxruntime", "gelu/onnxruntime"),
    ]


@pytest.mark.parametrize(("others", "expected"), [((0.5, 0.4), "openvino"), ((0.4, 0.5), "onnxruntime")])
def test_of_several_runtimes_the_fastest_is_set_against_the_plans_first(
    tmp_path: Path, others: tuple[float, float], expected: str
) -> None:
    names = ("eager", "onnxruntime", "openvino")
    times = {(arm, name): time for arm in ("gelu", "relu") for name, time in zip(names, (1.0, *others), strict=True)}
    (entry,) = found(tmp_path, times, made=plan(names))
    assert (entry["runtime"]["arm"], entry["runtime"]["than"]) == (f"gelu/{expected}", "gelu/eager")
    assert entry["runtime"]["factor"] == pytest.approx(2.5, rel=0.01)
    assert [row["than"] for row in entry["runtimes"]] == ["gelu/eager", "gelu/eager"]


def test_an_activation_that_moves_more_than_the_runtime_is_said_to(tmp_path: Path) -> None:
    times = {("gelu", "eager"): 1.0, ("gelu", "onnxruntime"): 0.9, ("relu", "eager"): 0.5, ("relu", "onnxruntime"): 0.9}
    (entry,) = found(tmp_path, times)
    assert entry["runtime"]["factor"] == pytest.approx(1 / 0.9, rel=0.01)
    assert entry["activation"]["arm"] == "relu/eager"
    assert "the activation moves it more, 2.00 times (relu/eager is faster than gelu/eager)" in entry["text"]


def test_an_activation_that_makes_it_slower_counts_by_its_distance(tmp_path: Path) -> None:
    times = TIMES | {("relu", "onnxruntime"): 0.5 * 3}
    (entry,) = found(tmp_path, times)
    assert entry["activation"]["factor"] == pytest.approx(3.0, rel=0.01)
    assert "3.00 times (relu/onnxruntime is slower than gelu/onnxruntime)" in entry["text"]


def test_what_is_not_told_apart_from_nothing_is_said_so(tmp_path: Path) -> None:
    times = {(arm, runtime): 1.0 if runtime == "eager" else 0.5 for arm, runtime in TIMES}
    (entry,) = found(tmp_path, times)
    low, high = entry["activation"]["interval"]
    assert low <= 1 <= high
    assert entry["text"].count("not told apart from 1") == 1
    assert "1.00 times, which is not told apart from 1 (relu/" in entry["text"]


def test_a_single_process_has_no_interval_and_claims_nothing(tmp_path: Path) -> None:
    (entry,) = found(tmp_path, TIMES, processes=1)
    assert entry["runtime"]["interval"] is None
    assert "nothing is told apart" in entry["text"]
    assert "twin" in entry["refusal"]
    assert entry["runtime"]["estimate"] == pytest.approx(0.5, abs=0.01)  # what was seen stays in the record


@pytest.mark.parametrize(
    ("made", "times"),
    [
        (plan(("eager",)), {("gelu", "eager"): 1.0, ("relu", "eager"): 0.9}),
        (plan(metrics=["gradient_time"], runtimes=["eager", "compile"]), TIMES),
        (plan(metrics=["peak_memory"]), TIMES),
    ],
    ids=["one runtime", "another call", "no times"],
)
def test_nothing_to_set_side_by_side_gives_nothing(
    tmp_path: Path, made: Plan, times: Mapping[tuple[str, str], float]
) -> None:
    assert found(tmp_path, times, made=made, processes=5) == []


def test_an_arm_on_a_runtime_of_its_own_is_no_second_runtime_of_the_baseline(tmp_path: Path) -> None:
    served = {"name": "gelu", "label": "served", "runtime": "onnxruntime"}
    tables = {
        "study": {"arms": ["gelu", "relu", served]},
        "subject": {"workload": "sentence-encoder"},
        "measure": {"metrics": ["latency"], "batch": [1]},
    }
    times = {("gelu", "eager"): 1.0, ("relu", "eager"): 0.9, ("served", "eager"): 0.5}
    assert found(tmp_path, times, made=to_plan(tables), processes=5) == []


def test_a_planted_slowdown_is_not_the_activations_doing(tmp_path: Path) -> None:
    tables = {
        "study": {"arms": ["gelu", "relu", {"name": "gelu", "label": "slow", "slowdown": 1.0}]},
        "subject": {"workload": "sentence-encoder"},
        "measure": {"metrics": ["latency"], "batch": [1], "runtimes": list(RUNTIMES)},
    }
    times = TIMES | {("slow", "eager"): 2.0, ("slow", "onnxruntime"): 1.0}
    (entry,) = found(tmp_path, times, made=to_plan(tables))
    assert {row["arm"] for row in entry["activations"]} == {"relu/eager", "relu/onnxruntime"}


def test_conditions_come_one_by_one(tmp_path: Path) -> None:
    made = plan(batch=[1, 32])
    entries = found(tmp_path, TIMES, made=made)
    assert [entry["conditions"]["batch"] for entry in entries] == [1, 32]
    assert [entry["text"].split(",")[0] for entry in entries] == ["At batch 1", "At batch 32"]


def test_plain_calls_count_and_those_with_gradients_do_not(tmp_path: Path) -> None:
    made = plan(metrics=["latency", "gradient_time"], runtimes=["eager", "compile"])
    times = {(arm, "compile" if runtime != "eager" else runtime): time for (arm, runtime), time in TIMES.items()}
    assert len(found(tmp_path, times, made=made, calls=("", " backward"))) == 1


def test_a_part_that_only_trains_times_no_call() -> None:
    tables = {"study": {"arms": ["gelu", "relu"]}, "subject": {"workload": "byte-lm"}, "train": {"seeds": 2}}
    assert list(moves(Record(part=to_plan(tables).parts[0], prepared=facts("gelu", "relu"), rows={}))) == []


def test_the_document_holds_them(tmp_path: Path) -> None:
    store = stored(tmp_path, TIMES)
    content = document(plan(), store, replay="")
    entries = list(moves(read_record(store, plan().parts[0])))
    store.close()
    assert content["moves"] == entries
    assert entries


def test_nothing_stored_gives_nothing() -> None:
    assert list(moves(Record(part=plan().parts[0], prepared=facts("gelu", "relu"), rows={}))) == []


@pytest.mark.parametrize(
    ("activation", "words"), [(1.04, "it far less"), (1.3, "it less"), (1.9, "it about as much"), (3.0, "it more")]
)
@pytest.mark.parametrize("upwards", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_the_word_follows_from_the_distances_whichever_way_they_lie(
    activation: float, words: str, upwards: tuple[int, int]
) -> None:
    def row(arm: str, ratio: float) -> dict[str, Any]:
        interval = [ratio * 0.99, ratio * 1.01]
        return {"arm": arm, "than": "b", "estimate": ratio, "interval": interval, "factor": max(ratio, 1 / ratio)}

    entry = {"conditions": {"batch": 1, "tokens": 16}, "runtime": row("r", 2.0 ** upwards[0])}
    text = told(entry | {"activation": row("a", activation ** upwards[1])})
    assert f"the activation moves {words}, {activation:.2f} times" in text
    assert f"2.00 times (r is {'slower' if upwards[0] > 0 else 'faster'} than b)" in text
    assert text.startswith("at batch 1, tokens 16 the runtime")
