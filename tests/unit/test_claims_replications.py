"""The replications X1, X2 and S4: statements, matched beside unmatched, basins, looks; planted and real losses."""

import json
import math
import random
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gatewise import claims
from gatewise.claims import Claim, Relation
from gatewise.claims._basins import basins, edges, widths
from gatewise.claims._looks import left_untrained, shared_rate
from gatewise.claims._run import _found, graded, run_claims
from gatewise.claims._trial import OWN_RATE, STUDIES, Trial, trials_of
from gatewise.cli import main
from gatewise.core import GatewiseError, Store, environment
from gatewise.study import STORE, Plan, Record, read_records, to_plan

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "claims.schema.json").read_text(encoding="utf-8"))
EIGHT = ("relu", "gelu", "silu", "glu", "bilinear", "geglu", "swiglu", "reglu")
PUBLISHED = dict(zip(EIGHT, (1.997, 1.983, 1.994, 1.982, 1.960, 1.942, 1.944, 1.953), strict=True))
"""Shazeer 2020, table 1, 65,536 steps."""

FACTS = {"kind": "gate", "weights_state": "trained", "flops": 100, "unfair": None, "folder": ""}

known = {claim.id: claim for claim in claims.ledger()}


def planted(
    folder: Path, plan: Plan, losses: dict[str, dict[str, float]], *, seeds: int = 6, noise: float = 0.001
) -> list[Record]:
    """A store as a study of training leaves it: by part and arm a mean loss, shared shifts by seed, noise by run."""
    folder.mkdir(parents=True, exist_ok=True)
    store, rng = Store(folder / STORE), random.Random(7)
    store.put("plan", plan.to_json())
    store.put("environment", environment())
    shifts = [rng.gauss(0, 0.01) for _ in range(seeds)]
    for part in plan.parts:
        mine = losses[part.name]
        facts = {
            label: FACTS | {"implementation": "torch", "parameters": 120 if label.endswith("wide") else 100}
            for label in mine
        }
        store.put(f"prepared:{part.name}", {"facts": {}, "arms": facts, "prices": {}, "training": {}})
        for seed, shift in enumerate(shifts):
            rows = {f"train:{label}": row(loss + shift + rng.gauss(0, noise)) for label, loss in mine.items()}
            store.add(part.name, seed, rows)
    store.close()
    return read_records(folder)


def row(loss: float) -> dict[str, Any]:
    bad = None if math.isfinite(loss) else "NaN/inf loss at step 3"
    return {
        "curve": [[90, 3.0], [400, loss]] if math.isfinite(loss) else [],
        "final_loss": None if bad else loss,
        "failure": bad,
        "steps": 400,
        "seconds": 30.0,
        "implementation": "stock torch",
    }


def entry(tmp_path: Path, claim: Claim, losses: dict[str, dict[str, float]], **more: Any) -> dict[str, Any]:
    """A claim graded on planted losses, as the document has it."""
    (trial,) = trials_of([claim])
    assert trial.plan is not None
    planted(tmp_path / STUDIES / trial.name, trial.plan, losses, **more)
    replay = {claim.id: f"gatewise claims {claim.id} --budget 3m --out here"}
    document = graded([claim], [trial], tmp_path, budget_s=None, replay=replay)
    jsonschema.validate(document, SCHEMA)
    return document["claims"][0]


# X2: statements


def test_the_pairs_of_x2_are_those_that_the_published_table_tells_apart() -> None:
    (survive,) = [
        each["detail"]["survivors"]
        for each in claims.published()["results"]
        if each["quantity"] == "pairs that survive Holm, 65,536 steps" and each["source"] == "shazeer-2020"
    ]
    published = {(each["better"].lower(), each["than"].lower().replace("swish", "silu")) for each in survive}
    asked = [(arm, than) for relation in known["X2"].relations for arm in relation.arm for than in relation.than]
    assert len(asked) == len(set(asked)) == 17
    assert set(asked) == published
    assert all(
        relation.text and relation.says == "better" and relation.margin == 0 for relation in known["X2"].relations
    )


