"""Facts, remarks and columns: what the formats share before any of them shows it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from gatewise.report import _columns, _facts, _remarks, _rows
from gatewise.report._columns import Column

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("memory_bytes", 25_276_502_016, "25.3 GB"),
        ("loop_overhead_share", 0.0004, "0.04 %"),
        ("step_s", 0.0156, "15.6 ms"),
        ("learning_rate", 0.05, "0.05"),
        ("beta2", 0.99, "0.99"),
        ("cores", 2, "2"),
        ("virtual_machine", True, "yes"),
        ("governor", None, ""),
        ("load", float("nan"), ""),
        ("sha256", "0123456789abcdef" * 4, "0123456789ab…"),
        ("packages", {"torch": "2.13.0", "numpy": None, "scipy": "1.17"}, "torch 2.13.0, scipy 1.17"),
        ("data", {"files": ["a.py", "b.py"], "train_bytes": 2000}, "files a.py, b.py; train 2 kB"),
        ("deep", {"a": {"b": {"c": 1}}}, "a b c 1"),
        ("empty", {}, ""),
    ],
)
def test_a_fact_reads_as_words(key: str, value: object, shown: str) -> None:
    assert _facts.fact(key, value).replace("2.00 kB", "2 kB") == shown


def test_the_machine_is_one_line(document: dict[str, Any]) -> None:
    assert _facts.environment_line(document) == "AMD EPYC 7763, 2 cores, torch 2.13.0, took 5 min 32 s"
    assert _facts.environment_line({"environment": {"cores": 1}, "study": {"seconds": None}}) == "1 core"
    assert _facts.environment_line({}) == ""


def test_each_part_has_its_set_up(document: dict[str, Any]) -> None:
    inference, training = _facts.setups(document)
    facts = {each.what: each.why for each in training.facts}
    assert inference.part == "inference"
    assert facts["processes"] == "8"
    assert "learning rate 0.01" in facts["training"]
    assert facts["target"].startswith("the baseline's own")


def panel(document: dict[str, Any], part: str, metric: str) -> Any:
    return next(each for each in _rows.panels(document) if (each.part, each.metric) == (part, metric))


def test_levels_that_differ_are_one_short_note(document: dict[str, Any]) -> None:
    assert panel(document, "inference", "latency").level == "simultaneous intervals, levels in result.json"
    for each in document["comparisons"]:
        each["alpha"] = 0.05
    assert panel(document, "inference", "latency").level == "95 % intervals"


def test_the_weights_state_is_said_once_for_a_table(document: dict[str, Any]) -> None:
    assert panel(document, "inference", "peak_memory").state == "weights grafted"
    assert panel(document, "training", "step_time").state == ""
    for each in document["arms"]:
        each["weights_state"] = "untrained" if each["label"] == "silu" else each["weights_state"]
    state = panel(document, "inference", "peak_memory").state
    assert state == "weights grafted in gelu_tanh, quick_gelu and relu, untrained in silu"


def test_a_cell_refused_for_all_arms_is_one_remark(document: dict[str, Any]) -> None:
    for each in document["comparisons"]:
        if each["metric"] == "latency" and each["conditions"]["batch"] == 32 and not each["twin"]:
            each.update(estimate=None, interval=None, verdict="inconclusive", reason="the twin is too far away")
    latency = panel(document, "inference", "latency")
    assert [each.line for each in latency.remarks if each.kind == "refused"] == [
        "refused, all arms at batch 32: the twin is too far away"
    ]
    assert {row.says for row in latency.rows if row.group == "batch 32" and not row.twin} == {"refused"}


def test_a_refused_row_without_its_item_count_makes_no_column(document: dict[str, Any]) -> None:
    for index, each in enumerate(each for each in document["comparisons"] if each["metric"] == "output_difference"):
        each["conditions"] = {"items": None if index == 1 else 40}
    moved = panel(document, "inference", "output_difference")
    assert not moved.grouped
    assert moved.shared == "items 40"


def test_names_are_listed_or_counted() -> None:
    assert _remarks.names([]) == ""
    assert _remarks.names(["a"]) == "a"
    assert _remarks.names(["a", "b", "b", "c"]) == "a, b and c"
    assert _remarks.names([str(index) for index in range(30)]) == "30 arms"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.integers(30, 100))
def test_columns_keep_their_width_and_their_numbers(names: list[str], width: int) -> None:
    labels = [Text(" ".join(name.split()) or "x") for name in names]
    numbers = [Text(f"{index}.5 %") for index in range(len(names))]
    extra = [Text("x" * 20)] * len(names)
    columns = [
        Column(head="arm", cells=labels, flexible=True),
        Column(head="change", cells=numbers, right=True),
        Column(head="extra", cells=extra, optional=_columns.NICE),
    ]
    head, *rows = _columns.lines(columns, width)
    assert all(cell_len(line.plain) <= width for line in (head, *rows))
    assert all(number.plain in line.plain for number, line in zip(numbers, rows, strict=True))
    assert ("extra" in head.plain) == all("x" * 20 in line.plain for line in rows)
