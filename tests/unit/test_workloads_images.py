"""The image classifiers: real images, scalar arms in a convolutional net, every arm in a transformer, training."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from gatewise import activations, measure, surgery, train
from gatewise.core import GatewiseError
from gatewise.surgery.builders import BUILDERS
from gatewise.workloads import _image_data as image_data
from gatewise.workloads import workload
from gatewise.workloads._image_models import build_convnet, build_vit
from gatewise.workloads._images import ConvNetWorkload, ImageWorkload, ViTWorkload

pytest.importorskip("sklearn")

CONVNET = ConvNetWorkload(size=16, channels=4, stages=2)
LEARNING = ConvNetWorkload(size=16, channels=8)
VIT = ViTWorkload(size=16, dim=16, layers=2, heads=2)
BOTH = pytest.mark.parametrize("made", [CONVNET, VIT], ids=["convnet", "vit"])
CASES = [(CONVNET, arm) for arm in activations.names("scalar")] + [(VIT, arm) for arm in activations.names()]


@pytest.fixture(autouse=True)
def _known_builders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("convnet", "vit"):
        monkeypatch.setitem(BUILDERS.table, name, f"gatewise.workloads._image_models:build_{name}")


# -- data


def test_the_sides_are_real_images_and_share_none() -> None:
    found = image_data.digits()
    assert len(found.classes) == 1797
    assert found.images.shape == (1797, 1, 8, 8)
    assert (found.images.min().item(), found.images.max().item()) == (-1.0, 1.0)
    assert set(found.classes.tolist()) == set(range(10))
    rows = [image.numpy().tobytes() for image in found.images]
    assert not set(rows[: found.num_train]) & set(rows[found.num_train :])
    x, y = image_data.side_of("heldout", 32)
    assert x.shape == (360, 1, 32, 32)
    assert torch.equal(y, found.classes[1437:])
    # Bilinear scaling by 4 keeps the mean of the inner pixels: what is seen is the same digit.
    assert torch.corrcoef(torch.stack([x.mean(dim=(1, 2, 3)), found.images[1437:].mean(dim=(1, 2, 3))]))[0, 1] > 0.99


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"1,2,3\n" * 30, mtime=0), gzip.compress(b"a,b\n", mtime=0), b""]
)
def test_a_broken_file_of_digits_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(content)
    with pytest.raises(GatewiseError, match=r"digits\.csv\.gz"):
        image_data.read_digits(path)


def test_without_scikit_learn_one_line_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_data, "find_spec", lambda name: None)
    with pytest.raises(GatewiseError, match=r"scikit-learn is not installed; .*gatewise\[tabular\]"):
        image_data.digits.__wrapped__()


# -- arms


@pytest.mark.parametrize(("made", "arm"), CASES, ids=[f"{made.name}-{arm}" for made, arm in CASES])
def test_every_arm_saves_loads_and_gives_the_same_bits(made: ImageWorkload, arm: str, tmp_path: Path) -> None:
    model, report = made.build(arm, matching="params", seed=3)
    assert report is not None
    made.save(model, tmp_path)
    loaded = made.load(tmp_path)
    x = made.inputs(3, 1, 0)
    with torch.inference_mode():
        one, other = made.run(model, x), made.run(loaded, x)
    assert one.shape == (3, 10)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    state, again = model.state_dict(), loaded.state_dict()
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert surgery.weights_state(loaded) == "untrained"
    assert abs(measure.parameters(model) / measure.parameters(made.original()) - 1) < 0.01


@pytest.mark.parametrize("gate", activations.names("gate"))
def test_a_convolutional_net_refuses_gates_and_says_why(gate: str) -> None:
    with pytest.raises(GatewiseError, match="cannot be put at 'act': a gate needs the Linear layers"):
        CONVNET.build(gate, matching="params", seed=0)
    with pytest.raises(GatewiseError, match="convnet has no FFN for the gate"):
        CONVNET.fresh(gate, seed=0)


def test_surgery_finds_what_stands_there() -> None:
    convnet = surgery.find_sites(CONVNET.original())
    assert [site.path for site in convnet] == [
        "act",
        "blocks.0.act1",
        "blocks.0.act2",
        "blocks.1.act1",
        "blocks.1.act2",
    ]
    assert {site.kind for site in convnet} == {"activation"}
    vit = surgery.find_sites(VIT.original())
    assert [(site.path, site.kind, site.gateable) for site in vit] == [
        ("blocks.0.ffn.act", "ffn", True),
        ("blocks.1.ffn.act", "ffn", True),
    ]


def test_the_number_of_tokens_changes_nothing() -> None:
    assert torch.equal(VIT.inputs(2, 1, 0), VIT.inputs(2, 99, 0))
    assert not torch.equal(VIT.inputs(2, 1, 0), VIT.inputs(2, 1, 1))


@BOTH
def test_facts_are_plain(made: ImageWorkload) -> None:
    facts = json.loads(json.dumps(made.facts()))
    assert facts["workload"] == made.name
    assert facts["model"]["image_size"] == 16
    assert len(facts["data"]["sha256"]) == 64
    assert facts["data"]["train_images"] + facts["data"]["heldout_images"] == 1797


# -- training


@BOTH
def test_the_same_seed_starts_shared_parameters_alike(made: ImageWorkload) -> None:
    before = torch.random.get_rng_state()
    gelu, relu, other = (
        dict(made.fresh(arm, seed=seed).named_parameters()) for arm, seed in (("gelu", 5), ("relu", 5), ("gelu", 6))
    )
    assert gelu.keys() == relu.keys()
    assert all(torch.equal(gelu[name], relu[name]) for name in gelu)
    assert all(torch.equal(gelu[name], other[name]) == (gelu[name].dim() == 1) for name in gelu)
    assert torch.equal(torch.random.get_rng_state(), before)


@BOTH
def test_batches_depend_on_step_and_seed_alone(made: ImageWorkload) -> None:
    (x, y), (again, _), (other, _) = made.train_batch(3, 0), made.train_batch(3, 0), made.train_batch(4, 0)
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert x.shape == (16, 1, 16, 16)
    assert y.shape == (16,)
    assert sum(len(y) for _, y in made.heldout_batches()) == 360


@pytest.mark.parametrize("arm", ["relu", "swiglu"])
def test_training_runs_twice_to_the_same_bits_and_learns(arm: str) -> None:
    made = VIT if arm == "swiglu" else LEARNING
    plan = train.TrainPlan(steps=60, eval_every=60)
    one, two = (train.train_arm(made, arm, seed=1, plan=plan) for _ in range(2))
    assert one.curve == two.curve
    assert one.final_loss is not None
    with torch.no_grad():
        fresh = made.fresh(arm, seed=1).eval()
        untrained = sum(made.loss(fresh, batch).item() * len(batch[1]) for batch in made.heldout_batches()) / 360
    assert one.final_loss < 0.9 * untrained


def test_a_trained_net_knows_most_digits_and_an_untrained_one_hardly_any() -> None:
    model = LEARNING.fresh("relu", seed=0)
    step = train.step_runner(LEARNING, "relu", seed=0, plan=train.TrainPlan(steps=100), model=model)
    untrained = LEARNING.quality(LEARNING.original())
    for _ in range(100):
        step()
    trained = LEARNING.quality(model.eval())
    assert len(trained.scores) == 360
    assert trained.chance == pytest.approx(37 / 360)
    assert sum(untrained.scores) / 360 < 0.3
    assert sum(trained.scores) / 360 > 0.7


# -- shapes


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("convnet", {"channels": 0}, "channels must be a whole number from 1 to"),
        ("convnet", {"size": 4}, "size must be a whole number from 8 to 512"),
        ("convnet", {"chanels": 4}, "did you mean 'channels'"),
        ("vit", {"patch": 5}, "size must be a multiple of patch = 5"),
        ("vit", {"patch": 64}, "patch must be a whole number from 1 to 32"),
        ("vit", {"heads": 5}, "dim must be a multiple of heads = 5"),
        ("vit", {"hidden": 0}, "hidden must be"),
        ("vit", {"batch": 0}, "batch must be"),
    ],
)
def test_wrong_shapes_are_refused_in_at_most_two_lines(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        workload(name=name, options=options)
    assert len(str(caught.value).splitlines()) <= 2


def test_builders_refuse_unknown_keys_and_images_of_another_size() -> None:
    with pytest.raises(GatewiseError, match="did you mean 'stages'"):
        build_convnet({"stage": 1})
    with pytest.raises(GatewiseError, match="did you mean 'layers'"):
        build_vit({"layer": 1})
    with pytest.raises(GatewiseError, match="vit takes images of 16 x 16"):
        VIT.original()(torch.zeros(1, 1, 32, 32))
