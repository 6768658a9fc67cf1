"""From stored measurements to grades: planted effects, trends, controls, twins that guard, several machines."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gatewise import claims
from gatewise.claims import Claim, Relation
from gatewise.claims._compare import asked
from gatewise.claims._grade import GRADES, grade
from gatewise.claims._ranking import ranking
from gatewise.claims._run import goal_of, graded, run_claims
from gatewise.claims._trial import STUDIES, trials_of
from gatewise.core import GatewiseError, Store, environment, fewest
from gatewise.study import STORE, Plan, read_records, to_plan

Ratio = Callable[[str, dict[str, int], dict[str, Any]], float]


FACTS = {
    "kind": "scalar",
    "weights_state": "untrained",
    "parameters": 10,
    "flops": 100,
    "unfair": None,
    "implementation": "stock torch",
}


def part(name: str, *, batch: list[int] | None = None, dim: int = 64, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "arms": ["relu", "gelu", "silu"],
        "subject": {"workload": "operator", "options": {"dim": dim}},
        "measure": {"metrics": ["latency"], "batch": batch or [1]},
    } | more


def plan(*parts: dict[str, Any]) -> Plan:
    return to_plan({"study": {"budget": "60s"}, "part": list(parts) or [part("main")]})


def relation(says: str = "better", **more: Any) -> Relation:
    return Relation(**{"metric": "latency", "arm": ("gelu",), "than": ("relu",), "says": says, **more})


def stored(folder: Path, made: Plan, ratio: Ratio, *, processes: int = 14, twin: float = 1.0) -> list[Any]:
    """A store as a study leaves it: times of every arm at planted ratios, with noise of 0.2 %."""
    folder.mkdir(parents=True, exist_ok=True)
    store, rng = Store(folder / STORE), random.Random(0)
    store.put("plan", made.to_json())
    store.put("environment", environment())
    for each in made.parts:
        facts = FACTS | {"folder": "00"}
        labels = [arm.label for arm in each.arms]
        store.put(f"prepared:{each.name}", {"facts": {}, "arms": dict.fromkeys(labels, facts), "prices": {}})
        assert each.measure is not None
        for process in range(processes):
            cells = {}
            for batch in each.measure.batch:
                options = each.subject.options
                ratios = {label: ratio(label, {"batch": batch}, options) for label in labels}
                values = {
                    label: [0.01 * factor * rng.lognormvariate(0, 0.002) for _ in range(12)]
                    for label, factor in (ratios | {f"{labels[0]} (twin)": twin}).items()
                }
                cells[f"batch={batch} tokens=16 threads=1 device=cpu"] = {
                    "values": values,
                    "pairs": [i // 2 for i in range(12)],
                    "overhead_s": 1e-7,
                    "implementations": dict.fromkeys(values, "stock torch"),
                    "seed": 1,
                }
            store.add(each.name, process, cells)
    store.close()
    return read_records(folder)


def arms(**ratios: float) -> Ratio:
    return lambda label, where, options: ratios.get(label, 1.0)


@pytest.mark.parametrize(
    ("planted", "says", "expected"),
    [
        (0.9, "better", "supported"),
        (1.1, "better", "refuted"),
        (1.0, "better", "equivalent"),
        (1.1, "worse", "supported"),
        (0.9, "worse", "refuted"),
        (1.0, "equivalent", "supported"),
        (1.1, "equivalent", "refuted"),
        (0.9, "equivalent", "refuted"),
        (1.0, "not worse", "supported"),
        (0.9, "not worse", "supported"),
        (1.1, "not worse", "refuted"),
        (1.02, "better", "inconclusive"),
    ],
)
def test_planted_effect_gives_the_grade(tmp_path: Path, planted: float, says: str, expected: str) -> None:
    records = stored(tmp_path, plan(), arms(gelu=planted))
    found = grade(asked(relation(says), records), 0.05)
    assert found.grade == expected, found.reason
    assert found.comparisons[0]["grade"] == expected


def test_sentence_that_says_there_is_a_difference_is_refuted_by_none(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms())
    assert grade(asked(relation(equivalent="refuted"), records), 0.05).grade == "refuted"


def test_two_arms_of_which_neither_is_the_baseline(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=1.1, silu=0.9))
    found = grade(asked(relation("worse", than=("silu",)), records), 0.05)
    assert found.grade == "supported"
    assert found.comparisons[0]["estimate"] == pytest.approx(1.1 / 0.9, rel=0.01)


def test_several_arms_make_every_pair(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=1.1, silu=1.2))
    pairs = asked(relation("worse", arm=("gelu", "silu")), records)
    assert [(item.arm, item.than) for item in pairs] == [("gelu", "relu"), ("silu", "relu")]


def test_one_counterexample_refutes_what_is_said_without_exception(tmp_path: Path) -> None:
    made = plan(part("main", batch=[1, 8]))
    records = stored(tmp_path, made, lambda label, where, _: {1: 0.9, 8: 1.1}[where["batch"]] if label == "gelu" else 1)
    found = grade(asked(relation(), records), 0.05)
    assert found.grade == "refuted"
    assert "1 of 2 comparisons came out against it; 1 came out as it says" in found.reason


def test_it_depends_is_no_support(tmp_path: Path) -> None:
    made = plan(part("main", batch=[1, 8]))
    records = stored(tmp_path, made, lambda label, where, _: {1: 0.9, 8: 1.0}[where["batch"]] if label == "gelu" else 1)
    found = grade(asked(relation(), records), 0.05)
    assert found.grade == "inconclusive"
    assert "it depends" in found.reason


def test_where_leaves_other_conditions_out(tmp_path: Path) -> None:
    made = plan(part("main", batch=[1, 8]))
    records = stored(tmp_path, made, lambda label, where, _: {1: 0.9, 8: 1.1}[where["batch"]] if label == "gelu" else 1)
    assert grade(asked(relation(where={"batch": 1}), records), 0.05).grade == "supported"
    assert grade(asked(relation(where={"batch": [8]}), records), 0.05).grade == "refuted"


@pytest.mark.parametrize(("growth", "expected"), [(1.05, "refuted"), (0.95, "supported"), (1.0, "equivalent")])
def test_slope_over_batch_is_the_change_per_doubling(tmp_path: Path, growth: float, expected: str) -> None:
    made = plan(part("main", batch=[1, 2, 8]))
    doublings = {1: 0, 2: 1, 8: 3}
    records = stored(
        tmp_path, made, lambda label, where, _: 1.2 * growth ** doublings[where["batch"]] if label == "gelu" else 1.0
    )
    (item,) = asked(relation(over="batch", margin=0.005), records)
    found = grade([item], 0.05)
    assert found.grade == expected
    assert found.comparisons[0]["estimate"] == pytest.approx(growth, abs=0.002)
    assert found.comparisons[0]["conditions"]["batch"] == [1, 2, 8]


def test_slope_over_an_option_goes_across_parts(tmp_path: Path) -> None:
    made = plan(part("small", dim=64), part("large", dim=256), part("other", dim=64))
    records = stored(
        tmp_path, made, lambda label, _, options: {64: 1.0, 256: 1.21}[options["dim"]] if label == "gelu" else 1.0
    )
    (item,) = asked(relation("worse", over="dim", margin=0.005), records[:2])
    found = grade([item], 0.05)
    assert found.grade == "supported"
    assert found.comparisons[0]["estimate"] == pytest.approx(1.1, abs=0.005)
    assert found.comparisons[0]["conditions"]["parts"] == ["small", "large"]
    assert found.comparisons[0]["conditions"]["batch"] == 1


def test_trends_under_several_conditions_can_be_told_apart(tmp_path: Path) -> None:
    made = plan(part("small", dim=64, batch=[1, 8]), part("large", dim=256, batch=[1, 8]))
    records = stored(tmp_path, made, arms(gelu=1.1))
    along = asked(relation("worse", over="dim"), records)
    assert [item.conditions["batch"] for item in along] == [1, 8]
    each = asked(relation("worse", over="batch"), records)
    assert [(item.part, item.conditions["batch"]) for item in each] == [("small", [1, 8]), ("large", [1, 8])]


def test_change_over_parts_is_last_against_first(tmp_path: Path) -> None:
    made = plan(part("a", dim=64), part("b", dim=128), part("c", dim=256))
    planted = {64: 1.1, 128: 2.0, 256: 1.32}
    records = stored(tmp_path, made, lambda label, _, options: planted[options["dim"]] if label == "gelu" else 1.0)
    (item,) = asked(relation("worse", over="part", form="change"), records)
    found = grade([item], 0.05)
    assert found.grade == "supported"
    assert found.comparisons[0]["estimate"] == pytest.approx(1.32 / 1.1, abs=0.005)


def test_parts_at_one_position_have_no_slope(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(part("a"), part("b")), arms(gelu=1.1))
    found = grade(asked(relation(over="dim"), records), 0.05)
    assert found.grade == "inconclusive"
    assert "same dim" in found.reason


def test_twin_that_is_not_equivalent_guards(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=0.8), twin=1.05)
    found = grade(asked(relation(), records), 0.05)
    assert found.grade == "inconclusive"
    assert "twin" in found.reason
    assert found.comparisons[0]["interval"] is None


def test_control_that_is_not_found_leaves_the_claim_open(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=0.8))
    lost = asked(relation("worse", arm=("silu",), control=True), records)
    found = grade([*asked(relation(), records), *lost], 0.05)
    assert found.grade == "inconclusive"
    assert "control was not found" in found.reason


def test_control_that_is_found_counts_for_nothing_else(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=1.0, silu=1.5))
    control = asked(relation("worse", arm=("silu",), control=True), records)
    assert grade([*asked(relation(), records), *control], 0.05).grade == "equivalent"


def test_more_comparisons_are_judged_more_strictly(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=1.1))
    one = asked(relation("worse"), records)
    alphas = {row["alpha"] for row in grade(one * 10, 0.05).comparisons}
    assert min(alphas) == pytest.approx(0.005)


def test_nothing_measured_is_no_grade() -> None:
    found = grade([], 0.05)
    assert (found.grade, found.comparisons) == ("inconclusive", [])


# Training runs


def trained(
    folder: Path,
    rates: dict[float, dict[str, float]],
    *,
    failed: str = "",
    arms: tuple[str, ...] = ("gelu", "swiglu"),
) -> list[Any]:
    """Runs of some arms at several learning rates: final losses with a seed's own shift, shared by the arms."""
    made = to_plan(
        {
            "study": {"budget": "60s"},
            "part": [
                {
                    "name": f"rate {rate}",
                    "arms": list(arms),
                    "subject": {"workload": "byte-lm"},
                    "train": {"metrics": ["heldout_loss"], "learning_rate": rate},
                }
                for rate in rates
            ],
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    store, rng = Store(folder / STORE), random.Random(1)
    store.put("plan", made.to_json())
    shifts = [rng.gauss(0, 0.002) for _ in range(6)]
    for each, losses in zip(made.parts, rates.values(), strict=True):
        facts = FACTS | {"folder": ""}
        store.put(f"prepared:{each.name}", {"arms": dict.fromkeys(arms, facts), "training": {}})
        for seed, shift in enumerate(shifts):
            rows = {}
            for arm, loss in losses.items():
                value = loss + shift + rng.gauss(0, 0.0005)
                bad = "NaN/inf loss at step 3" if arm == failed else None
                rows[f"train:{arm}"] = {
                    "curve": [[90, 3.0], [900, value]],
                    "final_loss": None if bad else value,
                    "failure": bad,
                    "steps": 900,
                    "implementation": "stock torch",
                }
            store.add(each.name, seed, rows)
    store.close()
    return read_records(folder)


def test_spread_over_learning_rates_compares_the_range_of_each_arm(tmp_path: Path) -> None:
    rates = {0.003: {"gelu": 2.02, "swiglu": 2.2}, 0.01: {"gelu": 2.0, "swiglu": 1.9}}
    records = trained(tmp_path, rates)
    asks = relation(
        "worse",
        metric="heldout_loss",
        arm=("swiglu",),
        than=("gelu",),
        over="learning_rate",
        form="spread",
        margin=0.005,
    )
    (item,) = asked(asks, records)
    found = grade([item], 0.05)
    assert found.grade == "supported"
    assert found.comparisons[0]["estimate"] == pytest.approx((2.2 / 1.9) / (2.02 / 2.0), abs=0.005)
    assert found.comparisons[0]["conditions"]["learning_rate"] == [0.003, 0.01]


def test_diverged_runs_have_no_spread(tmp_path: Path) -> None:
    rates = {0.003: {"gelu": 2.02, "swiglu": 2.2}, 0.01: {"gelu": 2.0, "swiglu": 1.9}}
    records = trained(tmp_path, rates, failed="swiglu")
    asks = relation(
        "worse", metric="heldout_loss", arm=("swiglu",), than=("gelu",), over="learning_rate", form="spread"
    )
    found = grade(asked(asks, records), 0.05)
    assert found.grade == "inconclusive"
    assert "no finished run" in found.reason


def test_change_of_losses_between_parts_is_paired_by_seed(tmp_path: Path) -> None:
    records = trained(tmp_path, {0.003: {"gelu": 2.0, "swiglu": 1.9}, 0.01: {"gelu": 2.0, "swiglu": 2.0}})
    asks = relation(
        "worse", metric="heldout_loss", arm=("swiglu",), than=("gelu",), over="part", form="change", margin=0.005
    )
    found = grade(asked(asks, records), 0.05)
    assert found.grade == "supported"
    assert found.comparisons[0]["n"] == 6


def test_order_of_arms_is_set_beside_a_published_one(tmp_path: Path) -> None:
    losses = {"relu": 2.3, "gelu": 2.2, "silu": 2.25, "geglu": 2.1, "swiglu": 2.11, "byte": 1.0}
    records = trained(tmp_path, {0.01: losses}, arms=tuple(losses))
    found = ranking("shazeer-2020/65,536 steps", records)
    assert found is not None
    assert [row["arm"] for row in found["arms"]] == ["geglu", "swiglu", "gelu", "silu", "relu"]
    assert found["n"] == 5
    assert found["spearman"] == pytest.approx(1.0)
    assert found["kendall"] == pytest.approx(1.0)
    assert found["seeds"] == 6
    reverse = trained(tmp_path / "b", {0.01: {name: 5 - loss for name, loss in losses.items()}}, arms=tuple(losses))
    turned = ranking("shazeer-2020/65,536 steps", reverse)
    assert turned is not None
    assert turned["spearman"] == pytest.approx(-1.0)


def test_two_arms_have_no_order_to_agree_with(tmp_path: Path) -> None:
    records = trained(tmp_path, {0.01: {"gelu": 2.0, "swiglu": 1.9}})
    assert ranking("shazeer-2020/65,536 steps", records) is None


# Levels, budgets, whole documents


def claim(made: Plan, *relations: Relation, **more: Any) -> Claim:
    return Claim(**{"id": "A1", "sentence": "x", "source": "y", "relations": relations, "plan": made, **more})


def test_a_study_goes_on_while_the_claim_is_open(tmp_path: Path) -> None:
    made = plan(part("a", batch=[1, 8]), part("b", batch=[1, 8]))
    one = claim(made, relation("worse"))
    few = stored(tmp_path / "few", made, arms(gelu=1.2), processes=8)
    # Eight processes settle the study's own families of two, and not the claim's family of four.
    assert goal_of([one]).open(few) == {
        name: {f"latency batch={batch} tokens=16 threads=1 device=cpu" for batch in (1, 8)} for name in ("a", "b")
    }
    # Each part gets what the claim's level needs before the next one begins.
    assert goal_of([one]).processes == fewest(0.05 / 4)
    many = stored(tmp_path / "many", made, arms(gelu=1.2), processes=14)
    assert goal_of([one]).open(many) == {}


def test_what_is_not_measured_yet_counts_for_the_level(tmp_path: Path) -> None:
    made = plan(part("a", batch=[1, 8]), part("b", batch=[1, 8]))
    one = claim(made, relation("worse"))
    records = stored(tmp_path, made, arms(gelu=1.2), processes=8)
    later = [records[0], replace(records[1], rows={})]
    assert set(goal_of([one]).open(later)) == {"a", "b"}


def test_the_margin_of_the_claim_decides_when_it_is_settled(tmp_path: Path) -> None:
    made = plan()
    records = stored(tmp_path, made, arms(gelu=1.0), processes=14)
    assert goal_of([claim(made, relation(margin=0.02))]).open(records) == {}
    cell = "latency batch=1 tokens=16 threads=1 device=cpu"
    assert goal_of([claim(made, relation(margin=0.0001))]).open(records) == {"main": {cell}}


def test_a_trend_keeps_all_its_cells_open(tmp_path: Path) -> None:
    made = plan(part("main", batch=[1, 8]))
    records = stored(tmp_path, made, arms(gelu=1.1))
    found = goal_of([claim(made, relation(over="batch", margin=0.00001))]).open(records)
    assert len(found["main"]) == 2


def test_another_claim_on_a_plan_leaves_its_study_where_it_is() -> None:
    made = plan(part("main", batch=[1, 2, 4, 8]))
    narrow = claim(made, relation(where={"batch": 1}), id="A1")
    wide = claim(made, relation(), relation("worse", than=("silu",)), id="A2")
    alone, both = trials_of([narrow]), trials_of([wide, narrow])
    assert alone[0].name == both[0].name
    assert len(both) == 1


def test_chains_are_graded_whatever_their_order(tmp_path: Path) -> None:
    one = claim(plan(), relation(equivalent="refuted"))
    links = [Claim(id=f"C{i}", sentence="x", source="y", follows=f"C{i + 1}" if i < 3 else "A1") for i in range(1, 4)]
    trials = trials_of([one])
    assert trials[0].plan is not None
    stored(tmp_path / STUDIES / trials[0].name, trials[0].plan, arms())
    for order in ([*links, one], [one, *reversed(links)]):
        document = graded(order, trials, tmp_path, budget_s=None, replay={})
        assert {entry["grade"] for entry in document["claims"]} == {"refuted"}


def test_results_from_before_stay_on_the_page(tmp_path: Path) -> None:
    one, other = claim(plan(), relation("worse"), id="A1"), claim(plan(part("else")), relation("worse"), id="A2")
    absent = claim(plan(part("never")), relation("worse"), id="A3")
    (trial,) = trials_of([other])
    assert trial.plan is not None
    stored(tmp_path / STUDIES / trial.name, trial.plan, arms(gelu=1.1))
    document = run_claims(
        [one], tmp_path, beside=[one, other, absent], budget_s=3.0, progress=lambda text, left_s: None, replay={}
    )
    assert [(entry["id"], entry["grade"]) for entry in document["claims"]] == [
        ("A1", "inconclusive"),
        ("A2", "supported"),
    ]
    assert [entry["id"] for entry in claims.only(document, ["A1"])["claims"]] == ["A1"]


def test_results_of_another_machine_are_not_shown_as_this_ones(tmp_path: Path) -> None:
    one, other = claim(plan(), relation("worse"), id="A1"), claim(plan(part("else")), relation("worse"), id="A2")
    (trial,) = trials_of([other])
    assert trial.plan is not None
    stored(tmp_path / STUDIES / trial.name, trial.plan, arms(gelu=1.1))
    store = Store(tmp_path / STUDIES / trial.name / STORE)
    store.put("environment", environment() | {"cpu": "another"})
    store.close()
    document = run_claims([one], tmp_path, beside=[other], budget_s=3.0, progress=lambda text, left_s: None, replay={})
    assert [entry["id"] for entry in document["claims"]] == ["A1"]
    with pytest.raises(GatewiseError, match="another machine"):
        run_claims([other], tmp_path, budget_s=3.0, progress=lambda text, left_s: None, replay={})


def test_open_claims_say_what_would_settle_them(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=1.0199))
    found = grade(asked(relation(), records), 0.05)
    assert found.grade == "inconclusive"
    assert any("would settle the time per call" in line or "margin itself" in line for line in found.settle)
    decided = grade(asked(relation("worse", margin=0.0), records), 0.05)
    assert decided.grade == "supported"
    assert decided.settle == []


def test_control_that_came_out_the_other_way_is_not_called_unseen(tmp_path: Path) -> None:
    records = stored(tmp_path, plan(), arms(gelu=1.0, silu=1.5))
    wrong = asked(relation("better", arm=("silu",), control=True), records)
    assert "came out the other way" in grade([*asked(relation(), records), *wrong], 0.05).reason


def finished(tmp_path: Path, one: Claim, ratio: Ratio) -> dict[str, Any]:
    trials = trials_of([one])
    assert trials[0].plan is not None
    stored(tmp_path / STUDIES / trials[0].name, trials[0].plan, ratio)
    return graded([one], trials, tmp_path, budget_s=60.0, replay={"A1": "gatewise claims A1"})


def test_document_is_plain_and_says_what_it_rests_on(tmp_path: Path) -> None:
    document = finished(tmp_path, claim(plan(), relation("worse"), otherwise=("noise",)), arms(gelu=1.1))
    json.dumps(document, allow_nan=False)
    (entry,) = document["claims"]
    assert entry["grade"] == entry["columns"]["stock"] == "supported"
    assert entry["columns"]["gatewise"] is None
    assert entry["columns"]["gatewise_reason"]
    assert entry["replay"] == "gatewise claims A1"
    assert entry["otherwise"] == ["noise"]
    assert entry["comparisons"][0]["implementation"] == "stock torch"
    assert entry["subjects"][0]["parameters"] == {"relu": 10, "gelu": 10, "silu": 10}
    assert set(document["counts"]) == set(GRADES)


SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "claims.schema.json").read_text(encoding="utf-8"))