def test_losses_as_published_support_every_statement(tmp_path: Path) -> None:
    found = entry(tmp_path, known["X2"], {"main": PUBLISHED})
    assert found["grade"] == "supported", found["reason"]
    assert {each["grade"] for each in found["stated"]} == {"supported"}
    assert sum(each["comparisons"] for each in found["stated"]) == 17
    assert found["needs"] is None
    assert {row["relation"] for row in found["comparisons"]} == {each["text"] for each in found["stated"]}


def test_one_statement_is_contradicted_one_open_and_the_others_hold(tmp_path: Path) -> None:
    # Bilinear is planted below GEGLU, and ReGLU just so much below ReLU that six seeds do not tell.
    losses = PUBLISHED | {"bilinear": 1.90, "reglu": 1.9955, "relu": 1.997, "gelu": 2.02, "silu": 2.02, "glu": 2.02}
    found = entry(tmp_path, known["X2"], {"main": losses}, noise=0.006)
    grades = {each["text"]: each for each in found["stated"]}
    assert grades["GEGLU beats bilinear."]["grade"] == "refuted"
    assert grades["GEGLU beats bilinear."]["against"] == ["geglu vs bilinear"]
    own = grades["Every gate beats the function that it gates with."]
    assert own["grade"] == "inconclusive"
    assert own["open"] == ["reglu vs relu"]
    assert own["counts"] == {"supported": 2, "inconclusive": 1}
    assert grades["ReGLU beats GELU and Swish as well."]["grade"] == "supported"
    assert found["grade"] == "refuted"
    # What is open says how many seeds it takes, how long that is, and with which command.
    assert own["seeds"] > own["n"] == 6
    assert found["needs"]["seeds"] == own["seeds"]
    assert found["needs"]["command"] == (
        f"gatewise claims X2 --out here --seeds {own['seeds']} --budget {found['needs']['budget_s'] // 60}m"
    )
    assert found["needs"]["command"] in found["next"][-1]
    assert found["needs"]["budget_s"] == math.ceil(own["seeds"] * 30 * 8 / 2 * 1.2 / 60) * 60


def test_seeds_of_the_plan_come_before_a_new_look(tmp_path: Path) -> None:
    losses = PUBLISHED | {"relu": 1.954}  # beside ReGLU's 1.953
    found = entry(tmp_path, known["X2"], {"main": losses}, seeds=4, noise=0.002)
    assert found["needs"]["seeds"] == 6
    # A study goes on only with time for four seeds: of eight runs of 30 s, two side by side, a fifth to spare.
    assert found["needs"]["command"] == "gatewise claims X2 --out here --budget 10m"
    assert found["needs"]["text"].startswith("4 of the plan's 6 seeds are trained")


def test_equal_losses_decide_nothing(tmp_path: Path) -> None:
    found = entry(tmp_path, known["X2"], {"main": dict.fromkeys(EIGHT, 2.0)})
    assert found["grade"] == "inconclusive"
    assert "supported" not in {each["grade"] for each in found["stated"]}


# X1: matched beside unmatched


def beside(tmp_path: Path, swiglu: float, wide: float) -> dict[str, Any]:
    losses = {"gelu": 2.0, "swiglu": swiglu, "swiglu-wide": wide, "geglu": 2.0, "geglu-wide": 2.0}
    return entry(tmp_path, known["X1"], {"main": losses})


