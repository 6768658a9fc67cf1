"""Fitted conversion: what the fit brings, that its figures are true, and what it refuses."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.surgery._fit_units import Free, condense, fit_units
from gatewise.surgery._keep_constants import Constants
from gatewise.surgery._keep_figures import output_error


class Mlp(nn.Module):
    """A gated FFN, as LLaMA writes it."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(8, 24, bias=False), nn.Linear(8, 24, bias=False), nn.Linear(24, 8))
        self.act = nn.SiLU()

    def forward(self, x):
        return self.down(self.act(self.gate(x)) * self.up(x))


class Masked(nn.Module):
    """Two blocks over tokens; what it is told is padding is not looked at."""

    def __init__(self):
        super().__init__()
        self.first, self.second = block(), block()

    def forward(self, x, attention_mask):
        return self.second(x + self.first(x))


def block(act=None, bias=True, scale=2.0):
    act = act or nn.GELU()
    model = nn.Sequential(nn.Linear(8, 32, bias=bias), act, nn.Linear(32, 8, bias=bias))
    with torch.no_grad():
        model[0].weight.mul_(scale)
    return model


def keep(model, to, batches, **arguments):
    return surgery.swap(model, to, keep_function=True, calibration=batches, **arguments)


def tokens(seed, count=4):
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        mask = torch.ones(16, 20, dtype=torch.long)
        mask[:, 14:] = 0
        found.append({"x": torch.randn(16, 20, 8, generator=generator), "attention_mask": mask})
    return found


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("act", "to", "gain"),
    [
        (nn.GELU(), "swiglu", 1.3),
        (nn.GELU("tanh"), "swiglu", 1.3),
        (nn.ReLU(), "swiglu", 1.8),
        (nn.Mish(), "swiglu", 5.0),
        (nn.GELU(), "silu", 1.2),
        (nn.Tanh(), "sigmoid", 1e3),
        (nn.GELU(), "relu", 2.0),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_fit_lowers_the_error_on_inputs_it_has_not_seen(act, to, gain, bias):
    model = block(act, bias)
    if isinstance(act, nn.Tanh) and not bias:
        pytest.skip("tanh is a sigmoid and an offset, which needs a bias to hold it")
    new, report = keep(model, to, [torch.randn(2000, 8)])
    plain, fitted = report.sites[0].steps
    assert (plain.name, fitted.name) == ("plain", "fitted")
    held_out = output_error(model, new, [torch.randn(2000, 8)])
    assert held_out.relative < plain.relative / (gain if bias else 1.0)
    assert held_out.relative < 1.3 * fitted.relative + 1e-6
    assert report.weights_state == ("converted" if fitted.relative <= 0.05 else "grafted")


def test_the_figures_are_those_of_an_outside_recomputation():
    model, batches = Masked(), tokens(0)
    new, report = keep(model, "swiglu", batches)
    kept = [batch["attention_mask"].bool() for batch in batches]
    with torch.no_grad():
        before = torch.cat([model(**batch)[mask] for batch, mask in zip(batches, kept, strict=True)]).double()
        after = torch.cat([new(**batch)[mask] for batch, mask in zip(batches, kept, strict=True)]).double()
        x = torch.cat([batch["x"][mask] for batch, mask in zip(batches, kept, strict=True)])
        inputs = {"first.1": x, "second.1": x + new.first(x)}
        pairs = {path: (model.get_submodule(path[:-2]), new.get_submodule(path[:-2])) for path in inputs}
        sites = {path: (old(inputs[path]).double(), got(inputs[path]).double()) for path, (old, got) in pairs.items()}
    step = report.steps[-1]
    assert step.rows == len(x) == 4 * 16 * 14
    assert step.max == pytest.approx(float((after - before).abs().max()), rel=1e-5)
    assert step.rms == pytest.approx(float((after - before).square().mean().sqrt()), rel=1e-5)
    assert step.relative == pytest.approx(step.rms / float(before.square().mean().sqrt()), rel=1e-5)
    cosine = functional.cosine_similarity(before, after, dim=1)
    assert step.cosine_mean == pytest.approx(float(cosine.mean()), abs=1e-9)
    assert step.cosine_least == pytest.approx(float(cosine.min()), abs=1e-9)
    for change in report.sites:
        old, got = sites[change.path]
        assert change.steps[-1].max == pytest.approx(float((got - old).abs().max()), rel=1e-4)
        assert change.steps[-1].relative == pytest.approx(
            float((got - old).square().mean().sqrt() / old.square().mean().sqrt()), rel=1e-4
        )


def test_the_plain_step_is_the_quick_form():
    model = block().double()
    x = torch.randn(1000, 8, dtype=torch.float64)
    _, report = keep(model, "swiglu", [x])
    with torch.no_grad():
        z = model[0](x)
        error = model[2](z * torch.sigmoid(1.702 * z)) - model(x)
    assert report.sites[0].steps[0].rms == pytest.approx(float(error.square().mean().sqrt()), rel=1e-9)
    assert report.steps[0].max == pytest.approx(float(error.abs().max()), rel=1e-9)


def test_padding_has_no_say():
    model = Masked()
    clean, spoiled = tokens(0), tokens(0)
    for batch in spoiled:
        batch["x"] = torch.where(batch["attention_mask"].bool()[..., None], batch["x"], 1e3)
    one, other = keep(model, "swiglu", clean)[0], keep(model, "swiglu", spoiled)[0]
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_tails_stay_close_far_beyond_the_calibration_set():
    model = block()
    new, report = keep(model, "swiglu", [torch.randn(2000, 8)])
    far = output_error(model, new, [4.0 * torch.randn(2000, 8)])
    assert far.relative < 2 * report.sites[0].steps[0].relative + 0.05


def test_a_gated_block_goes_from_gate_to_gate():
    model = nn.Sequential(Mlp(), Mlp())
    new, report = keep(model, "geglu", [torch.randn(3000, 8)])
    assert new[0].gate.bias is None  # the layout of the family stays
    assert report.parameters_after == report.parameters_before
    plain, fitted = report.steps
    assert fitted.relative < plain.relative / 1.5


@pytest.mark.parametrize(("act", "to"), [(nn.GELU(), "swiglu"), (nn.GELU(), "silu")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_a_round_trip_is_bit_exact(act, to, dtype, bias, tmp_path):
    model = block(act, bias).to(dtype).eval()
    x = torch.randn(1000, 8, dtype=dtype)
    new, report = keep(model, to, [x])
    surgery.save(new, tmp_path)
    back = surgery.load(tmp_path)
    with torch.no_grad():
        assert torch.equal(back(x), new(x))
    assert surgery.describe(back)["surgeries"] == [report.to_json()]


def test_what_is_too_small_or_no_calibration_set_is_refused():
    model = block()
    with pytest.raises(GatewiseError, match=r"'1' reads 100 rows.*at least 512"):
        keep(model, "swiglu", [torch.randn(100, 8)])
    with pytest.raises(GatewiseError, match="empty"):
        keep(model, "swiglu", [])
    with pytest.raises(GatewiseError, match="batches"):
        keep(model, "swiglu", "texts.txt")
    with pytest.raises(GatewiseError, match="does not take"):
        keep(model, "swiglu", [torch.randn(1000, 7)])
    with pytest.raises(GatewiseError, match="at least 64"):
        keep(model, "geglu", [torch.randn(60, 8)], matching="params")
    with pytest.raises(GatewiseError, match="not finite"):
        keep(model, "swiglu", [torch.full((1000, 8), torch.nan)])


def test_the_model_and_the_random_state_stay_as_they_are():
    model = Masked().train()
    twin = copy.deepcopy(model)
    before = torch.random.get_rng_state()
    new, _ = keep(model, "swiglu", tokens(0))
    assert torch.equal(before, torch.random.get_rng_state())
    assert new.training
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert not any(module._forward_pre_hooks for module in (*model.modules(), *new.modules()))


def test_a_fit_never_ends_worse_than_it_started():
    z = torch.randn(3000, 5, dtype=torch.float64) * torch.tensor([0.01, 0.3, 1.0, 5.0, 100.0])
    start = Constants.uniform(5, beta=1.702, scale=1 / 1.702)
    found = fit_units(z, "gelu", "silu", start, Free(shift=True, slope=True, offset=True))

    def error(c):
        given = (c.scale + c.slope * z) * functional.silu(c.beta * z + c.shift) + c.offset
        return (given - functional.gelu(z)).square().mean(0)

    assert bool((error(found) <= 1.05 * error(start) + 1e-12).all())
    assert bool((error(found)[1:4] < 0.8 * error(start)[1:4]).all())
    assert float(error(found)[1]) < 0.2 * float(error(start)[1])


def test_condensing_keeps_weight_mean_and_extremes():
    z = torch.randn(5000, 3, dtype=torch.float64).exp()
    points, weights = condense(z)
    assert float(weights.sum()) == 5000
    torch.testing.assert_close((points * weights).sum(1) / 5000, z.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(points.amax(1), z.amax(0), rtol=1e-6, atol=0)
    assert points.shape[1] < 400


@pytest.mark.parametrize("matching", ["params", "flops"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_reduced_gate_costs_what_the_original_cost(matching, bias, tmp_path):
    model = block(bias=bias)
    x = torch.randn(3000, 8)
    new, report = keep(model, "swiglu", [x], matching=matching)
    change = report.sites[0]
    assert [step.name for step in report.steps] == ["plain", "fitted", "reduced"]
    assert change.hidden_after == new[0].gate.out_features < change.hidden_before
    if matching == "params":
        unit = 2 * 8 + 8 + 2
        assert abs(report.parameters_after - report.parameters_before) <= unit / 2
    assert output_error(model, new, [x]).rms == pytest.approx(report.steps[-1].rms, rel=1e-6)
    surgery.save(new, tmp_path)
    with torch.no_grad():
        assert torch.equal(surgery.load(tmp_path)(x), new(x))


def test_units_that_do_nothing_go_first():
    model = block(bias=False)
    with torch.no_grad():
        model[2].weight[:, 10:].zero_()
    new, report = keep(model, "geglu", [torch.randn(2000, 8)], matching="params")
    assert new[0].gate.out_features >= 10
    assert report.steps[-1].relative < 1e-4
    assert report.weights_state == "converted"