def test_documents_keep_the_published_schema(tmp_path: Path) -> None:
    for name, ratio in (("decided", 1.1), ("open", 1.02)):
        made = plan(part("main", batch=[1, 8]))
        says = (relation("worse"), relation("worse", over="batch"), relation("worse", arm=("silu",), control=True))
        document = finished(tmp_path / name, claim(made, *says), arms(gelu=ratio, silu=1.5))
        jsonschema.validate(document, SCHEMA)
        document["claims"][0]["comparisons"][0]["verdict"] = "faster"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, SCHEMA)


def test_claims_without_a_run_of_their_own(tmp_path: Path) -> None:
    one = claim(plan(), relation(equivalent="refuted"))
    waiting = Claim(id="A2", sentence="x", source="y", waits_for="robustness")
    following = Claim(id="A3", sentence="x", source="y", follows="A1")
    trials = trials_of([one])
    assert trials[0].plan is not None
    stored(tmp_path / STUDIES / trials[0].name, trials[0].plan, arms())
    document = graded([following, waiting, one], trials, tmp_path, budget_s=None, replay={})
    grades = {entry["id"]: (entry["grade"], entry["reason"]) for entry in document["claims"]}
    assert [entry["id"] for entry in document["claims"]] == ["A3", "A2", "A1"]
    assert grades["A1"][0] == "refuted"
    assert grades["A2"] == ("not testable here", "waits for robustness")
    assert grades["A3"][0] == "refuted"
    assert "A1" in grades["A3"][1]