def test_a_win_that_is_all_parameters(tmp_path: Path) -> None:
    found = beside(tmp_path, 2.0, 1.9)
    assert found["grade"] == "supported", found["reason"]
    row, none = found["side_by_side"]
    assert (row["matched_arm"], row["unmatched_arm"], row["baseline"]) == ("swiglu", "swiglu-wide", "gelu")
    assert row["unmatched"]["estimate"] == pytest.approx(0.05, abs=0.002)
    assert row["parameters_share"] == pytest.approx(1.0, abs=0.03)
    low, high = row["parameters_share_interval"]
    assert low < 1.0 < high
    assert row["parameters"] == {"gelu": 100, "swiglu": 100, "swiglu-wide": 120}
    assert none["parameters_share"] is None  # GEGLU was planted without any gain
    assert "no gain" in none["reason"]


def test_a_win_of_which_half_is_parameters_refutes_that_it_is_gone(tmp_path: Path) -> None:
    found = beside(tmp_path, 1.95, 1.9)
    assert found["grade"] == "refuted"
    assert [each["grade"] for each in found["stated"]] == ["supported", "refuted"]
    assert found["side_by_side"][0]["parameters_share"] == pytest.approx(0.5, abs=0.05)


# S4: basins


RATES = (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)


def basin_entry(tmp_path: Path, gelu: list[float], swiglu: list[float]) -> dict[str, Any]:
    parts = [f"rate {rate}" for rate in RATES]
    losses = {name: {"gelu": a, "swiglu": b} for name, a, b in zip(parts, gelu, swiglu, strict=True)}
    return entry(tmp_path, known["S4"], losses)


WIDE = [2.3, 2.1, 2.0, 2.0, 2.0, 2.1, math.inf]
NARROW = [2.3, 2.2, 2.1, 2.0, 2.1, 2.2, math.inf]


@pytest.mark.parametrize(
    ("gelu", "swiglu", "expected"),
    [(WIDE, NARROW, "supported"), (NARROW, WIDE, "refuted"), (WIDE, WIDE, "equivalent")],
)
def test_width_of_the_basin_is_the_result(
    tmp_path: Path, gelu: list[float], swiglu: list[float], expected: str
) -> None:
    found = basin_entry(tmp_path, gelu, swiglu)
    assert found["grade"] == expected, found["reason"]
    (compared,) = found["comparisons"]
    assert compared["form"] == "basin"
    assert compared["n"] == 6
    rows = {row["arm"]: row for row in found["basins"]["arms"]}
    assert rows["gelu"]["low_edge"] == rows["gelu"]["high_edge"] == "between"
    assert rows["gelu"]["factor_least"] == pytest.approx(4.0 if gelu is WIDE else 1.0)
    assert rows["gelu"]["losses"][-1] is None


def test_a_basin_that_the_grid_cuts_off_is_a_bound_and_not_judged(tmp_path: Path) -> None:
    found = basin_entry(tmp_path, [2.3, 2.1, 2.0, 2.0, 2.0, 2.0, 2.0], NARROW)
    assert found["grade"] == "inconclusive"
    assert "the grid of rates ends inside the basin of gelu" in found["reason"]
    assert found["next"] == ["rates beyond the grid would show where the basins of swiglu and gelu end"]
    row = next(row for row in found["basins"]["arms"] if row["arm"] == "gelu")
    assert row["high_edge"] == "at or beyond the grid"
    assert row["factor_most"] is None


def test_edges_lie_where_the_straight_line_passes_the_distance() -> None:
    low, high = edges([1.0, 2.0, 4.0, 8.0], [2.1, 2.0, 2.0, 2.2], 0.05) or (0.0, 0.0)
    assert low == pytest.approx(2.0**0.5)
    assert high == pytest.approx(4.0 * 2.0**0.25)
    assert edges([1.0, 2.0, 4.0], [math.inf, 2.0, math.inf], 0.05) == (2.0, 2.0)
    assert edges([1.0, 2.0, 4.0], [2.0, 2.0, 3.0], 0.05) is None


