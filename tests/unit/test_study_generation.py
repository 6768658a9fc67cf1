"""Text in a study: what is refused before anything runs, the calls that are timed, and what trained arms write."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import validate
from test_study_evidence import facts, timed

from gatewise import measure, surgery
from gatewise.core import GatewiseError, Store
from gatewise.study import Part, Plan, evaluate, to_plan
from gatewise.study._cells import cells
from gatewise.study._generation import (
    PROMPT_TOKENS,
    PROMPTS,
    cache_bytes,
    check_generation,
    prices,
    speak,
    written,
)
from gatewise.study._prepare import subject_workload
from gatewise.study._questions import judged
from gatewise.study._record import Record, read_record
from gatewise.study._result import document
from gatewise.study._spoken import TEMPERATURE, spoken
from gatewise.study._training import run_training
from gatewise.train import TrainPlan

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "result.schema.json").read_text(encoding="utf-8"))
GENERATED = ["time_to_first_token", "decode_time", "tokens_per_second", "kv_cache_bytes"]
DIM, LAYERS, HEADS = 16, 2, 2
SMALL: dict[str, Any] = {"dim": DIM, "layers": LAYERS, "heads": HEADS}


def part(*, workload: str = "byte-lm", options: dict[str, Any] | None = None, arms: Any = None, **given: Any) -> Part:
    measured = {"metrics": GENERATED, "batch": [1], "tokens": [8]} | given
    chosen = SMALL if options is None else options
    return to_plan(
        {
            "study": {"arms": arms or ["gelu", "swiglu"]},
            "subject": {"workload": workload, "options": chosen},
            "measure": measured,
        }
    ).parts[0]


def training(*, workload: str = "byte-lm", **options: Any) -> Plan:
    tables = {
        "study": {"arms": ["gelu", "swiglu"]},
        "subject": {"workload": workload, "options": options},
        "train": {"seeds": 2, "metrics": ["heldout_loss"]},
    }
    return to_plan(tables)


def training_part() -> Part:
    return training(**SMALL).parts[0]


# What is refused before anything runs


@pytest.mark.parametrize("workload", ["byte-lm", "causal-lm"])
def test_a_workload_that_writes_is_taken(workload: str) -> None:
    asked = part(workload=workload)
    check_generation(asked, subject_workload(asked))


@pytest.mark.parametrize("workload", ["operator", "ffn"])
@pytest.mark.parametrize("metric", GENERATED)
def test_a_workload_that_does_not_write_is_refused(workload: str, metric: str) -> None:
    asked = part(workload=workload, options={}, metrics=["latency", metric])
    with pytest.raises(GatewiseError, match=f"{workload} does not write text.*\nvalid: byte-lm, causal-lm"):
        check_generation(asked, subject_workload(asked))


def test_without_a_metric_of_text_nothing_is_asked_of_the_workload() -> None:
    asked = part(workload="operator", options={}, metrics=["latency"])
    check_generation(asked, subject_workload(asked))
    check_generation(training_part(), subject_workload(training_part()))


def test_an_arm_with_another_runtime_is_refused_by_name() -> None:
    served = {"name": "gelu", "label": "served", "runtime": "onnxruntime"}
    asked = part(arms=["gelu", served])
    with pytest.raises(GatewiseError, match="in eager, and the arm 'served' asks for 'onnxruntime'"):
        check_generation(asked, subject_workload(asked))
    own = part(arms=["gelu", served | {"runtime": "eager"}])
    check_generation(own, subject_workload(own))


@pytest.mark.parametrize("metric", GENERATED)
def test_another_runtime_of_the_plan_is_refused_by_the_plan(metric: str) -> None:
    with pytest.raises(GatewiseError, match="measured in eager, not on onnxruntime"):
        part(metrics=[metric], runtimes=["eager", "onnxruntime"])


@pytest.mark.parametrize("workload", ["byte-lm", "causal-lm"])
def test_a_prompt_that_leaves_no_room_is_refused_at_the_first_token_too_many(workload: str) -> None:
    context = 64
    most = context - measure.NEW_TOKENS
    fits = part(workload=workload, options=SMALL | {"context": context}, tokens=[most])
    check_generation(fits, subject_workload(fits))
    made = subject_workload(fits)
    model, _ = made.build("gelu", matching="params", seed=0)
    assert written(made, model, made.inputs(1, most, 0), "decode")() is not None
    over = part(workload=workload, options=SMALL | {"context": context}, tokens=[8, most + 1])
    with pytest.raises(GatewiseError, match=f"holds {context} tokens: a prompt of {most + 1} and 16 new ones"):
        check_generation(over, subject_workload(over))


# The calls, their prices and the cache


def test_the_two_calls_are_the_first_token_and_those_after_it() -> None:
    asked = part()
    made = subject_workload(asked)
    model, _ = made.build("gelu", matching="params", seed=0)
    inputs = made.inputs(3, 8, 0)
    first, rest = (written(made, model, inputs, call)() for call in ("first_token", "decode"))
    assert isinstance(first, torch.Tensor)
    assert isinstance(rest, torch.Tensor)
    assert first.shape == (3,)
    assert rest.shape == (3, measure.NEW_TOKENS)


def test_the_cache_is_counted_for_every_condition_and_only_where_it_is_asked_for() -> None:
    asked = part(batch=[1, 4], tokens=[8, 16])
    made = subject_workload(asked)
    model, _ = made.build("gelu", matching="params", seed=0)
    found = cache_bytes(asked, made, model, seed=0)
    per_token = 2 * LAYERS * DIM * 4  # keys and values, float32
    assert found == {
        f"batch={batch} tokens={tokens}": batch * tokens * per_token for batch in (1, 4) for tokens in (8, 16)
    }
    assert cache_bytes(part(metrics=["decode_time"]), made, model, seed=0) == {}


def test_every_call_that_writes_has_a_price() -> None:
    asked = part(metrics=["latency", *GENERATED], batch=[1, 2])
    made = subject_workload(asked)
    model, _ = made.build("gelu", matching="params", seed=0)
    found = prices(asked, made, model, seed=0)
    assert set(found) == {f"{batch}x8 {call}" for batch in (1, 2) for call in ("first_token", "decode")}
    assert all(price > 0 for price in found.values())
    assert prices(part(metrics=["latency"]), made, model, seed=0) == {}


def test_a_price_is_taken_on_one_thread_as_the_measured_call_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = part()
    made = subject_workload(asked)
    model, _ = made.build("gelu", matching="params", seed=0)
    seen: list[int] = []

    def spy(made: Any, model: Any, inputs: Any, call: str) -> Any:
        return lambda: seen.append(torch.get_num_threads())

    monkeypatch.setattr("gatewise.study._generation.written", spy)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        prices(asked, made, model, seed=0)
        assert seen == [1] * 4
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# What trained arms write


def test_prompts_and_draws_are_the_same_for_every_arm() -> None:
    made: Any = subject_workload(training_part())
    said = {arm: speak(made, made.fresh(arm, seed=0)) for arm in ("gelu", "swiglu")}
    assert [len(rows) for rows in said.values()] == [PROMPTS, PROMPTS]
    assert [row["prompt"] for row in said["gelu"]] == [row["prompt"] for row in said["swiglu"]]
    assert len({row["prompt"] for row in said["gelu"]}) == PROMPTS
    assert said["gelu"] == speak(made, made.fresh("gelu", seed=0))
    ids = made.heldout_batches()[0][0][:PROMPTS, :PROMPT_TOKENS]
    assert [row["prompt"] for row in said["gelu"]] == [made.text(row) for row in ids.tolist()]


def test_a_short_context_gives_shorter_texts() -> None:
    asked = training(**SMALL, context=32).parts[0]
    made: Any = subject_workload(asked)
    (row, *_) = speak(made, made.fresh("gelu", seed=0))
    ids = made.heldout_batches()[0][0][:1, :16]
    assert row["prompt"] == made.text(ids[0].tolist())
    assert row["text"]


def test_what_does_not_write_says_nothing() -> None:
    asked = training(workload="convnet").parts[0]
    made: Any = subject_workload(asked)
    assert speak(made, made.fresh("gelu", seed=0)) == []
    written_only = subject_workload(part(workload="causal-lm"))
    model, _ = written_only.build("gelu", matching="params", seed=0)
    assert speak(written_only, model) == []
    assert surgery.weights_state(model) == "untrained"


def trained(arm: str, seed: int, *, speaking: bool) -> dict[str, Any]:
    """One job as a study's worker runs it, with few steps."""
    settings = TrainPlan(steps=4, batch=4, eval_every=2, eval_batches=1)
    plan = training(**SMALL)
    job = {"plan": plan.to_json(), "part": 0, "arm": arm, "run_seed": seed, "settings": settings.to_json()}
    return run_training(job | ({"speak": True} if speaking else {}))()


