"""What makes a held-out figure worth something: no leak, no copy on both sides, nothing learnt from held-out rows."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabular_examples import customers

from gatewise.core import GatewiseError, Rule
from gatewise.tabular import TablePlan
from gatewise.tabular._cells import ready
from gatewise.tabular._columns import column
from gatewise.tabular._evidence import Crossed, Evidence, Heldout, crossed
from gatewise.tabular._features import fit
from gatewise.tabular._network import ResidualNet
from gatewise.tabular._prepare import Table, prepare
from gatewise.tabular._read import read
from gatewise.tabular._scores import auc, scores, top_share, with_intervals
from gatewise.tabular._slices import Slice, worst
from gatewise.tabular._split import take, time_split

pytest.importorskip("sklearn")


def table(path: Path, **plan: object) -> Table:
    return prepare(read(path), TablePlan(**{"target": "churn", **plan}))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2)), min_size=20, max_size=120), st.integers(0, 99))
def test_no_group_stands_on_both_sides_and_a_draw_repeats(rows: list[tuple[int, int]], seed: int) -> None:
    groups, strata = (np.asarray(each) for each in zip(*rows, strict=True))
    places = np.arange(len(rows))
    taken = take(places, groups, strata, 0.25, seed)
    assert not set(groups[taken]) & set(groups[np.setdiff1d(places, taken)])
    assert taken.tolist() == take(places, groups, strata, 0.25, seed).tolist()


def test_both_sides_have_the_same_mix_of_classes(tmp_path: Path) -> None:
    found = table(customers(tmp_path / "a.csv", rows=800), folds=0)
    split = found.splits[0]
    shares = [found.y[side].mean() for side in (split.train, split.heldout)]
    assert abs(shares[0] - shares[1]) < 0.01
    assert abs(len(split.heldout) / len(found.y) - 0.25) < 0.01


def test_the_split_by_time_holds_the_newest_rows_out(tmp_path: Path) -> None:
    found = table(customers(tmp_path / "a.csv"))
    newest = found.splits[1]
    index = [each.name for each in found.used].index("since")
    dates = np.asarray(found.cells[index])
    assert max(dates[newest.train]) < min(dates[newest.heldout]) == newest.since


def test_a_split_by_time_is_refused_where_a_class_is_on_one_side_only() -> None:
    days, classes = np.arange(200.0), (np.arange(200) > 150).astype(np.int64)
    assert isinstance(time_split(days, np.arange(200), classes, classes=True), str)


def test_rows_of_one_group_stay_together_when_asked(tmp_path: Path) -> None:
    path = customers(tmp_path / "a.csv", household=lambda row, churn: f"h{row // 4}")
    found = table(path, group="household")
    assert "household" not in [each.name for each in found.used]
    counts = Counter(found.groups.tolist())
    assert set(counts.values()) == {4}


def test_copies_are_counted_and_kept_on_one_side(tmp_path: Path) -> None:
    path = customers(tmp_path / "a.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, *lines[1:31]]), encoding="utf-8")
    found = table(path, folds=0)
    assert any("30 rows are copies" in each for each in found.findings)
    split = found.splits[0]
    assert not set(found.groups[split.train]) & set(found.groups[split.heldout])


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda row, churn: "Y" if churn else "N", "left out"),  # the target's own copy
        (lambda row, churn: f"2024-01-{row % 28 + 1:02d}" if churn else "", "left out"),  # written after it was known
        (lambda row, churn: 7.5 * churn + row % 5 / 10, "left out"),
        (lambda row, churn: "Y" if churn != (row % 60 == 0) else "N", "Ask whether"),
    ],
)
def test_what_gives_the_target_away_is_found(tmp_path: Path, made: object, kind: str) -> None:
    found = table(customers(tmp_path / "a.csv", closed=made))
    assert [leak.columns for leak in found.leaks] == [("closed",)]
    assert kind in found.leaks[0].says
    assert ("closed" in [each.name for each in found.used]) == (kind == "Ask whether")


def test_no_leak_is_cried_where_there_is_none_and_keep_overrules(tmp_path: Path) -> None:
    assert table(customers(tmp_path / "a.csv")).leaks == ()
    path = customers(tmp_path / "b.csv", copy=lambda row, churn: int(churn))
    assert "copy" in [each.name for each in table(path, keep=("copy",)).used]


def test_a_target_that_is_a_sum_or_a_product_of_columns_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.uniform(1, 9, (3, 200)).round(2)
    for name, y in (("sum", 2 * a + b), ("product", a * b)):
        path = tmp_path / f"{name}.csv"
        rows = [f"{x},{z},{w},{t:.6f}" for x, z, w, t in zip(a, b, c, y, strict=True)]
        path.write_text("\n".join(["a,b,c,y", *rows]), encoding="utf-8")
        found = table(path, target="y")
        assert set(found.leaks[0].columns) == {"a", "b"}
        assert name in found.leaks[0].says
        assert [each.name for each in found.used] == ["c"]


def test_features_do_not_change_with_held_out_rows(tmp_path: Path) -> None:
    """Whatever stands in the held-out rows, the training rows look the same to the models."""
    found = table(customers(tmp_path / "a.csv"), folds=0)
    split = found.splits[0]
    held = set(split.heldout.tolist())
    other = tuple(tuple("1e6" if row in held else cell for row, cell in enumerate(cells)) for cells in found.cells)
    changed = Table(**{**{name: getattr(found, name) for name in Table.__dataclass_fields__}, "cells": other})
    one, two = ready(found, split, 0), ready(changed, split, 0)
    assert np.array_equal(one.parts.x, two.parts.x)
    assert not np.array_equal(one.heldout, two.heldout)


def test_missing_values_get_the_median_and_a_mark_and_outliers_an_end() -> None:
    cells = [*(f"{value / 2}" for value in range(1, 100)), ""]
    features = fit([column("a", 0, cells, "comma")], [cells], np.zeros(100), classes=True)
    found = features.encode([["25", "", "1e9", "words"]])
    assert found[0, 0] == found[1, 0] == found[3, 0]
    assert found[:, 1].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert found[2, 0] == 5.0


@pytest.mark.parametrize("arm", ["gelu", "relu", "swiglu", "geglu", "bilinear"])
def test_every_arm_has_the_same_parameters_but_for_rounding(arm: str) -> None:
    count = sum(each.numel() for each in ResidualNet(20, 2, arm).blocks.parameters())
    assert abs(count / sum(each.numel() for each in ResidualNet(20, 2, "gelu").blocks.parameters()) - 1) < 0.005


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.integers(0, 1)), min_size=4, max_size=60))
def test_auc_and_top_share_agree_with_their_definitions(rows: list[tuple[float, int]]) -> None:
    p, y = (np.asarray(each, dtype=np.float64) for each in zip(*rows, strict=True))
    given_ = np.stack([1 - p, p], axis=1)
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y == 1] for b in p[y == 0]]
    found = auc(y, given_, np.ones(len(y)))
    assert np.isnan(found) if not pairs else found == pytest.approx(np.mean(pairs))
    if y.sum():
        constant = np.full_like(given_, 0.5)
        assert top_share(y, constant, np.ones(len(y))) == pytest.approx(0.1)


def test_right_answers_alone_still_have_an_interval_and_nothing_else_has_one_of_no_width() -> None:
    y, given_ = np.zeros(45), np.tile([1.0, 0.0], (45, 1))
    found = with_intervals(2, y, given_, np.arange(45), alpha=0.05)
    low, high = found["accuracy"]["interval"]  # type: ignore[misc]
    assert (round(low, 3), high) == (0.921, 1.0)  # 1 - 0.025^(1/45)
    assert found["log_loss"]["interval"] is None
    assert found["auc"]["value"] is None


def test_a_weight_of_two_is_a_row_that_stands_there_twice() -> None:
    rng = np.random.default_rng(3)
    y, p = rng.integers(0, 2, 50).astype(np.float64), rng.random(50)
    given_, weights = np.stack([1 - p, p], axis=1), rng.integers(1, 4, 50)
    twice = np.repeat(np.arange(50), weights)
    for name, score in scores(2).items():
        again = score(y[twice], given_[twice], np.ones(len(twice)))
        assert score(y, given_, weights.astype(np.float64)) == pytest.approx(again), name


def test_intervals_over_rows_and_seeds_cover_as_often_as_they_say() -> None:
    """Effects with both sources of chance: at 10 % the interval misses the truth in at most about a tenth of trials."""
    rng, rule, missed, trials = np.random.default_rng(0), Rule(kind="difference", margin=0.0), 0, 600
    for trial in range(trials):
        ratio = (0.2, 1.0, 5.0)[trial % 3]
        rows, seeds = rng.normal(0, 1, 200), rng.normal(0, ratio * np.sqrt(6 / 200), 6)
        center = float(rows.mean() + seeds.mean())
        sources = [Evidence(effects=tuple(each.tolist()), rule=rule, method="mean") for each in (rows, seeds)]
        found = Crossed(center=center, rows=sources[0], seeds=sources[1], rule=rule).at(0.1)
        assert found.interval is not None
        missed += not found.interval[0] <= 0 <= found.interval[1]
    assert 0.02 * trials < missed < 0.13 * trials


def test_the_effect_is_the_difference_of_the_averages_losses_and_copies_count_once() -> None:
    rng = np.random.default_rng(1)
    y, groups = rng.normal(size=40), np.repeat(np.arange(20), 2)
    base, arm = rng.normal(size=(2, 3, 40, 1))
    heldout = Heldout(y=y, groups=groups, classes=0, guess_loss=2.0)
    found = crossed(heldout, base, arm, Rule(kind="difference", margin=0.01))
    loss = [((each.mean(axis=0)[:, 0] - y) ** 2).mean() for each in (arm, base)]
    assert found.center == pytest.approx((loss[0] - loss[1]) / 2.0)
    assert len(found.rows.effects) == 20
    assert np.mean(found.rows.effects) == pytest.approx(found.center)
    assert found.at(0.05).estimate == pytest.approx(found.center)


def test_slices_of_noise_are_not_found_and_a_planted_one_is() -> None:
    rng, cried = np.random.default_rng(5), 0
    for _ in range(40):
        p = np.full(400, 0.06)
        y = (rng.random(400) < p).astype(np.float64)
        slices = [Slice(column="c", says=str(each), inside=rng.random(400) < 0.1) for each in range(20)]
        found = worst(slices, y, y, p, shares=True)
        cried += bool(found["harder"] or found["off"])
    assert cried <= 4
    inside = np.arange(400) < 60
    planted = worst(
        [Slice(column="c", says="x", inside=inside)], inside * 0.5 + y * 0.0, y, p + inside * 0.6, shares=True
    )
    assert [each["says"] for each in planted["off"]] == ["x"]
    assert planted["off"][0]["estimate"] > 0.4


@pytest.mark.parametrize(
    ("lines", "target", "words"),
    [
        (["a,y", *(f"{row},x" for row in range(100))], "y", "always 'x'"),
        (["a,y", *(f"{row},{row % 2}" for row in range(30))], "y", "too few to say anything"),
        (["a,y", *(f"{row * row},{row // 2}w" for row in range(100))], "y", "fewer than two values"),
        (["a,churn", *(f"{row},{row % 2}" for row in range(100))], "chrun", "did you mean 'churn'"),
        (["a,y", *(f"{row},{row % 2}" for row in range(100))], "y", "no column is left"),
        (["a,y", *(f"x,{row % 2}" for row in range(100))], "y", "always says 'x'"),
        (["a,y", *(f"{row % 7},{row % 50}w" for row in range(800))], "y", "too many for classes"),
    ],
)
def test_nothing_to_learn_is_said_in_two_lines(tmp_path: Path, lines: list[str], target: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(GatewiseError, match=words) as caught:
        table(path, target=target)
    assert str(caught.value).count("\n") <= 1


def test_rare_classes_and_rows_without_a_target_are_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    labels = ["a"] * 60 + ["b"] * 60 + ["c"] * 2 + [""] * 5
    path.write_text("\n".join(["x,z,y", *(f"{row * 1.5},{row % 3},{y}" for row, y in enumerate(labels))]))
    found = table(path, target="y")
    assert found.target.classes == ("a", "b")
    assert any("2 rows of classes with fewer than 8 rows were left out ('c')" in each for each in found.findings)
    assert any("5 rows without a value" in each for each in found.findings)


@pytest.mark.parametrize(
    ("labels", "classes", "note"),
    [
        (("Yes", "YES", "yes", "y", "no", "No"), ("No", "YES"), "were taken for 'YES'"),
        (("1", "1.0", "0", "0.0", "0", "1"), ("0", "1"), "'1.0' were taken for '1'"),
        (("ja", "nein", "Ja"), ("nein", "Ja"), "'ja' were taken for 'Ja'"),
        (("y", "n", "t"), ("n", "t"), "were taken for 't'"),
        (("red", "Red", "blue ", "yes"), ("Red", "blue", "yes"), "'red' were taken for 'Red'"),
        (("01", "1", "2"), ("01", "1", "2"), ""),
    ],
)
def test_spellings_of_one_answer_are_one_class(
    tmp_path: Path, labels: tuple[str, ...], classes: tuple[str, ...], note: str
) -> None:
    path = tmp_path / "a.csv"
    rows = [f"{row * 1.5},{row % 7},{labels[row % len(labels)]}" for row in range(120)]
    path.write_text("\n".join(["x,z,y", *rows]), encoding="utf-8")
    found = table(path, target="y", task="classify")
    assert found.target.classes == classes
    assert not note or any(note in each for each in found.findings)