def test_a_seed_that_lacks_a_rate_is_left_out(tmp_path: Path) -> None:
    plan = known["S4"].plan
    assert plan is not None
    losses = {f"rate {rate}": {"gelu": loss} for rate, loss in zip(RATES, WIDE, strict=True)}
    records = planted(tmp_path, plan, losses)
    last = records[-1]
    last.rows["train:gelu"] = last.rows["train:gelu"][:4]
    assert sorted(widths(records, "gelu", 0.02).by_seed) == [0, 1, 2, 3]
    assert (basins(records, 0.02) or {})["arms"][0]["seeds"] == 4


# Looks, seeds, searches


def test_a_second_look_is_judged_more_strictly(tmp_path: Path) -> None:
    first = entry(tmp_path, known["X2"], {"main": PUBLISHED})
    (more,) = claims.with_seeds([known["X2"]], 12)
    second = entry(tmp_path, more, {"main": PUBLISHED}, seeds=12)
    assert (first["alpha"], second["alpha"]) == (0.05, 0.025)
    assert sorted(look["seeds"] for look in second["looks"]) == [6, 12]
    assert max(row["alpha"] for row in second["comparisons"]) <= 0.025
    assert {row["n"] for row in second["comparisons"]} == {12}
    assert second["registered"] == first["registered"]


def test_seeds_go_with_claims_that_train() -> None:
    with pytest.raises(GatewiseError, match="--seeds goes with claims that train, and G5 does not"):
        claims.with_seeds([known["G5"]], 8)
    with pytest.raises(GatewiseError, match="2 or more"):
        claims.with_seeds([known["X2"]], 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--list"], "--seeds goes with running claims, not with --list"),
        (["G5"], "--seeds goes with claims that train"),
    ],
)
def test_seeds_on_the_command_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", *words, "--seeds", "3"]) == 2
    assert said in capsys.readouterr().err


def test_training_that_was_done_after_all_is_not_called_left_out(tmp_path: Path) -> None:
    plan = known["X2"].plan
    assert plan is not None
    dropped = [{"what": "2 of 6 seeds of part 'main'", "why": "x"}, {"what": "peak_memory", "why": "y"}]
    some = planted(tmp_path / "some", plan, {"main": PUBLISHED}, seeds=5)
    whole = planted(tmp_path / "all", plan, {"main": PUBLISHED})
    assert left_untrained(dropped, some) == dropped
    assert left_untrained(dropped, whole) == dropped[1:]


def test_a_study_that_began_at_one_rate_goes_on_so(tmp_path: Path) -> None:
    (trial,) = trials_of([known["X2"]])
    assert trial.plan is not None
    assert not _found(trial, tmp_path)
    shared = shared_rate(trial.plan)
    assert shared is not None
    name = Trial(plan=shared, left_out=[]).name
    planted(tmp_path / STUDIES / name, shared, {"main": PUBLISHED})
    assert _found(trial, tmp_path)
    assert trial.name == name
    assert "did not allow the search" in trial.left_out[0]["reason"]
    document = graded([known["X2"]], [trial], tmp_path, budget_s=None, replay={})
    assert "at one learning rate for all arms" in document["claims"][0]["reason"]


def test_without_room_for_the_search_one_rate_is_shared_and_said(tmp_path: Path) -> None:
    (trial,) = trials_of([known["X2"]])
    assert trial.plan is not None
    searched = trial.plan
    assert trial.share_rate("too dear")
    assert trial.plan == shared_rate(searched)
    assert trial.plan.parts[0].train is not None
    assert trial.plan.parts[0].train.search is None
    assert trial.left_out == [{"what": OWN_RATE, "reason": "too dear; all arms were trained at one rate"}]
    assert not trial.share_rate("again")


# What was registered


def test_every_claim_is_as_it_was_registered() -> None:
    path = ROOT / "src" / "gatewise" / "claims" / "ledger" / "registered.toml"
    registered = tomllib.loads(path.read_text(encoding="utf-8"))
    assert {claim.id: claim.sha256 for claim in claims.ledger()} == registered


