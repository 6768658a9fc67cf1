"""`forecaster`: a real model on real series, its protocol, and its arms."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gatewise import surgery
from gatewise.core import GatewiseError, MissingExtraError
from gatewise.workloads import _forecaster as forecaster
from gatewise.workloads import _forecaster_data as data
from gatewise.workloads._forecaster import ForecasterWorkload

real = pytest.mark.skipif(
    forecaster.find_spec("fracast") is None or data.find_spec("statsmodels") is None,
    reason="the model package fracast, or statsmodels, is not installed",
)


def column(rows):
    return [float(row[1]) if row[1] else float("nan") for row in rows]


def made(values, season=2, horizon=3) -> data.Series:
    return data.Series(name="made", values=np.array(values, dtype=float), season=season, horizon=horizon, sha256="")


# -- protocol


def test_windows_roll_through_the_second_half_and_no_two_targets_overlap() -> None:
    values = np.arange(20.0)
    found = data.windows(made(values), longest=6)
    assert [window.target.tolist() for window in found] == [[10, 11, 12], [13, 14, 15], [16, 17, 18]]
    assert [window.context.tolist() for window in found] == [
        [4, 5, 6, 7, 8, 9],
        [7, 8, 9, 10, 11, 12],
        [10, 11, 12, 13, 14, 15],
    ]
    assert all(window.scale == 2.0 for window in found)  # a slope of one, two steps apart
    assert found[0].naive.tolist() == [8, 9, 8]  # the last season, again and again
    assert found[0].scaled_error(found[0].naive) == pytest.approx((2 + 2 + 4) / 3 / 2)
    assert found[0].scaled_error(found[0].target) == 0.0


def test_missing_values_are_neither_forecast_from_nor_scored() -> None:
    values = np.arange(20.0)
    values[[9, 11]] = np.nan
    first, *_ = data.windows(made(values), longest=20)
    assert first.naive.tolist() == [8, 7, 8]  # the season before where the last one is missing
    assert first.scaled_error(np.array([10.0, 1e9, 12.0])) == 0.0
    values[10:13] = np.nan
    assert len(data.windows(made(values), longest=20)) == 2


@pytest.mark.parametrize("content", [b"", b"a,b\n1,x\n", b"a,b\n" + b"1,2\n" * 10, b"\xff"])
def test_a_broken_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_bytes(content)
    with pytest.raises(GatewiseError, match=r"series\.csv"):
        data.read_series(path, name="made", parse=column, season=2, horizon=3)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster, "find_spec", lambda name: None)
    forecaster._package.cache_clear()
    with pytest.raises(MissingExtraError, match="fracast"):
        ForecasterWorkload().original()
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    data.series.cache_clear()
    with pytest.raises(MissingExtraError, match="statsmodels"):
        data.series()


@real
def test_another_version_of_the_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster, "WEIGHTS_SHA256", "0" * 64)
    forecaster._package.cache_clear()
    with pytest.raises(GatewiseError, match=r"not the model of fracast 0\.1\.0"):
        ForecasterWorkload().original()


# -- the real model


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> ForecasterWorkload:
    forecaster._package.cache_clear()
    data.series.cache_clear()
    made_here = ForecasterWorkload()
    all_of_them = made_here._windows
    made_here.__dict__["_windows"] = (all_of_them[0], all_of_them[30], all_of_them[-1])
    return made_here


@real
def test_the_series_are_the_real_ones() -> None:
    data.series.cache_clear()
    found = {each.name: each for each in data.series()}
    assert [len(each.values) for each in found.values()] == [309, 732, 2284]
    assert found["yearly sunspots"].values[:3].tolist() == [5.0, 11.0, 16.0]
    weekly = found["weekly CO2 at Mauna Loa"].values
    assert (weekly[0], weekly[-1], int(np.isnan(weekly).sum())) == (316.1, 371.5, 59)


@real
def test_the_forecasts_are_those_of_the_package_itself(few: ForecasterWorkload) -> None:
    import fracast

    theirs = fracast.FracastModel.from_pretrained(weights="fp32")
    quality = few.quality(few.original())
    for window, score in zip(few._windows, quality.scores, strict=True):
        median = theirs.forecast(window.context)[: len(window.target), 4]
        assert score == pytest.approx(1 - window.scaled_error(median), abs=1e-5)
    naive = [1 - window.scaled_error(window.naive) for window in few._windows]
    assert quality.chance == pytest.approx(np.mean(naive))


@real
def test_its_three_gates_are_found_and_every_arm_goes_round(few: ForecasterWorkload, tmp_path: Path) -> None:
    model = few.original()
    sites = surgery.find_sites(model)
    assert [(site.before, site.gated, site.gateable) for site in sites] == [("swiglu", True, True)] * 3
    assert sum(parameter.numel() for parameter in model.parameters()) == 85_001
    inputs = few.inputs(2, 16, seed=0)
    reference = few.run(model, inputs)
    assert reference.shape == (2, 48 * 9)
    states = {"original": "original", "swiglu": "original", "geglu": "grafted", "gelu": "untrained"}
    for arm, state in states.items():
        new, _ = few.build(arm, matching="params", seed=0)
        assert surgery.weights_state(new) == state
        few.save(new, tmp_path / arm)
        back = few.load(tmp_path / arm)
        with torch.inference_mode():
            assert torch.equal(few.run(back, inputs), few.run(new, inputs))
            assert torch.equal(few.run(new, inputs), reference) == (state == "original")
