"""What a swap keeps, what it changes, and what it refuses."""

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatewise import activations, surgery
from gatewise.core import GatewiseError
from gatewise.surgery._gate import gated_hidden


def mlp(act=None, dim=6, hidden=24, bias=True):
    act = act or nn.GELU()
    return nn.Sequential(nn.Linear(dim, hidden, bias=bias), act, nn.Dropout(0.3), nn.Linear(hidden, dim, bias=bias))


class Head(nn.Module):
    """Two FFNs and a final sigmoid."""

    def __init__(self):
        super().__init__()
        self.first, self.second = mlp(), mlp()
        self.out = nn.Sigmoid()

    def forward(self, x):
        return self.out(self.second(self.first(x)))


def test_the_original_stays_as_it_is():
    model = Head().train()
    model.second.eval()
    model.first[0].weight.requires_grad_(False)
    twin = copy.deepcopy(model)
    for to in ("relu", "swiglu"):
        new, _ = surgery.swap(model, to)
        with torch.no_grad():
            for parameter in new.parameters():
                parameter.add_(1.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert [m.training for m in model.modules()] == [m.training for m in twin.modules()]
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in twin.parameters()]
    assert str(model) == str(twin)
    assert vars(model).keys() == vars(twin).keys()


def test_a_scalar_swap_keeps_weights_and_computes_the_new_function():
    model = mlp().eval()
    new, report = surgery.swap(model, "silu")
    x = torch.randn(5, 6)
    assert torch.equal(new(x), model[3](torch.nn.functional.silu(model[0](x))))
    assert [(c.path, c.before, c.after, c.weights_state) for c in report.sites] == [("1", "gelu", "silu", "grafted")]


def test_the_main_activation_is_swapped_and_the_rest_is_listed():
    new, report = surgery.swap(Head(), "relu")
    assert [change.path for change in report.sites] == ["first.1", "second.1"]
    assert report.left == (("out", "computes sigmoid, not the model's main activation gelu"),)
    assert isinstance(new.out, nn.Sigmoid)


