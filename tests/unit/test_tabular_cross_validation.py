"""Small files: every row is held out once a round, and what is said of them agrees with figures taken outside."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabular_examples import customers, quick, shorten

from gatewise.core import GatewiseError, Rule, Store
from gatewise.report._table_answer import lead
from gatewise.report._table_html import render
from gatewise.tabular import TablePlan
from gatewise.tabular._cells import ready
from gatewise.tabular._evidence import Heldout
from gatewise.tabular._prepare import Table, prepare
from gatewise.tabular._read import read
from gatewise.tabular._resampled import resampled
from gatewise.tabular._scores import with_intervals
from gatewise.tabular._split import cross_validation, fold_of

pytest.importorskip("sklearn")
PLAN: dict[str, Any] = {"seeds": 3, "folds": None, "drop": ("since",)}


@pytest.fixture(autouse=True, scope="module")
def _short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return customers(folder / "customers.csv", rows=150)


@pytest.fixture(scope="module")
def document(folder: Path, data: Path) -> dict[str, Any]:
    return quick(data, folder / "out", predict=data, **PLAN).document


@pytest.fixture(scope="module")
def stored(document: dict[str, Any], folder: Path) -> dict[str, dict[int, np.ndarray]]:
    """The predictions of each training by learner and run, from the record."""
    del document
    store = Store(folder / "out" / "table.db")
    found: dict[str, dict[int, np.ndarray]] = {}
    for learner, run, record in store.cells("random"):
        found.setdefault(learner, {})[run] = np.asarray(record["predicted"])
    store.close()
    return found


@pytest.fixture(scope="module")
def table(data: Path) -> Table:
    settings = {"target": "churn", "arms": ("relu",), **PLAN}
    return prepare(read(data), TablePlan(**settings))


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=30, max_size=120),
    st.integers(3, 6),
    st.integers(0, 99),
)
def test_every_row_is_in_one_fold_whole_groups_together(rows: list[tuple[int, int]], folds: int, seed: int) -> None:
    groups, strata = (np.asarray(each) for each in zip(*rows, strict=True))
    found = fold_of(groups, strata, folds, seed)
    assert all(len(set(found[groups == group].tolist())) == 1 for group in set(groups.tolist()))
    assert set(found.tolist()) <= set(range(folds))
    assert found.tolist() == fold_of(groups, strata, folds, seed).tolist()
    largest = max(np.bincount(groups))
    sizes = np.bincount(found, minlength=folds)
    assert max(sizes) - min(sizes) <= 3 * largest


def test_folds_have_the_same_mix_and_another_draw_in_each_round() -> None:
    strata = np.repeat([0, 1], [150, 50])
    split = cross_validation(np.arange(200), strata, 5, 2, 0)
    for folds in split.rounds:
        assert [np.bincount(folds[strata == each]).tolist() for each in (0, 1)] == [[30] * 5, [10] * 5]
    assert split.rounds[0].tolist() != split.rounds[1].tolist()
    asked = np.concatenate([split.turn(run)[1] for run in range(5, 10)])
    assert sorted(asked.tolist()) == list(range(200))
    assert all(not set(split.turn(run)[0]) & set(split.turn(run)[1]) for run in range(10))


def test_the_interval_is_the_one_of_nadeau_and_bengio() -> None:
    from scipy.stats import t

    rng = np.random.default_rng(0)
    y = rng.normal(size=60)
    folds = np.stack([rng.permutation(60) % 5 for _ in range(3)])
    base, arm = rng.normal(size=(2, 3, 60, 1))
    heldout = Heldout(y=y, groups=np.arange(60), classes=0, guess_loss=2.0, rounds=folds)
    found = resampled(heldout, base, arm, Rule(kind="difference", margin=0.01)).at(0.02)
    apart = ((arm[:, :, 0] - y) ** 2 - (base[:, :, 0] - y) ** 2) / 2.0
    effects = [apart[each, folds[each] == fold].mean() for each in range(3) for fold in range(5)]
    half = t.ppf(0.99, 14) * np.std(effects, ddof=1) * np.sqrt(1 / 15 + 1 / 4)
    assert found.interval == pytest.approx((np.mean(effects) - half, np.mean(effects) + half))
    assert (found.estimate, found.n) == (pytest.approx(np.mean(effects)), 15)


def test_equal_learners_are_seldom_told_apart() -> None:
    """Two least-squares lines on two columns that are alike by symmetry: at 10 %, at most so many false alarms."""
    rng, rule, wrong = np.random.default_rng(4), Rule(kind="difference", margin=0.0), 0
    for _ in range(200):
        x = rng.normal(size=(100, 2))
        y = x.sum(axis=1) + rng.normal(size=100)
        split = cross_validation(np.arange(100), np.zeros(100, dtype=np.int64), 5, 2, int(rng.integers(1000)))
        said = np.zeros((2, 2, 100, 1))
        for run in range(10):
            learnt, asked = split.turn(run)
            slopes = (x[learnt] * y[learnt, None]).sum(axis=0) / (x[learnt] ** 2).sum(axis=0)
            said[:, run // 5, asked, 0] = (x[asked] * slopes).T
        heldout = Heldout(y=y, groups=np.arange(100), classes=0, guess_loss=3.0, rounds=split.rounds)
        interval = resampled(heldout, said[0], said[1], rule).at(0.1).interval
        assert interval is not None
        wrong += not interval[0] <= 0.0 <= interval[1]
    assert wrong <= 26  # a mean of 20 and twice its spread of 4.2, less what the correction gives away


def test_the_document_says_how_often_every_row_was_held_out(document: dict[str, Any]) -> None:
    schema = json.loads((Path(__file__).parents[2] / "docs" / "table.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    split = document["splits"][0]
    assert [split[key] for key in ("heldout_rows", "folds", "seeds", "train_rows")] == [150, 5, 10, 120]
    assert all(each["n"] == 10 and "Nadeau" in each["method"] for each in split["comparisons"])
    assert "was held out twice, by cross-validation in 5 parts, and everything was trained 10 times" in " ".join(
        lead(document)
    )
    assert "rows, each by models that had not seen it" in render(document)


def test_scores_are_what_scikit_learn_says_of_the_stored_predictions(
    document: dict[str, Any], stored: dict[str, dict[int, np.ndarray]], table: Table
) -> None:
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

    split = table.splits[0]
    labels = np.asarray([row[table.file.columns.index("churn")] for row in table.file.rows])
    for learner in document["splits"][0]["learners"][1:]:
        y, p, areas = list[np.ndarray](), list[np.ndarray](), list[float]()
        for run, predicted in sorted(stored[learner["name"]].items()):
            asked = split.turn(run)[1]
            y, p = [*y, labels[asked] == "yes"], [*p, predicted]
            areas.append(float(roc_auc_score(y[-1], predicted[:, 1])))
        truth, given_ = np.concatenate(y), np.concatenate(p)
        assert len(truth) == 2 * 150
        scores = {name: each["value"] for name, each in learner["scores"].items() if name != "top_tenth"}
        assert scores == {
            "auc": pytest.approx(np.mean(areas)),
            "accuracy": pytest.approx(accuracy_score(truth, given_[:, 1] > 0.5)),
            "log_loss": pytest.approx(log_loss(truth, given_[:, 1])),
            "brier": pytest.approx(brier_score_loss(truth, given_[:, 1])),
        }
        always = np.full(len(truth), np.mean(labels == "yes"))
        assert learner["removes"] == pytest.approx(1 - scores["log_loss"] / log_loss(truth, always), abs=1e-6)


def test_the_linear_model_is_scikit_learns_own(stored: dict[str, dict[int, np.ndarray]], table: Table) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    held = ready(table, table.splits[0], 3)
    x, y = held.parts.x, held.parts.y
    models = [LogisticRegression(C=strength, max_iter=500).fit(x, y) for strength in (0.01, 0.1, 1.0, 10.0)]
    losses = [log_loss(held.parts.y_tuning, each.predict_proba(held.parts.x_tuning)) for each in models]
    best = models[int(np.argmin(losses))]
    assert np.allclose(best.predict_proba(held.heldout), stored["linear"][3], atol=1e-5)


def test_calibration_and_slices_are_of_the_rows_own_predictions(
    document: dict[str, Any], stored: dict[str, dict[int, np.ndarray]], table: Table
) -> None:
    split, told = table.splits[0], document["splits"][0]
    p = np.zeros((2, 150))
    for run, predicted in stored[told["recommended"]["learner"]].items():
        p[run // 5, split.turn(run)[1]] = predicted[:, 1]
    mean, y = p.mean(axis=0), table.y
    assert told["calibration"]["predicted"] == pytest.approx(mean.mean())
    assert told["calibration"]["found"] == pytest.approx(y.mean())
    bins = told["calibration"]["bins"]
    assert sum(each["rows"] for each in bins) == 150
    lowest = np.argsort(mean)[: bins[0]["rows"]]
    assert bins[0]["predicted"] == pytest.approx(mean[lowest].mean())
    assert bins[0]["found"] == pytest.approx(y[lowest].mean())
    assert told["slices"]["looked_at"] >= 6  # 150 rows, not a quarter of them


def test_a_model_that_knows_nothing_ranks_like_chance_in_folds() -> None:
    """Shares of the folds' own training rows, pooled, would rank rows worse than chance: each is against its fold."""
    y = np.repeat([0.0, 1.0], [47, 53])
    folds = np.random.default_rng(1).permutation(100) % 5
    share = np.asarray([y[folds != fold].mean() for fold in folds])
    said = np.stack([1 - share, share], axis=1)
    pooled = with_intervals(2, y, said, np.arange(100), alpha=0.05)["auc"]["value"]
    within = with_intervals(2, y, said, np.arange(100), alpha=0.05, folds=folds)["auc"]["value"]
    assert pooled is not None
    assert pooled < 0.45  # type: ignore[operator]
    assert within == pytest.approx(0.5)


def test_folds_are_taken_where_rows_are_few_or_asked_for(tmp_path: Path) -> None:
    def folds(rows: int, **plan: Any) -> int:
        path = customers(tmp_path / f"{rows}.csv", rows=rows, house=lambda row, churn: f"h{row // 20}")
        return prepare(read(path), TablePlan(**{"target": "churn", **plan})).splits[0].folds

    assert [folds(300), folds(1200), folds(300, folds=0), folds(1200, folds=4)] == [5, 0, 0, 4]
    assert folds(120, group="house") == 0  # six houses are too few for folds of their own accord
    with pytest.raises(GatewiseError, match="only 6 groups"):
        folds(120, group="house", folds=7)


def test_names_that_come_back_are_warned_of(tmp_path: Path) -> None:
    path = customers(tmp_path / "a.csv", owner_id=lambda row, churn: f"o{row // 3}")
    found = prepare(read(path), TablePlan(target="churn"))
    assert [each.split(" seems")[0] for each in found.warnings] == ["'owner_id'"]
    assert prepare(read(path), TablePlan(target="churn", group="owner_id")).warnings == ()
