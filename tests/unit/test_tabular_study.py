"""A whole study of a small file: it repeats, goes on after a kill, judges honestly and answers a second file."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tabular_examples import customers, quick

from gatewise import tabular
from gatewise.core import GatewiseError, MissingExtraError, Store
from gatewise.tabular import TablePlan, _baselines, _network, _run, _scores
from gatewise.tabular._prepare import prepare
from gatewise.tabular._read import read
from gatewise.tabular._verdicts import recommend

pytest.importorskip("sklearn")


@pytest.fixture(autouse=True, scope="module")
def _short() -> Iterator[None]:
    """Short trainings: what is tested here does not depend on how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_network, "FEWEST_STEPS", 60)
        patch.setattr(_network, "EPOCHS", 2)
        patch.setattr(_network, "RATES", (1e-3, 4e-3))
        patch.setattr(_baselines, "ROUNDS", 50)
        patch.setattr(_baselines, "TREES", ((0.1, 6),))
        patch.setattr(_scores, "RESAMPLES", 100)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tabular")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return customers(folder / "customers.csv")


@pytest.fixture(scope="module")
def new(folder: Path) -> Path:
    """No target, another order, a column less, a new town, an age never seen, one row too short, semicolons."""
    path = folder / "new.csv"
    lines = ["town;age;since", "Bonn;25;2024-05-01", "Paris;140;2024-05-02", "Aachen;old;", "Köln;70"]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def found(folder: Path, data: Path, new: Path) -> tabular.Study:
    return quick(data, folder / "whole", predict=new, arms=("relu", "swiglu"))