def test_a_changed_relation_is_another_registration(tmp_path: Path) -> None:
    text = TINY.format(steps=20)
    hashes = [digest(tmp_path, text)]
    hashes += [digest(tmp_path, text.replace('is = "better"', 'is = "worse"')), digest(tmp_path, TINY.format(steps=40))]
    assert len(set(hashes)) == 3
    assert digest(tmp_path, text.replace("a test", "another source")) == hashes[0]


def digest(tmp_path: Path, text: str) -> str:
    path = tmp_path / "claim.toml"
    path.write_text(text, encoding="utf-8")
    (claim,) = claims.ledger(path)
    return claim.sha256


def test_a_basin_needs_rates_and_equal_steps(tmp_path: Path) -> None:
    relation = {"metric": "heldout_loss", "arm": ("swiglu",), "than": ("gelu",), "says": "worse", "form": "basin"}
    with pytest.raises(GatewiseError, match="over = 'learning_rate'"):
        Relation(**relation, over="part")
    with pytest.raises(GatewiseError, match="above 0"):
        Relation(**relation, over="learning_rate", distance=0.0)
    parts = [
        {
            "name": f"rate {rate}",
            "arms": ["gelu", "swiglu"],
            "subject": {"workload": "byte-lm"},
            "train": {"metrics": ["heldout_loss"], "learning_rate": rate, "steps": steps},
        }
        for rate, steps in ((0.005, 200), (0.01, 200), (0.02, 300))
    ]
    asks = Relation(**relation, over="learning_rate")
    with pytest.raises(GatewiseError, match=r"the same train\.steps"):
        Claim(id="B", sentence="x", source="y", relations=(asks,), plan=to_plan({"study": {}, "part": parts}))
    with pytest.raises(GatewiseError, match="rising learning_rate"):
        Claim(id="B", sentence="x", source="y", relations=(asks,), plan=to_plan({"study": {}, "part": parts[:2]}))


# For real, on the smallest model that trains

TINY = """
[[claim]]
id = "T"
sentence = "A gate beats the function that it gates with."
source = "a test"
[[claim.relation]]
text = "SwiGLU beats Swish."
metric = "heldout_loss"
arm = "swiglu"
than = "silu"
is = "better"
margin = 0.0
[claim.plan.study]
budget = "60s"
arms = ["silu", "swiglu"]
[claim.plan.subject]
workload = "byte-lm"
options = {{ dim = 8, layers = 1, heads = 2, context = 16, heldout_windows = 16, batch = 4, data = "synthetic" }}
[claim.plan.train]
seeds = 2
steps = {steps}
metrics = ["heldout_loss"]
search = {{ rates = 3, factor = 4.0, steps = 20, rungs = 1, seeds = 1 }}
"""


def test_a_claim_trains_searches_and_resumes(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY.format(steps=20), encoding="utf-8")
    (claim,) = claims.ledger(path)
    run = {"budget_s": 600.0, "progress": lambda text, left_s: None, "replay": {"T": "gatewise claims T"}}
    document = run_claims([claim], tmp_path / "out", **run)
    jsonschema.validate(document, SCHEMA)
    (found,) = document["claims"]
    assert {row["n"] for row in found["comparisons"]} == {2}
    assert {row["arm"] for row in found["rates"]} == {"silu", "swiglu"}
    assert {row["rate"] for row in found["rates"]} <= {0.0025, 0.01, 0.04}
    assert found["stated"][0]["text"] == "SwiGLU beats Swish."
    (study,) = found["looks"]
    assert study == {"study": found["study"].partition("/")[2], "seeds": 2, "searched": True}
    # Nothing is trained twice: what is read again is what stands there, to the bit.
    before = read_records(tmp_path / "out" / found["study"])
    again = run_claims([claim], tmp_path / "out", **run)
    assert read_records(tmp_path / "out" / found["study"]) == before
    for key in ("grade", "comparisons", "stated", "rates"):
        assert again["claims"][0][key] == found[key], key
