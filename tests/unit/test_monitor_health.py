"""The health of activations: what is planted is found, the same traffic raises nothing, the model stays."""

import pytest
import torch
from torch import nn

from gatewise import activations
from gatewise.activations import FeedForward
from gatewise.core import GatewiseError
from gatewise.monitor._health import HealthSettings, HealthWatch
from gatewise.monitor._health_sites import Sample, flat_ends, health_sites, looking
from gatewise.monitor._reference import Reference


class Net(nn.Module):
    def __init__(self, activation: str) -> None:
        super().__init__()
        self.a, self.b = FeedForward(16, 32, activation), FeedForward(16, 32, activation)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.norm(x + self.a(x)))


class GateElsewhere(nn.Module):
    """A gated FFN as model families write it: four children, none of them ours."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(16, 32, bias=False), nn.Linear(16, 32, bias=False)
        self.down_proj, self.act_fn = nn.Linear(32, 16, bias=False), nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


SETTINGS = HealthSettings(every=1, tokens=64, learn=64, most_share=1.0)


def made(model: nn.Module, settings: HealthSettings = SETTINGS, reference: Reference | None = None):
    alarms = []
    watch = HealthWatch(
        model, name="m", version="v1", on_alarm=alarms.append, settings=settings, reference=reference, replay="again"
    )
    return watch, alarms


def traffic(model: nn.Module, watch: HealthWatch, n: int, *, scale: float = 1.0, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for at in range(n):
        x = 3.0 * scale * torch.randn(8, 8, 16, generator=generator)
        with torch.inference_mode(), watch.batch(at):
            model(x)


def net(activation: str) -> Net:
    torch.manual_seed(0)
    return Net(activation).eval()


def hooks(model: nn.Module) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())  # pyright: ignore


@pytest.mark.parametrize("activation", ["gelu", "swiglu", "swiglu_clamped"])
def test_the_same_traffic_raises_nothing(activation):
    model = net(activation)
    watch, alarms = made(model)
    traffic(model, watch, 500)
    assert alarms == []
    state = watch.state()
    assert (set(state["observations"].values()), state["sees"], state["learning"]) == ({500}, True, [])
    assert hooks(model) == 0


def test_larger_inputs_hit_the_clamp():
    model = net("swiglu_clamped")
    watch, alarms = made(model)
    traffic(model, watch, 100)
    assert alarms == []
    traffic(model, watch, 60, scale=2.5, seed=1)
    found = {(alarm.evidence["site"], alarm.evidence["measure"]): alarm for alarm in alarms}
    assert {("a.unit", "clamped"), ("a.unit", "largest")} <= set(found)
    assert all(alarm.kind == "health" and alarm.replay == "again" for alarm in alarms)
    clamped = found["a.unit", "clamped"]
    assert clamped.evidence["now"][1] > 0.01 > clamped.evidence["before"][1]
    assert len(found) == len(alarms)


@pytest.mark.parametrize("activation", ["swiglu", "relu"])
def test_a_gate_that_closes_is_named(activation):
    model = net(activation)
    watch, alarms = made(model)
    traffic(model, watch, 100)
    assert alarms == []
    with torch.no_grad():
        linear = model.b.unit.gate if activation == "swiglu" else model.b.up
        linear.weight[:16] = -10.0 * linear.weight[:16].abs()
        model.norm.weight.zero_()
        model.norm.bias.fill_(1.0)
    traffic(model, watch, 60, seed=1)
    sites = {alarm.evidence["site"] for alarm in alarms}
    assert sites == {"b.unit" if activation == "swiglu" else "b.act"}
    assert {"quiet", "open"} <= {alarm.evidence["measure"] for alarm in alarms}


def test_nan_is_a_page_at_once_and_only_one():
    model = net("gelu")
    watch, alarms = made(model)
    traffic(model, watch, 10)
    with torch.no_grad():
        model.a.down.weight[0, 0] = torch.nan
    traffic(model, watch, 20)
    assert [(alarm.kind, alarm.severity, alarm.evidence["site"]) for alarm in alarms] == [("health", "page", "b.act")]
    assert set(watch.state()["observations"].values()) == {10}


@pytest.mark.parametrize("activation", ["gelu", "relu", "swiglu", "swiglu_clamped"])
def test_the_measures_are_their_definitions(activation):
    model = net(activation)
    sites = {site.path: site for site in health_sites(model)}
    path = "a.unit" if activation.startswith("swiglu") else "a.act"
    samples = {path: Sample(site=sites[path], tokens=64)}
    x = 6.0 * torch.randn(8, 8, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), looking(model, samples, lambda _: None):
        model(x)
    found = samples[path].values()
    with torch.inference_mode():
        rows = x.reshape(-1, 16)
        if path == "a.unit":
            z, up = model.a.unit.gate(rows), model.a.unit.up(rows)
            out = model.a.unit(rows)
            function = activations.get(activation).act or ""
        else:
            z, up, function = model.a.up(rows), None, activation
            out = model.a.act(z)
    slope = torch.from_numpy(activations.get(function).derivative(z.double().numpy())).abs()
    flat = slope <= 1e-3
    assert found["largest"] == pytest.approx(float(out.abs().max()), rel=1e-5)
    assert found["open"] == float((z > 0).double().mean())
    assert found["saturated"] == pytest.approx(float(flat.double().mean()), abs=5e-3)
    assert found["quiet"] == pytest.approx(float(flat.all(dim=0).double().mean()), abs=0.04)
    if activation == "swiglu_clamped":
        assert up is not None
        assert found["clamped"] == float(((z > 7) | (up.abs() > 7)).double().mean()) > 0
    else:
        assert "clamped" not in found


def test_the_product_of_a_gate_that_is_not_ours_is_seen():
    torch.manual_seed(0)
    model = nn.ModuleList([GateElsewhere()]).eval()
    (site,) = health_sites(model)
    assert (site.path, site.gated, site.unit) == ("0.act_fn", True, False)
    samples = {site.path: Sample(site=site, tokens=50)}
    x = torch.randn(50, 16)
    with torch.inference_mode(), looking(model, samples, lambda _: None):
        model[0](x)
    block = model[0]
    with torch.inference_mode():
        product = block.act_fn(block.gate_proj(x)) * block.up_proj(x)
    assert samples[site.path].values()["largest"] == pytest.approx(float(product.abs().max()))
    assert hooks(model) == 0


def test_an_observation_is_of_so_many_tokens_whatever_the_batches():
    model = net("gelu")
    watch, _ = made(model)
    generator = torch.Generator().manual_seed(0)
    for rows in (1, 2, 3, 100):
        with torch.inference_mode(), watch.batch():
            model(torch.randn(rows, 8, 16, generator=generator))
    assert set(watch.state()["observations"].values()) == {1}
    assert {site for site, _ in watch.latest()} == {"a.act", "b.act"}


def test_a_place_that_sees_few_tokens_holds_up_no_other():
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.act = FeedForward(16, 32, "gelu"), nn.Linear(16, 16), nn.Tanh()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.head(self.body(x)[:, 0]))

    model = Pooled().eval()
    watch, _ = made(model)
    traffic(model, watch, 16)
    assert watch.state()["observations"] == {"body.act": 16, "act": 2}


def test_flat_ends_are_where_the_slope_is_gone():
    assert flat_ends("relu") == (pytest.approx(0.0, abs=0.02), float("inf"))
    assert flat_ends("identity") == (-float("inf"), float("inf"))
    low, high = flat_ends("sigmoid")
    assert low == pytest.approx(-high, abs=0.02)
    assert -7.0 < low < -6.8  # sigmoid's slope is 1e-3 at 6.905


def test_the_output_stays_and_hooks_go_even_where_the_model_fails():
    model = net("relu")
    watch, _ = made(model)
    x = torch.randn(2, 8, 16)
    with torch.inference_mode():
        expected = model(x)
        with watch.batch():
            assert torch.equal(model(x), expected)
        with pytest.raises(GatewiseError), watch.batch():
            model(torch.randn(2, 8, 15))
    assert hooks(model) == 0


@pytest.mark.parametrize(("every", "sampled"), [(0, 0), (1, 20), (5, 4)])
def test_it_looks_at_every_nth_batch_and_can_be_switched_off(every, sampled):
    model = net("gelu")
    watch, _ = made(model, HealthSettings(every=every, tokens=64, most_share=1.0))
    traffic(model, watch, 20)
    assert watch.state()["sampled"] == sampled


def test_it_keeps_to_its_share_of_the_time():
    model = net("gelu")
    watch, _ = made(model, HealthSettings(every=1, tokens=64, most_share=0.001))
    traffic(model, watch, 300)
    assert 0 < watch.state()["sampled"] < 300


def test_what_is_not_called_is_said_not_to_be_seen():
    model = net("gelu")
    watch, alarms = made(model)
    for _ in range(5):
        with watch.batch():
            pass  # a compiled graph or another engine: the modules are never called
    assert (watch.state()["sees"], watch.state()["sampled"], alarms) == (False, 5, [])


def test_a_stored_reference_compares_from_the_first_batch_on():
    model = net("swiglu_clamped")
    first, _ = made(model)
    traffic(model, first, 60)
    stored = Reference.from_json(first.reference().to_json())
    watch, alarms = made(model, reference=stored)
    traffic(model, watch, 60, scale=2.5, seed=1)
    # Without a past in order it must first see how alike neighbours are.
    traffic(model, watch, 30, scale=2.5, seed=2)
    assert "clamped" in {alarm.evidence["measure"] for alarm in alarms}
    assert watch.features()[0]["alarmed"]
    with pytest.raises(GatewiseError, match="other activations"):
        made(net("gelu"), reference=stored)


def test_a_model_without_activations_is_refused():
    with pytest.raises(GatewiseError, match="no activation"):
        made(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("wrong", [{"every": -1}, {"tokens": 1}, {"learn": 1}, {"most_share": 0}, {"least_ratio": 0.5}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(GatewiseError):
        HealthSettings(**wrong)
