"""The facts about activations that the project's claims rest on, each worked out from the specs."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from gatewise import activations, functional
from gatewise.activations import get

Array = NDArray[np.float64]


def f(name: str) -> Callable[[Array], Array]:
    return get(name).reference


def value(name: str, x: float) -> float:
    return float(get(name).reference(np.array([x]))[0])


def largest_gap(a: str, b: str) -> tuple[float, float]:
    """Where in [0, 10] the two functions are farthest apart, and how far."""
    x = np.linspace(0, 10, 100_001)
    start = x[np.argmax(np.abs(f(a)(x) - f(b)(x)))]
    best = minimize_scalar(
        lambda t: -abs(value(a, t) - value(b, t)), bounds=(start - 0.01, start + 0.01), method="bounded"
    )
    return float(best.x), -float(best.fun)


@pytest.mark.parametrize(
    ("a", "b", "where", "gap", "digits"),
    [
        ("gelu_tanh", "gelu", 2.699, 4.732e-4, 5e-8),
        ("quick_gelu", "gelu", 2.270, 2.033e-2, 5e-6),
        ("silu", "gelu", 1.9655, 0.1930, 5e-5),
    ],
)
def test_the_largest_gap_between_two_functions(a: str, b: str, where: float, gap: float, digits: float) -> None:
    x, distance = largest_gap(a, b)
    assert distance == pytest.approx(gap, abs=digits)
    assert x == pytest.approx(where, abs=5e-4)
    # x Phi(x) and its kin satisfy f(x) - f(-x) = x, so that gaps are even in x.
    assert abs(value(a, -x) - value(b, -x)) == pytest.approx(distance, rel=1e-9)
    wide = np.linspace(-40, 40, 80_001)
    assert np.abs(f(a)(wide) - f(b)(wide)).max() <= distance * (1 + 1e-12)


def test_tanh_against_erf_at_minus_one_and_in_the_tail() -> None:
    assert abs(value("gelu_tanh", -1) - value("gelu", -1)) == pytest.approx(1.528e-4, abs=5e-8)
    relative = {x: abs(value("gelu_tanh", x) / value("gelu", x) - 1) for x in (-3.0, -4.0)}
    assert relative[-3.0] == pytest.approx(0.102, abs=5e-4)
    assert relative[-4.0] == pytest.approx(0.4455, abs=5e-5)


@pytest.mark.parametrize(("name", "x", "y"), [("gelu", -0.7518, -0.16997), ("silu", -1.2785, -0.27846)])
def test_the_minima(name: str, x: float, y: float) -> None:
    minimum = get(name).minimum
    assert minimum is not None
    assert minimum[0] == pytest.approx(x, abs=5e-5)
    assert minimum[1] == pytest.approx(y, abs=5e-6)


@pytest.mark.parametrize(("name", "moment"), [("relu", 0.5), ("gelu", 0.4252), ("silu", 0.3558), ("relu2", 1.5)])
def test_the_second_moment_under_a_standard_normal(name: str, moment: float) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    total = 0.0
    for low, high in ((-40.0, -10.0), (-10.0, 0.0), (0.0, 10.0), (10.0, 40.0)):
        x = (high - low) / 2 * nodes + (high + low) / 2
        density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        total += float(np.sum(weights * f(name)(x) ** 2 * density)) * (high - low) / 2
    assert total == pytest.approx(moment, abs=5e-5)


def test_parameter_matching() -> None:
    assert activations.matched_hidden(768, 3072) == 2048
    assert 2 * 768 * 3072 == 3 * 768 * 2048 == 4_718_592
    scalar = activations.FeedForward(768, activation="gelu")
    gated = activations.FeedForward(768, activation="swiglu")
    assert (scalar.hidden, gated.hidden) == (3072, 2048)
    for block in (scalar, gated):
        assert sum(p.numel() for p in block.parameters()) == 4_718_592
    assert activations.matched_hidden(4096, 4 * 4096, multiple_of=256) == 11008


def test_gelu_is_deterministic_and_only_the_mean_of_the_stochastic_map() -> None:
    # E[x Bernoulli(Phi(x))] = x Phi(x): the mean over many draws comes to the one value that gelu always gives.
    x = torch.tensor(0.8, dtype=torch.float64)
    assert len({functional.gelu(x).item() for _ in range(10)}) == 1
    draw = torch.Generator().manual_seed(0)
    keep = torch.special.ndtr(x)
    mean = (x * (torch.rand(1_000_000, generator=draw) < keep)).mean().item()
    assert mean == pytest.approx(value("gelu", 0.8), abs=5 * 0.8 * 0.5 / 1000)


@pytest.mark.parametrize(("act", "gate"), [("relu", "reglu"), ("gelu", "geglu")])
def test_a_scalar_block_becomes_a_gated_one_exactly(act: str, gate: str) -> None:
    torch.manual_seed(0)
    mlp = activations.FeedForward(24, 40, act, bias=True)
    gated = activations.FeedForward(24, 40, gate, bias=True)
    with torch.no_grad():
        gated.unit.gate.weight.copy_(mlp.up.weight)
        gated.unit.gate.bias.copy_(mlp.up.bias)
        gated.unit.up.weight.zero_()
        gated.unit.up.bias.fill_(1.0)
        gated.down.load_state_dict(mlp.down.state_dict())
        x = torch.randn(5, 7, 24)
        assert torch.equal(mlp(x), gated(x))


def test_a_gelu_block_becomes_swiglu_through_the_quick_form() -> None:
    torch.manual_seed(0)
    mlp = activations.FeedForward(24, 40, "quick_gelu", bias=True).double()
    gated = activations.FeedForward(24, 40, "swiglu", bias=True).double()
    with torch.no_grad():
        gated.unit.gate.weight.copy_(1.702 * mlp.up.weight)
        gated.unit.gate.bias.copy_(1.702 * mlp.up.bias)
        gated.unit.up.weight.zero_()
        gated.unit.up.bias.fill_(1 / 1.702)
        gated.down.load_state_dict(mlp.down.state_dict())
        x = 4 * torch.randn(5, 7, 24, dtype=torch.float64)
        torch.testing.assert_close(gated(x), mlp(x), rtol=1e-13, atol=1e-13)
        # What is left against the erf form is the quick form's error, unit by unit.
        hidden = mlp.up(x)
        assert (functional.gelu(hidden) - gated.unit(x)).abs().max() <= 2.1e-2


@given(st.floats(-1e6, 1e6))
def test_quick_gelu_is_a_scaled_silu(x: float) -> None:
    assert value("quick_gelu", x) == pytest.approx(value("silu", 1.702 * x) / 1.702, rel=1e-11, abs=1e-300)


@given(st.floats(-1e6, 1e6))
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "quick_gelu", "silu", "hardswish", "relu"])
def test_self_gated_functions_differ_from_their_mirror_by_x(name: str, x: float) -> None:
    assert value(name, x) - value(name, -x) == pytest.approx(x, rel=1e-13, abs=1e-300)


def test_the_clamped_gate_is_swiglu_like_inside_and_flat_outside() -> None:
    gate, up = torch.tensor([7.0, 9.0, 1e30]), torch.tensor([7.0, 8.0, -1e30])
    inside = functional.swiglu_clamped(gate[:1], up[:1])
    assert torch.equal(functional.swiglu_clamped(gate[1:2], up[1:2]), inside)
    assert functional.swiglu_clamped(gate[2:], up[2:]).item() == pytest.approx(-6 * 7 / (1 + math.exp(-1.702 * 7)))
    # (up + 1) * quick_gelu(gate) where no clamp bites
    g, u = torch.tensor([0.3, -2.0]), torch.tensor([0.5, -4.0])
    torch.testing.assert_close(functional.swiglu_clamped(g, u), (u + 1) * functional.quick_gelu(g))
    # With alpha 1, a far limit and up shifted by one it is swiglu.
    same = functional.swiglu_clamped(g, u - 1, limit=1e6, alpha=1.0)
    torch.testing.assert_close(same, functional.swiglu(g, u))


def test_torch_gives_nan_where_the_limit_is_known() -> None:
    x = torch.full((64,), -math.inf)
    assert torch.isnan(nn.functional.gelu(x)).all()
    assert torch.isnan(nn.functional.silu(x)).all()
    for name in ("gelu", "silu"):
        limit = f(name)(np.array([-math.inf, math.inf]))
        assert limit[0] == 0.0
        assert math.copysign(1, limit[0]) == -1
        assert limit[1] == math.inf
