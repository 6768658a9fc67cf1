"""The hybrid on a real model: answers one by one, the workload's own right and wrong, both timed on the same items."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gatewise.core import GatewiseError
from gatewise.scenarios import HybridPlan, Version, answers, measure_hybrid
from gatewise.scenarios._answers import SOFTMAX, probe_margins
from gatewise.scenarios._versions import time_items
from gatewise.workloads import workload
from gatewise.workloads._labels import Labelled, probe_scores

MODELS = '''
import torch
from torch import nn


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (400,), generator=generator)
    return torch.eye(4)[y] + 0.5 * torch.randn(400, 4, generator=generator), y.tolist()


class Scaled(nn.Module):
    """Class scores from the inputs: sharp or blurred."""

    def __init__(self, mixed):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        with torch.no_grad():
            self.layer.weight.copy_(4 * torch.eye(4) + mixed * torch.ones(4, 4).triu(1))
            self.layer.bias.zero_()

    def forward(self, x):
        return self.layer(x)


def cloud():
    return (Scaled(0.0), *data())


def edge():
    return (Scaled(2.0), *data())


def bare():
    return Scaled(0.0), data()[0]


def short():
    x, y = data()
    return Scaled(0.0), x[:300], y[:300]


def one():
    x, y = data()
    return nn.Linear(4, 1), x, [0] * len(y)


class Odd(Scaled):
    def forward(self, x):
        return super().forward(torch.tensor(x.tolist()))


def odd():
    return (Odd(0.0), *data())
'''


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "hybrid_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "hybrid_models"
    sys.modules.pop("hybrid_models", None)


def plan(made: str, **given: Any) -> HybridPlan:
    default: dict[str, Any] = {
        "edge": Version(model=f"{made}:edge"),
        "cloud": Version(model=f"{made}:cloud"),
        "price_per_hour": 1.0,
        "utilisation": 0.5,
        "budget_s": 0.2,
        "margin": 0.1,
    }
    return HybridPlan(**default | given)


def test_answers_are_the_workloads_own_and_confidence_is_their_softmax(made: str) -> None:
    found = answers(Version(model=f"{made}:edge"))
    load = workload(model=f"{made}:edge")
    quality = load.quality(load.original())
    assert quality is not None
    assert found.correct == quality.scores
    assert 0 < sum(found.correct) < len(found.correct)
    with torch.inference_mode():
        logits = torch.cat([load.run(load.original(), rows) for rows in load.probe()]).double()
    assert found.confidence == pytest.approx(logits.softmax(1).amax(1).tolist(), abs=1e-6)
    assert found.confidence_is == SOFTMAX
    assert len(found.calls) == len(found.correct)
    with torch.inference_mode():
        answer = found.calls[7]()
    assert isinstance(answer, torch.Tensor)
    assert answer.shape[0] == 1
    assert answer.double().tolist()[0] == pytest.approx(logits[7].tolist(), abs=1e-6)


def test_the_probes_margins_are_those_of_the_probe_that_judges() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = tuple("abc"[int(each)] for each in torch.randint(0, 3, (200,), generator=generator))
    features = torch.stack([torch.eye(3)["abc".index(label)] for label in labels])
    features = features + 0.6 * torch.randn(200, 3, generator=generator)
    held = Labelled(texts=tuple(map(str, range(200))), labels=labels, sha256="", duplicates=0)
    right, margins = probe_scores(features, held), probe_margins(features, labels)
    assert len(margins) == len(right) == 100
    assert all(margin >= 0 for margin in margins)
    good = [margin for margin, score in zip(margins, right, strict=True) if score]
    bad = [margin for margin, score in zip(margins, right, strict=True) if not score]
    assert bad
    assert sum(good) / len(good) > sum(bad) / len(bad)
    names = features.clone()
    assert probe_margins(names * 3 + 1, labels) == pytest.approx(margins, abs=1e-5)  # the probe standardises


def test_both_versions_answer_and_the_edge_saves(made: str) -> None:
    found = measure_hybrid(plan(made))
    curve = found.hybrid
    assert curve.items == (200, 200)
    assert curve.curve[0].passed_on == 0
    assert curve.curve[0].cost == 0  # the edge is free
    assert curve.curve[-1].quality_change == 0
    assert curve.curve[-1].quality_low == 0
    assert 0 < found.timed <= found.items == 400
    assert curve.cloud_quality > curve.edge_quality
    if curve.chosen is not None:
        assert curve.chosen.quality_low is not None
        assert curve.chosen.quality_low >= -0.1
        assert curve.cost_interval is None or 0 <= curve.cost_interval[0] <= curve.cost_interval[1]
    else:
        assert "no threshold qualifies" in curve.reason
    assert any("network" in note for note in found.notes)


def test_price_utilisation_and_network_move_what_they_should(made: str) -> None:
    cheap = measure_hybrid(plan(made, budget_s=30.0))
    assert cheap.timed == cheap.items
    dear = measure_hybrid(plan(made, budget_s=30.0, edge_price_per_hour=2.0, utilisation=0.25, network_s=5.0))
    for each, factor in ((cheap, 1 / 3600 / 0.5), (dear, 1 / 3600 / 0.25)):
        last, first = each.hybrid.curve[-1], each.hybrid.curve[0]
        paid_at_edge = 0.0 if each is cheap else 2.0
        # The half's means differ from the whole's; the ratio of cost to time does not.
        assert first.cost == pytest.approx(first.latency_s * factor * paid_at_edge)
        network = 0.0 if each is cheap else 5.0
        cloud_s = last.latency_s - first.latency_s - network
        assert last.cost - first.cost == pytest.approx(cloud_s * factor, rel=1e-6)


def test_items_are_timed_once_each_on_both_and_in_the_same_order(made: str) -> None:
    seen: dict[str, list[int]] = {"edge": [], "cloud": []}
    sides = {name: answers(Version(model=f"{made}:{name}")) for name in seen}

    def watched(name: str, number: int) -> Any:
        return lambda: seen[name].append(number)

    for name, side in sides.items():
        object.__setattr__(side, "calls", tuple(watched(name, i) for i in range(30)))
    edge_s, cloud_s, timed = time_items(sides["edge"], sides["cloud"], seconds=60.0, seed=3)
    assert timed == len(edge_s) == len(cloud_s) == 30
    for order in seen.values():
        assert order[0] == order[1]  # the warm-up is the first item
        assert sorted(order[1:]) == sorted([*range(30), *range(30)])
    assert seen["edge"] == seen["cloud"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"edge": Version(model="hybrid_models:bare")}, "no labelled answers"),
        ({"edge": Version(model="hybrid_models:short")}, "give both the same"),
        ({"edge": Version(model="hybrid_models:one")}, "two classes"),
        ({"edge": Version(model="convnet")}, "untrained"),
        ({"edge": Version(model="hybrid_models:edge", runtime="onnxrntime")}, "did you mean"),
        ({"edge": Version(model="hybrid_models:missing")}, "no function"),
    ],
)
def test_versions_that_cannot_answer_are_refused(made: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as refused:
        measure_hybrid(plan(made, **given))
    assert len(str(refused.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"utilisation": None}, "utilisation"),
        ({"utilisation": 1.5}, "share"),
        ({"price_per_hour": 0.0}, "above 0"),
        ({"edge_price_per_hour": -1.0}, "at least 0"),
        ({"margin": 1.0}, "margin"),
    ],
)
def test_a_plan_without_its_numbers_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewiseError, match=words):
        plan("any", **given)


def test_labelled_texts_need_all_three_words() -> None:
    with pytest.raises(GatewiseError, match="all three"):
        Version(model="sentence-encoder", data="a.csv", text="body")
    with pytest.raises(GatewiseError, match="threads"):
        Version(model="any", threads=0)


def test_a_model_that_will_not_export_is_one_or_two_lines(made: str) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(GatewiseError) as refused:
        answers(Version(model=f"{made}:odd", runtime="onnxruntime"))
    assert len(str(refused.value).splitlines()) <= 2