def test_missing_package_is_said_and_the_rest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"name": "model", "arms": ["gelu", "relu"], "subject": {"workload": "sentence-encoder"}}
    model["measure"] = {"metrics": ["latency"], "batch": [1]}
    both, alone = plan(part("main"), model), plan(model)
    monkeypatch.setattr("gatewise.claims._available.find_spec", lambda name: None)
    (trial,) = trials_of([claim(both, relation())])
    assert trial.plan is not None
    assert [each.name for each in trial.plan.parts] == ["main"]
    assert "is not installed" in trial.left_out[0]["reason"]
    (trial,) = trials_of([claim(alone, relation())])
    assert trial.plan is None
    document = graded([trial.claims[0]], [trial], Path("nowhere"), budget_s=None, replay={})
    assert document["claims"][0]["grade"] == "not testable here"


def test_budget_that_is_too_small_is_open_and_says_what_it_takes(tmp_path: Path) -> None:
    one = claim(plan(), relation())
    document = run_claims([one], tmp_path, budget_s=3.0, progress=lambda text, left_s: None, replay={})
    (entry,) = document["claims"]
    assert entry["grade"] == "inconclusive"
    assert "cannot give one verdict" in entry["reason"]


# Several machines


def on(tmp_path: Path, document: dict[str, Any], name: str, cpu: str) -> Path:
    path = tmp_path / f"{name}.json"
    where = document["environment"] | {"cpu": cpu}
    path.write_text(json.dumps(document | {"environment": where}), encoding="utf-8")
    return path