def same(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what a clock wrote."""
    kept = {key: value for key, value in document.items() if key not in ("started", "seconds", "environment")}
    return json.loads(json.dumps(kept), object_hook=lambda each: {k: v for k, v in each.items() if k != "seconds"})


def test_the_document_holds_both_splits_and_strict_json(found: tabular.Study) -> None:
    document = found.document
    assert document["schema"] == "gatewise.table/1"
    assert [each["name"] for each in document["splits"]] == ["random", "time"]
    json.dumps(document, allow_nan=False)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "table.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    for split in document["splits"]:
        assert [each["name"] for each in split["learners"]] == ["guess", "linear", "trees", "relu", "swiglu"]
        assert len(split["comparisons"]) == 4 + 5 + 1
        for each in split["comparisons"]:
            assert each["interval"][0] <= each["estimate"] <= each["interval"][1]
    assert document["matching"]["largest_difference"] < 0.01


def test_a_killed_study_goes_on_and_the_same_file_gives_the_same_result(
    found: tabular.Study, folder: Path, data: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = _run.run_cell, list[str]()

    def dying(held: Any, learner: str) -> dict[str, Any]:
        calls.append(learner)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(held, learner)

    monkeypatch.setattr(_run, "run_cell", dying)
    out = folder / "killed"
    with pytest.raises(KeyboardInterrupt):
        quick(data, out, predict=new, arms=("relu", "swiglu"))
    ended = quick(data, out, predict=new, arms=("relu", "swiglu"), resume=True)
    assert len(calls) == 8 + 20 - 7
    assert same(ended.document) == same(found.document)
    assert ended.predictions == found.predictions


def test_few_random_starts_are_said_to_be_few(found: tabular.Study) -> None:
    told = any("use --seeds 6" in line for line in found.document["warnings"])
    assert told == (found.document["splits"][0]["seeds"] < 4)


def test_a_folder_is_never_overwritten_nor_another_study_continued(
    found: tabular.Study, folder: Path, data: Path
) -> None:
    del found
    with pytest.raises(GatewiseError, match="add --resume"):
        quick(data, folder / "whole", arms=("relu", "swiglu"))
    with pytest.raises(GatewiseError, match="another plan"):
        quick(data, folder / "whole", arms=("relu", "gelu"), resume=True)
    other = customers(folder / "other.csv", seed=9)
    with pytest.raises(GatewiseError, match="another file"):
        quick(other, folder / "whole", arms=("relu", "swiglu"), resume=True)


def test_a_budget_that_is_too_short_says_so_and_judges_nothing(folder: Path, data: Path) -> None:
    document = quick(data, folder / "short", budget_s=1e-9).document
    assert any("The time was up" in each for each in document["warnings"])
    assert all(each["recommended"] is None and not each["comparisons"] for each in document["splits"])


def test_the_second_file_is_answered_row_by_row_and_its_gaps_are_said(found: tabular.Study) -> None:
    assert found.predictions is not None
    rows = list(csv.DictReader(found.predictions.splitlines()))
    assert [row["town"] for row in rows] == ["Bonn", "Paris", "Aachen", "Köln"]
    assert {row["predicted churn"] for row in rows} <= {"yes", "no"}
    assert all(0.0 <= float(row["probability of yes"]) <= 1.0 for row in rows)
    notes = " ".join(found.document["predictions"]["notes"])
    for said in ("lacks 'spent'", "'Paris'", "outside of 18 to 80", "no number in 'age'", "cut or filled up (row 5)"):
        assert said in notes


def test_predictions_come_from_the_models_that_were_measured(found: tabular.Study, folder: Path, data: Path) -> None:
    """The first file asked for again: its held-out rows get the very probabilities that were judged."""
    answered = quick(data, folder / "whole", predict=data, arms=("relu", "swiglu"), resume=True)
    assert same(answered.document)["splits"] == same(found.document)["splits"]
    rows = list(csv.DictReader((answered.predictions or "").splitlines()))
    split = found.document["splits"][0]
    learner = next(each for each in split["learners"] if each["name"] == split["recommended"]["learner"])
    p = np.asarray([float(row["probability of yes"]) for row in rows])
    y = np.asarray([row["churn"] == "yes" for row in rows])
    assert len(rows) == 240
    assert -np.log(np.where(y, p, 1 - p)).mean() < 1.2 * learner["scores"]["log_loss"]["value"]


def test_a_second_file_of_something_else_is_refused(folder: Path, data: Path) -> None:
    path = folder / "else.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(GatewiseError, match="lacks 4 of the 4 columns"):
        quick(data, folder / "never", predict=path)
    assert not (folder / "never").exists()


def test_values_are_predicted_with_a_range_and_scored_as_scikit_learn_does(folder: Path) -> None:
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    rng = np.random.default_rng(0)
    path, new = folder / "values.csv", folder / "more.csv"
    x = rng.uniform(0, 9, 200)
    y = 3 * x + rng.normal(0, 1, 200)
    path.write_text("\n".join(["x,y", *(f"{a:.3f},{b:.3f}" for a, b in zip(x, y, strict=True))]), encoding="utf-8")
    new.write_text("x,z\n5,1\n", encoding="utf-8")
    found = quick(path, folder / "values", predict=new, target="y")
    assert found.document["target"]["task"] == "regress"
    row = next(csv.DictReader((found.predictions or "").splitlines()))
    assert float(row["y at least"]) < float(row["predicted y"]) < float(row["y at most"])
    split = found.document["splits"][0]
    assert split["recommended"]["learner"] == "linear"
    assert split["learners"][1]["removes"] > 0.9
    assert set(split["learners"][1]["scores"]) == {"mae", "rmse"}
    held = prepare(read(path), TablePlan(target="y", arms=("relu",), folds=0)).splits[0].heldout
    for each in split["learners"][1:]:
        store = Store(folder / "values" / tabular.STORE)
        said = [record["predicted"] for name, _, record in store.cells("random") if name == each["name"]]
        store.close()
        mean = np.mean(said, axis=0)[:, 0]
        truth = np.round(y, 3)[held]
        assert each["scores"]["mae"]["value"] == pytest.approx(mean_absolute_error(truth, mean))
        assert each["scores"]["rmse"]["value"] == pytest.approx(root_mean_squared_error(truth, mean))


def test_three_classes_and_noise(folder: Path) -> None:
    rng = np.random.default_rng(1)
    path = folder / "noise.csv"
    rows = [f"{rng.normal():.3f},{rng.integers(0, 5)},{'abc'[rng.integers(0, 3)]}" for _ in range(200)]
    path.write_text("\n".join(["x,z,y", *rows]), encoding="utf-8")
    split = quick(path, folder / "noise", target="y").document["splits"][0]
    assert split["recommended"] == {"learner": "linear", "beats_guessing": False, "useful": [], "worth": []}
    assert "auc" not in split["learners"][1]["scores"]


def test_an_arm_that_diverges_is_said_and_not_judged(folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_network, "RATES", (1e30,))
    document = quick(data, folder / "diverged").document
    first = document["splits"][0]
    assert any("relu failed in" in each for each in document["warnings"])
    assert all("relu" not in (each["arm"], each["baseline"]) for each in first["comparisons"])
    assert first["recommended"]["learner"] in ("linear", "trees")


def test_without_scikit_learn_the_extra_is_named(folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gatewise\[tabular\]"):
        quick(data, folder / "none")


def verdicts(**said: str) -> list[dict[str, Any]]:
    """Comparisons as `arm_baseline="better"`; the estimate makes a better arm better."""
    pairs = (key.split("_") for key in said)
    return [{"arm": arm, "baseline": base, "verdict": said[f"{arm}_{base}"], "estimate": -0.1} for arm, base in pairs]


@pytest.mark.parametrize(
    ("said", "learner"),
    [
        ({"linear_guess": "better"}, "linear"),
        ({"linear_guess": "better", "trees_linear": "better", "relu_linear": "better"}, "trees"),
        ({"linear_guess": "inconclusive", "trees_guess": "better", "trees_linear": "inconclusive"}, "trees"),
        ({"relu_linear": "better", "relu_trees": "inconclusive"}, "linear"),
        ({"relu_linear": "better", "relu_trees": "better"}, "relu"),
        ({}, "linear"),
    ],
)
def test_the_simplest_that_nothing_beats_is_recommended(said: dict[str, str], learner: str) -> None:
    assert recommend(verdicts(**said), ["relu"])["learner"] == learner