@pytest.mark.parametrize(
    ("only", "paths"),
    [
        ("first*", ["first.1"]),
        ("second", ["second.1"]),
        (["out", "first.1"], ["first.1", "out"]),
        ("*", ["first.1", "second.1", "out"]),
    ],
)
def test_only_overrides_the_rule(only, paths):
    _, report = surgery.swap(Head(), "relu", only=only)
    assert [change.path for change in report.sites] == paths
    assert all(reason == "not matched by `only`" for _, reason in report.left)
    assert len(report.left) == 3 - len(paths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "gelux"}, "gelu"),
        ({"to": "relu", "only": "frist.1"}, r"nearest is 'first\.1'"),
        ({"to": "relu", "only": []}, "empty list"),
        ({"to": "swiglu", "only": "out"}, "'out': a gate needs the Linear layers"),
        ({"to": "swiglu", "only": "*"}, "'out'"),
        ({"to": "swiglu", "matching": "parms"}, "params"),
        ({"to": "swiglu", "multiple_of": 0}, "multiple_of"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(GatewiseError, match=message):
        surgery.swap(Head(), **arguments)


def test_a_model_without_a_site_says_what_was_looked_for():
    with pytest.raises(GatewiseError, match=r"(?s)no activation.*nn\.TransformerEncoderLayer.*BERT"):
        surgery.swap(nn.Sequential(nn.Conv1d(1, 1, 1), nn.LSTM(2, 2)), "relu")


def test_a_gate_next_to_bare_activations_leaves_them_and_lists_them():
    model = nn.Sequential(mlp(), nn.Conv1d(1, 1, 1), nn.GELU())
    _, report = surgery.swap(model, "geglu")
    assert [change.path for change in report.sites] == ["0.1"]
    assert [path for path, _ in report.left] == ["2"]


@pytest.mark.parametrize("gate", activations.names("gate"))
def test_every_gate_computes_its_own_formula(gate):
    new, report = surgery.swap(mlp().eval(), gate)
    unit, down = new[0], new[3]
    x = torch.randn(4, 6)
    expected = down(activations.get(gate).torch(unit.gate(x), unit.up(x)))
    assert torch.equal(new(x), expected)
    (change,) = report.sites
    assert change.hidden_after == unit.gate.out_features
    assert change.parameters_after == sum(p.numel() for p in new.parameters()) == report.parameters_after


@pytest.mark.parametrize(("matching", "hidden"), [("params", 16), ("flops", 16), ("none", 24)])
def test_matching(matching, hidden):
    _, report = surgery.swap(mlp(bias=False), "swiglu", matching=matching)
    assert report.matching == matching
    assert report.sites[0].hidden_after == hidden
    assert report.sites[0].hidden_before == 24


def test_multiple_of_rounds_up():
    _, report = surgery.swap(mlp(bias=False), "swiglu", multiple_of=10)
    assert report.sites[0].hidden_after == 20


@given(
    dim=st.integers(1, 300),
    out=st.integers(1, 300),
    wide=st.integers(8, 3000),
    up_bias=st.booleans(),
    down_bias=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_the_matched_width_is_the_closest_there_is(dim, out, wide, up_bias, down_bias):
    with torch.device("meta"):
        up, down = nn.Linear(dim, wide, bias=up_bias), nn.Linear(wide, out, bias=down_bias)
    target = wide * (dim + out + up_bias)

    def cost(hidden):
        return hidden * (2 * dim + out + 2 * up_bias)

    hidden = gated_hidden(up, down, "params", 1)
    assert hidden >= 1
    assert all(abs(cost(hidden) - target) <= abs(cost(other) - target) for other in (hidden + 1, max(1, hidden - 1)))
    if dim == out:
        assert hidden == activations.matched_hidden(dim, wide, "params", 1, up_bias)


@pytest.mark.parametrize("matching", ["params", "flops", "none"])
@pytest.mark.parametrize("bias", [True, False])
def test_unequal_widths_use_the_same_rule_as_equal_ones(matching, bias):
    with torch.device("meta"):
        even = gated_hidden(nn.Linear(300, 1200, bias=bias), nn.Linear(1200, 300), matching, 8)
        near = gated_hidden(nn.Linear(300, 1200, bias=bias), nn.Linear(1200, 301), matching, 8)
    assert abs(even - near) <= 8


def test_new_weights_depend_on_seed_and_path_only():
    model = Head()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one, _ = surgery.swap(model, "swiglu", seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    two, _ = surgery.swap(model, "swiglu", seed=5, only="second*")
    assert torch.equal(one.second[0].gate.weight, two.second[0].gate.weight)
    assert not torch.equal(one.first[0].gate.weight, one.second[0].gate.weight)
    assert not torch.equal(one.first[0].gate.weight, one.first[0].up.weight)
    other, _ = surgery.swap(model, "swiglu", seed=6)
    assert not torch.equal(one.first[0].gate.weight, other.first[0].gate.weight)


def test_new_weights_start_as_torch_starts_a_linear():
    new, _ = surgery.swap(mlp(dim=64, hidden=512), "swiglu")
    for linear in (new[0].gate, new[0].up, new[3]):
        bound = linear.in_features**-0.5
        assert linear.weight.abs().max() <= bound
        assert abs(linear.weight.std().item() / (bound / 3**0.5) - 1) < 0.05
        assert linear.bias.abs().max() <= bound


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtype_gradient_flag_and_mode_follow_the_old_parameters(dtype):
    model = mlp().to(dtype).train()
    model[0].weight.requires_grad_(False)
    new, _ = surgery.swap(model, "reglu")
    assert {parameter.dtype for parameter in new.parameters()} == {dtype}
    assert not new[0].gate.weight.requires_grad
    assert not new[0].up.weight.requires_grad
    assert new[0].gate.bias.requires_grad
    assert new[3].weight.requires_grad
    assert all(module.training for module in new.modules())
    assert all(not m.training for m in surgery.swap(model.eval(), "reglu")[0].modules())


def test_the_device_follows_too():
    with torch.device("meta"):
        model = mlp()
    new, _ = surgery.swap(model, "swiglu")
    assert {parameter.device.type for parameter in new.parameters()} == {"meta"}


def test_shared_modules_stay_shared_and_are_counted_once():
    shared = mlp()
    model = nn.Sequential(shared, nn.LayerNorm(6), shared)
    for to in ("relu", "swiglu"):
        new, report = surgery.swap(model, to)
        assert new[0] is new[2]
        assert len(report.sites) == 1
        assert report.parameters_after == sum(p.numel() for p in new.parameters())


def test_parts_shared_by_two_containers_are_counted_once_too():
    up, act, down = nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 6)
    model = nn.Sequential(nn.Sequential(up, act, down), nn.Sequential(up, act, down))
    new, report = surgery.swap(model, "swiglu")
    assert len(report.sites) == 1
    assert new[0][0] is new[1][0]
    assert new[0][2] is new[1][2]
    assert report.parameters_after == sum(p.numel() for p in new.parameters())


def test_one_activation_object_stays_one_object():
    act = nn.GELU()
    model = nn.ModuleDict({"a": mlp(act), "b": mlp(act), "c": act})
    new, report = surgery.swap(model, "relu")
    assert new["a"][1] is new["b"][1] is new["c"]
    assert model["a"][1] is act
    assert len(report.sites) == 3  # two FFNs with weights of their own, and the bare use
    gated, _ = surgery.swap(model, "geglu")
    assert isinstance(gated["c"], nn.GELU)


def test_tied_or_reused_linears_take_no_gate():
    tied = mlp()
    tied[3].weight = nn.Parameter(tied[3].weight)
    model = nn.ModuleList([tied, nn.Linear(24, 6)])
    model[1].weight = tied[3].weight
    with pytest.raises(GatewiseError, match="tied"):
        surgery.swap(model, "swiglu")
    reused = mlp()
    with pytest.raises(GatewiseError, match="elsewhere"):
        surgery.swap(nn.ModuleDict({"a": reused, "b": reused[0]}), "swiglu")
    hooked = mlp()
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(GatewiseError, match="hooks"):
        surgery.swap(hooked, "swiglu")


def test_a_linear_subclass_takes_a_gate_where_it_computes_no_more_than_a_linear():
    class Renamed(nn.Linear):
        pass

    class Adapted(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 0.01 * x.sum(-1, keepdim=True)

    renamed = nn.Sequential(Renamed(4, 8), nn.ReLU(), nn.Linear(8, 4))
    assert surgery.swap(renamed, "swiglu")[1].weights_state == "untrained"
    model = nn.Sequential(Adapted(4, 8), nn.ReLU(), nn.Linear(8, 4))
    assert surgery.swap(model, "gelu")[1].weights_state == "grafted"
    with pytest.raises(GatewiseError, match="Adapted"):
        surgery.swap(model, "swiglu")


def test_states_add_up_over_swaps():
    model = mlp()
    assert surgery.weights_state(model) == "original"
    grafted, _ = surgery.swap(model, "relu")
    assert surgery.weights_state(grafted) == "grafted"
    assert surgery.swap(grafted, "relu")[1].weights_state == "grafted"
    surgery.mark_weights(grafted, "trained")
    assert surgery.swap(grafted, "relu")[1].weights_state == "trained"
    assert surgery.swap(grafted, "silu")[1].weights_state == "grafted"
    fresh, _ = surgery.swap(nn.Sequential(mlp(), mlp(nn.ReLU()), nn.GELU()), "swiglu", only="0")
    assert surgery.swap(fresh, "relu", only="2")[1].weights_state == "untrained"
    with pytest.raises(GatewiseError, match="trained"):
        surgery.mark_weights(model, "traind")


def test_a_report_is_plain_data():
    _, report = surgery.swap(Head(), "swiglu")
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data == report.to_json()
    assert data["sites"][0]["path"] == "first.1"
    assert data["left"][0][0] == "out"
    with pytest.raises(AttributeError):
        report.to = "relu"


def test_gradients_reach_every_new_weight():
    new, _ = surgery.swap(mlp(), "swiglu")
    new(torch.randn(3, 6)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in new.parameters())


def test_a_feed_forward_of_ours_tells_the_truth_after_a_swap():
    block = activations.FeedForward(6, activation="gelu")
    new, _ = surgery.swap(nn.Sequential(block), "swiglu")
    assert (new[0].activation, new[0].hidden) == ("swiglu", new[0].up.gate.out_features)
    assert "swiglu" in repr(new[0])
    assert new(torch.randn(2, 6)).shape == (2, 6)