def test_continuations_of_the_first_seed_stand_in_the_document(tmp_path: Path) -> None:
    plan = training(**SMALL)
    store = Store(tmp_path / "study.sqlite")
    store.put("prepared:main", facts("gelu", "swiglu", training={"settings": {}, "target": ""}))
    store.put("environment", {"packages": {"gatewise": "0"}})
    for seed in (0, 1):
        for arm in ("gelu", "swiglu"):
            store.add("main", seed, {f"train:{arm}": trained(arm, seed, speaking=seed == 0)})
    content = document(plan, store, replay="")
    rows = read_record(store, plan.parts[0]).rows
    store.close()
    (entry,) = content["generation"]
    assert entry["part"] == "main"
    assert entry["facts"]["seed"] == 0
    assert entry["facts"]["temperature"] == TEMPERATURE
    assert len(entry["texts"]) == PROMPTS
    for each in entry["texts"]:
        assert set(each) == {"prompt", "by_arm"}
        assert set(each["by_arm"]) == {"gelu", "swiglu"}
        assert all(each["by_arm"].values())
    assert [row["continuations"] for _, row in rows["train:gelu"]][1] == []


def test_training_is_the_same_whether_or_not_the_model_speaks() -> None:
    loud, quiet = (trained("gelu", 0, speaking=speaking) for speaking in (True, False))
    assert loud["continuations"]
    assert quiet["continuations"] == []
    assert (loud["final_loss"], loud["curve"]) == (quiet["final_loss"], quiet["curve"])


