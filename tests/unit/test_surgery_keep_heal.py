"""Healing: it gains on held-out data, stops in time, and an interrupted one equals one that was not."""

import json

import pytest
import torch
from torch import nn

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.surgery._heal import Healing, heal


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    original = nn.Sequential(nn.Linear(8, 48), nn.GELU(), nn.Dropout(0.2), nn.Linear(48, 8)).train()
    batches = [torch.randn(64, 8) for _ in range(20)]
    reduced, _ = surgery.swap(original, "swiglu", keep_function=True, calibration=batches, matching="params")
    return original, reduced, batches


SETTINGS = Healing(steps=40, check_every=8, learning_rate=2e-3)


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_it_gains_on_batches_it_never_trains_on(pair):
    original, reduced, batches = pair
    before = {name: value.clone() for name, value in reduced.state_dict().items()}
    healed, report = heal(reduced, original, batches, healing=SETTINGS)
    assert report.after.rms < 0.9 * report.before.rms
    assert report.batches == (15, 5)
    assert surgery.weights_state(healed) == "trained"
    assert healed.training
    assert all(torch.equal(before[name], value) for name, value in reduced.state_dict().items())
    assert json.loads(json.dumps(report.to_json(), allow_nan=False)) == report.to_json()


@pytest.mark.parametrize("when", [3, 8, 21])
def test_interrupted_equals_uninterrupted(pair, when, tmp_path):
    original, reduced, batches = pair

    def stop(step):
        if step == when:
            raise KeyboardInterrupt

    whole, report = heal(reduced, original, batches, healing=SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        heal(reduced, original, batches, healing=SETTINGS, checkpoint=tmp_path, on_step=stop)
    resumed, again = heal(reduced, original, batches, healing=SETTINGS, checkpoint=tmp_path)
    assert again == report
    assert same(whole, resumed)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    third, _ = heal(reduced, original, batches, healing=SETTINGS, checkpoint=tmp_path)
    assert same(whole, third)


def test_it_stops_when_nothing_is_gained(pair):
    original, reduced, batches = pair
    settings = Healing(steps=400, check_every=2, patience=2, learning_rate=1.0)
    healed, report = heal(reduced, original, batches, healing=settings)
    assert report.stopped == "patience"
    assert len(report.curve) < 20
    assert min(loss for _, loss in report.curve) == dict(report.curve)[report.best_step]
    if report.best_step == 0:
        assert same(healed, reduced)
        assert surgery.weights_state(healed) == surgery.weights_state(reduced)


def test_a_checkpoint_of_another_healing_is_refused(pair, tmp_path):
    original, reduced, batches = pair
    heal(reduced, original, batches, healing=Healing(steps=2, check_every=1), checkpoint=tmp_path)
    for other in (Healing(steps=3, check_every=1), Healing(steps=2, check_every=1, seed=1)):
        with pytest.raises(GatewiseError, match="another healing"):
            heal(reduced, original, batches, healing=other, checkpoint=tmp_path)
    with pytest.raises(GatewiseError, match="another healing"):
        heal(reduced, original, batches[:-1], healing=Healing(steps=2, check_every=1), checkpoint=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(GatewiseError, match="sha256"):
        heal(reduced, original, batches, healing=Healing(steps=2, check_every=1), checkpoint=tmp_path)


def test_bad_input(pair):
    original, reduced, batches = pair
    with pytest.raises(GatewiseError, match="nothing to heal"):
        heal(original, original, batches)
    with pytest.raises(GatewiseError, match="2 batches"):
        heal(reduced, original, batches[:1])
    for wrong in ({"steps": 0}, {"learning_rate": float("nan")}, {"held_out": 1.0}, {"patience": True}):
        with pytest.raises(GatewiseError, match=next(iter(wrong))):
            Healing(**wrong)


def test_a_healed_model_goes_round(pair, tmp_path):
    original, reduced, batches = pair
    healed, _ = heal(reduced, original, batches, healing=Healing(steps=4, check_every=2))
    surgery.save(healed, tmp_path)
    back = surgery.load(tmp_path)
    assert same(back, healed)
    assert surgery.weights_state(back) == surgery.weights_state(healed)
