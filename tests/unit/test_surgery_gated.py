"""Gated FFNs are found by what they compute, and GPT-2's transposed layers are layers like others."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.workloads import hidden_units


class Gated(nn.Module):
    """A gated FFN under names that say nothing, its layers in an order of their own."""

    def __init__(self, act=functional.silu, bias=False, dim=6, hidden=10):
        super().__init__()
        self.c = nn.Linear(hidden, dim, bias=bias)
        self.b = nn.Linear(dim, hidden, bias=bias)
        self.a = nn.Linear(dim, hidden, bias=bias)
        self.f = act
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        return self.c(self.drop(self.b(x) * self.f(self.a(x))))


class Sum(Gated):
    def forward(self, x):
        return self.c(self.b(x) + self.f(self.a(x)))


class Unread(Gated):
    def forward(self, x):
        return self.c(self.b(x) * self.a(x))


def model(block=None):
    torch.manual_seed(0)
    return nn.Sequential(nn.LayerNorm(6), block or Gated()).eval()


def x():
    return torch.linspace(-2, 2, 24).reshape(4, 6)


@pytest.mark.parametrize(
    ("act", "before"),
    [
        (functional.silu, "swiglu"),
        (nn.GELU(), "geglu"),
        (nn.GELU("tanh"), "geglu_tanh"),
        (nn.ReLU(), "reglu"),
        (nn.Sigmoid(), "glu"),
        (nn.Tanh(), "tanh(gate) * up"),
    ],
)
def test_the_gate_is_named_by_what_it_computes(act, before):
    (site,) = surgery.find_sites(model(Gated(act)))
    assert (site.path, site.kind, site.family, site.before) == ("1.f", "ffn", "gated", before)
    assert site.named is ("(" not in before)
    assert (site.gated, site.gateable, site.parameters) == (True, True, 180)


@pytest.mark.parametrize("block", [Sum(nn.SiLU()), Unread(nn.SiLU())])
def test_look_alikes_are_no_gated_ffns(block):
    assert [(site.kind, site.gated) for site in surgery.find_sites(model(block))] == [("activation", False)]


@pytest.mark.parametrize("bias", [False, True])
def test_another_gate_keeps_the_weights_and_computes_its_formula(bias):
    old = model(Gated(bias=bias))
    new, report = surgery.swap(old, "geglu")
    assert (report.weights_state, report.parameters_before) == ("grafted", report.parameters_after)
    block, seen = old[1], old[0](x())
    with torch.no_grad():
        torch.testing.assert_close(new(x()), block.c(functional.gelu(block.a(seen)) * block.b(seen)))
        back, again = surgery.swap(new, "swiglu")
        assert torch.equal(back(x()), old(x()))
    assert (again.sites[0].before, again.sites[0].after) == ("geglu", "swiglu")


@pytest.mark.parametrize(("matching", "hidden"), [("params", 15), ("flops", 15), ("none", 10)])
def test_a_scalar_needs_a_new_block_of_matched_width(matching, hidden):
    old = model()
    new, report = surgery.swap(old, "relu", matching=matching)
    (change,) = report.sites
    assert report.weights_state == "untrained"
    assert (change.hidden_before, change.hidden_after) == (10, hidden)
    assert change.parameters_after == 2 * 6 * hidden
    assert [site.before for site in surgery.find_sites(new)] == ["relu"]
    up, down = new[1].up.weight, new[1].down.weight
    with torch.no_grad():
        torch.testing.assert_close(new(x()), torch.relu(new[0](x()) @ up.T) @ down.T)


def test_a_clamped_gate_is_a_new_block_too():
    _, report = surgery.swap(model(), "swiglu_clamped")
    assert (report.weights_state, report.sites[0].hidden_after) == ("untrained", 10)


def test_what_cannot_be_replaced_says_why():
    alone = Gated().eval()
    assert surgery.swap(alone, "geglu")[1].weights_state == "grafted"
    with pytest.raises(GatewiseError, match="relu cannot be put at 'f': it is the whole model"):
        surgery.swap(alone, "relu")
    hooked = model()
    hooked[1].register_forward_hook(lambda *_: None)
    with pytest.raises(GatewiseError, match=r"relu cannot be put at '1\.f': it carries hooks"):
        surgery.swap(hooked, "relu")
    mixed = Gated(bias=True)
    mixed.c.bias = None
    with pytest.raises(GatewiseError, match="only some of its layers have a bias"):
        surgery.swap(model(mixed), "gelu")
    tied = model()
    tied[1].b.weight = tied[1].a.weight
    assert [site.gated for site in surgery.find_sites(tied)] != [True]


def test_a_shared_block_stays_shared():
    block = Gated()
    new, report = surgery.swap(nn.Sequential(block, nn.LayerNorm(6), block).eval(), "relu")
    assert report.sites[0].aliases == ("2.f",)
    assert new[0] is new[2]


def test_hidden_units_are_those_behind_the_gate():
    assert [(each.path, each.function) for each in hidden_units(model(Gated(nn.SiLU())))] == [("1.f", "silu")]


@pytest.mark.parametrize("to", ["relu", "geglu"])
def test_gpt2_takes_scalars_and_gates(to, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=16)
    old = transformers.GPT2LMHeadModel(config).eval()
    sites = surgery.find_sites(old)
    assert [(site.family, site.before, site.gateable) for site in sites] == [("two-linears", "gelu_tanh", True)] * 2
    new, report = surgery.swap(copy.deepcopy(old), to)
    assert report.weights_state == ("untrained" if to == "geglu" else "grafted")
    assert [change.hidden_after for change in report.sites] == [21 if to == "geglu" else 32] * 2
    surgery.save(new, tmp_path)
    ids = torch.arange(6).reshape(2, 3)
    with torch.no_grad():
        assert torch.equal(surgery.load(tmp_path)(ids).logits, new(ids).logits)
        assert not torch.allclose(new(ids).logits, old(ids).logits, atol=1e-4)