def said(*texts: str) -> list[dict[str, str]]:
    return [{"prompt": f"p{number}", "text": text} for number, text in enumerate(texts)]


def test_arms_stand_side_by_side_under_each_prompt() -> None:
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {
        "train:gelu": [(0, {"continuations": said("a", "b")}), (1, {"continuations": []})],
        "train:swiglu": [(0, {"continuations": said("c", "d")})],
        "step": [(0, {})],
    }
    (entry,) = spoken([Record(part=training_part(), prepared={}, rows=rows)])
    assert entry["texts"] == [
        {"prompt": "p0", "by_arm": {"gelu": "a", "swiglu": "c"}},
        {"prompt": "p1", "by_arm": {"gelu": "b", "swiglu": "d"}},
    ]


@pytest.mark.parametrize("row", [{}, {"continuations": []}, {"continuations": None}])
def test_older_and_silent_records_have_no_text(row: dict[str, Any]) -> None:
    assert list(spoken([Record(part=training_part(), prepared={}, rows={"train:gelu": [(0, row)]})])) == []


def test_of_an_arm_whose_run_failed_nothing_is_shown_and_the_others_stand() -> None:
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {
        "train:gelu": [(0, {"continuations": said("a")})],
        "train:swiglu": [(0, {"continuations": []})],
    }
    (entry,) = spoken([Record(part=training_part(), prepared={}, rows=rows)])
    assert entry["texts"] == [{"prompt": "p0", "by_arm": {"gelu": "a"}}]


# The judge of written text, from planted times


@pytest.mark.parametrize(("ratio", "verdict"), [(0.8, "better"), (1.25, "worse"), (1.002, "equivalent")])
def test_more_tokens_in_a_second_are_better_as_less_time_is(tmp_path: Path, ratio: float, verdict: str) -> None:
    asked = part(metrics=GENERATED)
    assert asked.measure is not None
    store = Store(tmp_path / "study.sqlite")
    store.put("prepared:main", facts("gelu", "swiglu"))
    store.put("environment", {"packages": {"gatewise": "0"}})
    rng = random.Random(0)
    for process in range(12):
        rows = {
            cell.id: timed(rng, {"gelu": 1.0, "gelu (twin)": 1.0, "swiglu": ratio if cell.call == "decode" else 1.0})
            for cell in cells(asked.measure)
        }
        store.add("main", process, rows)
    found = {
        each.question.metric: each.comparison
        for each in judged(read_record(store, asked))
        if each.question.arm == "swiglu"
    }
    store.close()
    assert found["decode_time"].verdict == found["tokens_per_second"].verdict == verdict
    assert found["tokens_per_second"].estimate == pytest.approx(1 / found["decode_time"].estimate)
    assert found["time_to_first_token"].verdict == "equivalent"


# The whole way


@pytest.mark.slow
@pytest.mark.usefixtures("short_looks")
@pytest.mark.parametrize("workload", ["byte-lm", "causal-lm"])
def test_the_whole_way(tmp_path: Path, workload: str) -> None:
    # Margins that the first look settles: the budget is a bound here, not the time that it takes.
    plan = to_plan(
        {
            "study": {"arms": ["gelu", "swiglu"], "budget": "5m"},
            "subject": {"workload": workload, "options": SMALL | {"context": 64}},
            "measure": {"metrics": [*GENERATED, "size_bytes"], "batch": [1], "tokens": [8]},
            "judge": {"margin": dict.fromkeys(GENERATED[:3], 9.0)},
        }
    )
    content = evaluate(plan, tmp_path / "out")
    validate(content, SCHEMA)
    judged = {(each["metric"], each["arm"]): each for each in content["comparisons"]}
    assert set(judged) == {(metric, arm) for metric in GENERATED[:3] for arm in ("gelu (twin)", "swiglu")}
    assert all(each["n"] > 0 for each in judged.values())
    rate, time = judged["tokens_per_second", "swiglu"], judged["decode_time", "swiglu"]
    assert rate["verdict"] == time["verdict"]
    if time["estimate"] is not None:
        assert rate["estimate"] == pytest.approx(1 / time["estimate"])
    arms = {arm["label"]: arm for arm in content["arms"]}
    assert set(arms["gelu"]["kv_cache_bytes"]) == {"batch=1 tokens=8"}
    assert arms["gelu"]["kv_cache_bytes"] == arms["swiglu"]["kv_cache_bytes"]
    assert arms["gelu"]["size_bytes"] == arms["gelu"]["weight_bytes"] > 0
    assert {entry["metric"] for entry in content["measurements"]} == {"time_to_first_token", "decode_time"}
    assert content["moves"] == content["generation"] == []
