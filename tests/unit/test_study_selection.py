"""Which arm on which runtime to take, from planted comparisons: beaten, refused, undecided, or nothing to go by."""

from pathlib import Path
from typing import Any

import pytest
from test_study_moves import TIMES, plan, stored

from gatewise.core import METRICS, Comparison
from gatewise.study._evidence import Judged, Question
from gatewise.study._questions import judged
from gatewise.study._record import Record, read_record
from gatewise.study._result import document
from gatewise.study._selection import UNJUDGED, selections

BASE, GELU_ORT, RELU, RELU_ORT = "gelu/eager", "gelu/onnxruntime", "relu/eager", "relu/onnxruntime"
WHERE = {"batch": 1, "tokens": 16, "threads": 1, "device": "cpu"}
FASTER = {GELU_ORT: 0.5, RELU: 0.96, RELU_ORT: 0.45}


def record(**prepared: Any) -> Record:
    metrics = ["latency", "peak_memory", "quality", "output_difference"]
    return Record(part=plan(metrics=metrics).parts[0], prepared=prepared, rows={})


def said(
    metric: str, arm: str, estimate: float, spread: float = 0.002, *, where: dict[str, Any] | None = None, **more: Any
) -> Judged:
    """An answer as the judge gives it, an interval of `spread` around the estimate on either side."""
    facts = METRICS[metric]
    item = facts.evidence == "item"
    comparison = Comparison(
        verdict="inconclusive",
        estimate=estimate,
        interval=(estimate - spread, estimate + spread),
        smallest_detectable=None,
        reason=None,
        kind=facts.kind,
        direction=facts.direction,
        alpha=0.05,
        margin=facts.margin,
        limits=(0.98, 1.02),
        n=10,
        method="planted",
    )
    question = Question(
        metric=metric,
        arm=arm,
        baseline=BASE,
        conditions={"items": 400} if item else where or WHERE,
        evidence=None,
        **more,
    )
    return Judged(question=question, comparison=comparison)


def refused(metric: str, arm: str) -> Judged:
    answer = said(metric, arm, 0.1)
    rule = Comparison(**vars(answer.comparison) | {"interval": None, "estimate": None, "reason": "the twin differs"})
    return Judged(question=answer.question, comparison=rule)


def all_of(metric: str, values: dict[str, float], spread: float = 0.002) -> list[Judged]:
    return [said(metric, arm, value, spread) for arm, value in values.items()]


def only(found: list[Judged], given: Record | None = None) -> dict[str, Any]:
    (entry,) = selections(given or record(), found)
    return entry