def test_machines_stand_side_by_side_and_are_never_averaged(tmp_path: Path) -> None:
    one = claim(plan(), relation("worse"))
    slow = finished(tmp_path / "a", one, arms(gelu=1.1))
    fast = finished(tmp_path / "b", one, arms(gelu=0.9))
    merged = claims.merge([on(tmp_path, slow, "a", "one"), on(tmp_path, fast, "b", "two")])
    (row,) = merged["claims"]
    assert list(row["grades"].values()) == ["supported", "refuted"]
    assert row["agree"] is False
    assert "grade" not in row
    assert [result["comparisons"][0]["estimate"] for result in row["results"]] == [
        slow["claims"][0]["comparisons"][0]["estimate"],
        fast["claims"][0]["comparisons"][0]["estimate"],
    ]


def test_merge_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    document = finished(tmp_path / "a", claim(plan(), relation("worse")), arms(gelu=1.1))
    good = on(tmp_path, document, "a", "one")
    with pytest.raises(GatewiseError, match="at least two"):
        claims.merge([good])
    with pytest.raises(GatewiseError, match="one result twice"):
        claims.merge([good, on(tmp_path, document, "copy", "one")])
    other = tmp_path / "other.json"
    for text, message in (("{", "not JSON"), ("[]", "no result of gatewise claims"), ('{"schema": "x"}', "no result")):
        other.write_text(text, encoding="utf-8")
        with pytest.raises(GatewiseError, match=message):
            claims.merge([good, other])
    with pytest.raises(GatewiseError, match="cannot read"):
        claims.merge([good, tmp_path / "none.json"])


def test_relations_are_data() -> None:
    assert replace(relation(), says="worse").says == "worse"