def points(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {point["label"]: point for point in entry["points"]}


def test_what_is_beaten_in_everything_names_who_beats_it() -> None:
    entry = only(all_of("latency", FASTER) + all_of("quality", dict.fromkeys(FASTER, 0.0)))
    shown = points(entry)
    assert shown[RELU_ORT]["front"]
    assert shown[RELU_ORT]["dominated_by"] == []
    assert set(shown[BASE]["dominated_by"]) == {GELU_ORT, RELU, RELU_ORT}
    assert set(shown[RELU]["dominated_by"]) == {GELU_ORT, RELU_ORT}
    assert shown[GELU_ORT]["dominated_by"] == [RELU_ORT]
    assert entry["recommendation"] == RELU_ORT
    assert entry["reasons"]


def test_the_fastest_is_refused_where_its_quality_may_be_lost() -> None:
    lost = dict.fromkeys(FASTER, 0.0) | {RELU_ORT: -0.3, RELU: -0.3}
    entry = only(all_of("latency", FASTER) + all_of("quality", lost))
    shown = points(entry)
    assert shown[RELU_ORT]["refused"]
    assert "quality" in shown[RELU_ORT]["refused"]
    assert shown[RELU_ORT]["front"], "nobody is faster: it stays on the front, and is not recommended"
    assert shown[GELU_ORT]["refused"] is None
    assert entry["recommendation"] == GELU_ORT


def test_quality_that_is_only_perhaps_kept_is_not_kept() -> None:
    entry = only(all_of("latency", FASTER) + all_of("quality", dict.fromkeys(FASTER, 0.0), 0.05))
    assert {label for label, point in points(entry).items() if point["refused"]} == set(FASTER)
    assert entry["recommendation"] == BASE


def test_a_higher_quality_is_no_reason_to_refuse() -> None:
    entry = only(all_of("latency", FASTER) + all_of("quality", dict.fromkeys(FASTER, 0.3)))
    assert not [label for label, point in points(entry).items() if point["refused"]]
    assert entry["recommendation"] == RELU_ORT


def test_nothing_is_recommended_where_nobody_looked_at_the_outputs() -> None:
    entry = only(all_of("latency", FASTER))
    assert entry["recommendation"] is None
    assert entry["reasons"] == [UNJUDGED]
    assert [label for label, point in points(entry).items() if point["front"]] == [RELU_ORT]


def test_outputs_stand_in_where_there_is_no_target() -> None:
    moved = {GELU_ORT: 0.0, RELU: 0.4, RELU_ORT: 0.4}
    entry = only(all_of("latency", FASTER) + all_of("output_difference", moved, 0.0001))
    shown = points(entry)
    assert [each["name"] for each in entry["objectives"]] == ["latency", "output_difference"]
    assert shown[RELU]["refused"]
    assert shown[RELU_ORT]["refused"]
    assert entry["recommendation"] == GELU_ORT


def test_outputs_do_not_count_beside_quality() -> None:
    moved = {GELU_ORT: 0.0, RELU: 0.4, RELU_ORT: 0.4}
    kept = all_of("quality", dict.fromkeys(FASTER, 0.0))
    entry = only(all_of("latency", FASTER) + all_of("output_difference", moved, 0.0001) + kept)
    assert [each["name"] for each in entry["objectives"]] == ["latency", "quality"]
    assert entry["recommendation"] == RELU_ORT


def test_outputs_that_are_equal_bit_by_bit_were_looked_at() -> None:
    # Such a comparison is stated and never judged, so the answers do not hold it.
    same = {label: {"values": [0.0] * 20} for label in FASTER}
    entry = only(all_of("latency", FASTER), record(outputs=same))
    assert entry["recommendation"] == RELU_ORT
    some = {label: same[label] for label in (GELU_ORT, RELU_ORT)}
    entry = only(all_of("latency", FASTER) + all_of("output_difference", {RELU: 0.4}, 0.0001), record(outputs=some))
    assert {label for label, point in points(entry).items() if point["refused"]} == {RELU}
    assert entry["recommendation"] == RELU_ORT


def test_what_nothing_separates_has_no_winner() -> None:
    close = {GELU_ORT: 0.50, RELU: 0.96, RELU_ORT: 0.49}
    entry = only(all_of("latency", close, 0.02) + all_of("quality", dict.fromkeys(FASTER, 0.0)))
    assert entry["recommendation"] is None
    assert any("no clear winner" in line and GELU_ORT in line and RELU_ORT in line for line in entry["reasons"])
    assert {label for label, point in points(entry).items() if point["front"]} == {GELU_ORT, RELU_ORT}


def test_memory_decides_between_equally_fast_ones() -> None:
    close = {GELU_ORT: 0.50, RELU: 0.96, RELU_ORT: 0.50}
    memory = {GELU_ORT: 0.7, RELU: 1.0, RELU_ORT: 0.9}
    kept = all_of("quality", dict.fromkeys(FASTER, 0.0))
    assert only(all_of("latency", close) + all_of("peak_memory", memory) + kept)["recommendation"] == GELU_ORT


def test_memory_comes_before_size_where_each_favours_another() -> None:
    close = {GELU_ORT: 0.50, RELU: 0.96, RELU_ORT: 0.50}
    memory = {GELU_ORT: 0.7, RELU: 1.0, RELU_ORT: 0.9}
    given = record(
        arms={"gelu": {"weight_bytes": 400}, "relu": {"weight_bytes": 400}},
        runtimes={GELU_ORT: {"size_bytes": 440}, RELU_ORT: {"size_bytes": 100}},
    )
    kept = all_of("quality", dict.fromkeys(FASTER, 0.0))
    entry = only(all_of("latency", close) + all_of("peak_memory", memory) + kept, given)
    assert {label for label, point in points(entry).items() if point["front"]} == {GELU_ORT, RELU_ORT}
    assert entry["recommendation"] == GELU_ORT
    assert any(line.startswith("peak_memory: worse for certain") for line in entry["reasons"])


def test_an_objective_that_one_point_lacks_is_left_out_for_all() -> None:
    memory = all_of("peak_memory", {GELU_ORT: 0.7, RELU: 1.0})
    entry = only(all_of("latency", FASTER) + memory + all_of("quality", dict.fromkeys(FASTER, 0.0)))
    assert [each["name"] for each in entry["objectives"]] == ["latency", "quality"]


def test_sizes_are_of_what_is_loaded_against_the_baselines_weights() -> None:
    given = record(
        arms={"gelu": {"weight_bytes": 400}, "relu": {"weight_bytes": 400}},
        runtimes={GELU_ORT: {"size_bytes": 100}, RELU_ORT: {"size_bytes": 440}, RELU: {"runtime": "eager"}},
    )
    shown = points(only(all_of("latency", FASTER), given))
    sizes = {label: point["values"]["size_bytes"]["estimate"] for label, point in shown.items()}
    assert sizes == {BASE: 1.0, GELU_ORT: 0.25, RELU: 1.0, RELU_ORT: 1.1}


def test_a_point_without_a_time_is_no_point() -> None:
    kept = all_of("quality", dict.fromkeys(FASTER, 0.0))
    times = [*all_of("latency", {GELU_ORT: 0.5, RELU: 0.96}), refused("latency", RELU_ORT)]
    assert set(points(only(times + kept))) == {BASE, GELU_ORT, RELU}
    assert list(selections(record(), times[1:] + kept)) == []  # two points: nothing to choose that a verdict hides


@pytest.mark.parametrize("where", [WHERE | {"batch": 32}, WHERE | {"dtype": "bfloat16"}])
def test_times_of_another_condition_do_not_count(where: dict[str, Any]) -> None:
    found = [said("latency", arm, value, where=where) for arm, value in FASTER.items()]
    assert list(selections(record(), found)) == []


def test_a_twin_is_no_point() -> None:
    twin = said("latency", f"{BASE} (twin)", 0.3, twin=True)
    assert set(points(only([twin, *all_of("latency", FASTER)]))) == {BASE, *FASTER}


def test_from_stored_times_to_the_document(tmp_path: Path) -> None:
    made = plan(metrics=["latency", "output_difference"])
    store = stored(tmp_path, TIMES, made=made)
    known = store.get("prepared:main")
    far = {label: {"values": [0.4 + 0.001 * item for item in range(20)]} for label in (RELU, RELU_ORT)}
    outputs = {GELU_ORT: {"values": [1e-7 * item for item in range(20)]}} | far
    store.put("prepared:main", known | {"outputs": outputs})
    content = document(made, store, replay="")
    given = read_record(store, made.parts[0])
    entries = list(selections(given, judged(given)))
    store.close()
    (entry,) = content["selection"]
    assert entry["recommendation"] == GELU_ORT == entries[0]["recommendation"]
    low, high = points(entry)[GELU_ORT]["values"]["latency"]["interval"]
    assert low < 0.5 < high
