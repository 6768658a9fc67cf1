"""Every activation and gate of the table keeps the promises of its spec. A new one is tested by being in the table."""

import importlib
import math
import pkgutil
import re
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise import activations
from gatewise.activations import Budget, Spec, get, measure_error, names, samples, specs

Array = NDArray[np.float64]

# The names that the project has promised; third parties may add to the table, but none of these may go.
PROMISED = {
    *("relu", "leaky_relu", "relu2", "elu", "selu", "gelu", "gelu_tanh", "quick_gelu", "silu", "mish"),
    *("hardswish", "softplus", "sigmoid", "tanh", "identity"),
    *("glu", "bilinear", "reglu", "geglu", "geglu_tanh", "swiglu", "swiglu_clamped"),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

every_spec = pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in specs()])
every_scalar = pytest.mark.parametrize(
    "spec", [pytest.param(spec, id=spec.name) for spec in specs() if spec.kind == "scalar"]
)
every_gate = pytest.mark.parametrize(
    "spec", [pytest.param(spec, id=spec.name) for spec in specs() if spec.kind == "gate"]
)
every_dtype = pytest.mark.parametrize("dtype", sorted(DTYPES))


def grid_of(spec: Spec) -> Array:
    """Dense in [-50, 50], far out to +-1e4, both sides of every kink, and the minimum."""
    points = [np.linspace(-50, 50, 100_001), np.geomspace(50, 1e4, 200), -np.geomspace(50, 1e4, 200)]
    for kink in spec.kinks:
        points.append(kink + np.array([-1e-3, -1e-9, 0.0, 1e-9, 1e-3]))
    return np.sort(np.concatenate(points))


def slope(f: Callable[[Array], Array], x: Array, step: float = 0.02) -> Array:
    """The derivative of f by an eighth-order central difference."""
    weights = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    total = np.zeros_like(x)
    for k, weight in enumerate(weights, start=1):
        total += weight * (f(x + k * step) - f(x - k * step))
    return total / step


def away_from(kinks: tuple[float, ...], x: Array, distance: float = 0.1) -> Array:
    keep = np.ones(len(x), dtype=np.bool_)
    for kink in kinks:
        keep &= np.abs(x - kink) > distance
    return x[keep]


def test_the_table_is_complete() -> None:
    assert set(names()) >= PROMISED
    assert len(specs()) == len(set(names()))
    assert set(names("scalar")) | set(names("gate")) == set(names())
    assert not set(names("scalar")) & set(names("gate"))


def test_every_file_and_every_spec_of_the_package_is_in_the_table() -> None:
    table = specs()  # imports what the table points to
    found: list[Spec] = []
    for module in pkgutil.iter_modules(activations.__path__):
        name = f"{activations.__name__}.{module.name}"
        assert name in sys.modules, f"{name} is reached neither from the package nor from its table"
        found += [value for value in vars(importlib.import_module(name)).values() if isinstance(value, Spec)]
    missing = {spec.name for spec in found} - {spec.name for spec in table}
    assert found
    assert not missing, f"defined and not in the table: {missing}"


@every_spec
def test_the_spec_is_complete(spec: Spec) -> None:
    assert get(spec.name) is spec
    assert spec.formula
    assert spec.implementation
    assert 1950 < spec.paper.year < 2100
    assert spec.paper.author
    assert spec.paper.title
    assert spec.paper.arxiv or spec.paper.source
    assert spec.paper.arxiv is None or re.fullmatch(r"\d{4}\.\d{4,5}", spec.paper.arxiv)
    assert set(spec.budgets) >= set(DTYPES)
    if spec.kind == "gate":
        assert spec.num_matrices == 3
        assert spec.act in names("scalar")
        assert spec.minimum is None
        assert spec.curvature is None
    else:
        assert spec.num_matrices == 2
        assert spec.act is None


@every_scalar
def test_the_derivative_is_that_of_the_reference(spec: Spec) -> None:
    x = away_from(spec.kinks, np.linspace(-30, 30, 6001))
    exact, numeric = spec.derivative(x), slope(spec.reference, x)
    np.testing.assert_allclose(exact, numeric, rtol=1e-9, atol=1e-11)


@every_gate
def test_the_derivatives_of_a_gate_are_those_of_the_reference(spec: Spec) -> None:
    gate, up = (v.ravel() for v in np.meshgrid(np.linspace(-12, 12, 241), np.linspace(-9, 9, 91)))
    keep = np.all([np.abs(v - kink) > 0.1 for v in (gate, up) for kink in (*spec.kinks, math.inf)], axis=0)
    gate, up = gate[keep], up[keep]
    by_gate, by_up = spec.derivative(gate, up)
    np.testing.assert_allclose(by_gate, slope(lambda g: spec.reference(g, up), gate), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(by_up, slope(lambda u: spec.reference(gate, u), up), rtol=1e-9, atol=1e-10)


@every_scalar
def test_the_minimum_is_one(spec: Spec) -> None:
    x = grid_of(spec)
    y = spec.reference(x)
    if spec.minimum is None:
        # None means that nothing is smaller than what lies to its right.
        assert np.all(np.diff(y) >= 0)
        assert y[0] < y[len(y) // 2] < y[-1]
        return
    where, value = spec.minimum
    assert spec.reference(np.array([where]))[0] == pytest.approx(value, rel=1e-15, abs=0)
    assert np.all(y >= value)
    around = spec.reference(np.array([where - 1e-4, where + 1e-4]))
    assert np.all(around >= value)
    assert around.max() > value
    assert spec.derivative(np.array([where]))[0] == pytest.approx(0, abs=1e-15)


@every_scalar
def test_the_lipschitz_constant_is_tight(spec: Spec) -> None:
    steepest = np.abs(spec.derivative(grid_of(spec))).max()
    if math.isinf(spec.lipschitz):
        assert np.abs(spec.derivative(np.array([1e9])))[0] > 1e8
        return
    assert steepest <= spec.lipschitz * (1 + 1e-14)
    assert steepest >= spec.lipschitz * (1 - 1e-6)


@every_gate
def test_the_lipschitz_constant_of_a_gate_is_tight(spec: Spec) -> None:
    axis = np.concatenate([np.linspace(-20, 20, 401), spec.kinks, [-1e9, 1e9]])
    by_gate, by_up = spec.derivative(*(v.ravel() for v in np.meshgrid(axis, axis)))
    steepest = np.hypot(by_gate, by_up).max()
    if math.isinf(spec.lipschitz):
        assert steepest > 1e8
        return
    assert spec.lipschitz * (1 - 1e-6) <= steepest <= spec.lipschitz * (1 + 1e-14)


@every_scalar
def test_the_curvature_is_tight(spec: Spec) -> None:
    assert spec.curvature is not None
    jumps = [abs(float(np.diff(spec.derivative(np.array([kink - 1e-9, kink + 1e-9])))[0])) for kink in spec.kinks]
    if math.isinf(spec.curvature):
        assert max(jumps) > 0.1
        return
    assert all(jump < 1e-7 for jump in jumps)
    x = away_from(spec.kinks, np.linspace(-12, 12, 24_001), distance=0.0161)
    bend = np.abs(slope(spec.derivative, x, step=0.004)).max()
    assert bend <= spec.curvature * (1 + 1e-9)
    # Next to a kink the largest bend is reached only in the limit.
    assert bend >= spec.curvature * (1 - (2e-2 if spec.kinks else 1e-6)) - 1e-12


@every_spec
def test_the_reference_is_float64_of_any_shape_and_never_warns(spec: Spec) -> None:
    wild = samples("float32").double().numpy()
    wild = np.concatenate([wild, [-np.inf, np.inf, 1e308, -1e308, 5e-324, -5e-324]])
    for x in (wild, np.zeros((0, 3)), np.array(0.5), wild[: 4 * (len(wild) // 4)].reshape(4, -1)[:, ::3]):
        inputs = (x,) if spec.kind == "scalar" else (x, np.full_like(x, 0.5))
        with np.errstate(all="raise", under="ignore"):
            outputs = (spec.reference(*inputs), *spec.gradients(*inputs))
        for y in outputs:
            assert y.dtype == np.float64
            assert y.shape == x.shape
            assert not np.isnan(y).any()


@every_spec
def test_nan_stays_nan(spec: Spec) -> None:
    nan, one = np.array([np.nan]), np.ones(1)
    for inputs in [(nan,)] if spec.kind == "scalar" else [(nan, one), (one, nan)]:
        assert np.isnan(spec.reference(*inputs)).all()
        assert torch.isnan(spec.torch(*(torch.from_numpy(x) for x in inputs))).all()
    assert np.isnan(spec.gradients(*((nan,) if spec.kind == "scalar" else (nan, one)))[0]).all()


@every_dtype
@every_spec
def test_the_stock_code_keeps_its_error_budget(spec: Spec, dtype: str) -> None:
    seen, budget = measure_error(spec, dtype), spec.budgets[dtype]
    machine = torch.backends.cpu.get_cpu_capability()
    # Seen with `pytest -rP`, and when it fails.
    for what, observed in (("value", seen.value), ("gradient", seen.gradient)):
        print(f"{spec.name} {dtype} {what}: {observed.ulp:.3g} ULP at {observed.ulp_at:.6g},", end=" ")
        print(f"absolute {observed.absolute:.3g} at {observed.absolute_at:.6g} ({machine})")
    for observed, bound in ((seen.value, budget.value), (seen.gradient, budget.gradient)):
        assert observed.ulp <= bound.ulp
        assert observed.absolute <= bound.absolute
        if bound.tight_on in (None, machine):
            assert bound.ulp <= 4 * observed.ulp
            assert bound.absolute <= 4 * observed.absolute


@every_dtype
@every_spec
def test_the_budget_would_catch_a_wrong_function(spec: Spec, dtype: str) -> None:
    budget = spec.budgets[dtype]
    wrong = 1.25 if dtype == "bfloat16" else 1 + 2.0**-12
    assert not _within(budget, measure_error(spec, dtype, lambda *x: spec.torch(*x) * wrong))
    assert not _within(budget, measure_error(spec, dtype, lambda *x: spec.torch(*x) * 0))


def _within(budget: Budget, seen: activations.ObservedError) -> bool:
    return all(
        observed.ulp <= bound.ulp and observed.absolute <= bound.absolute
        for observed, bound in ((seen.value, budget.value), (seen.gradient, budget.gradient))
    )


def strided(x: Tensor) -> Tensor:
    """The same values, every third element of a larger tensor; gradients flow through."""
    return torch.stack([x, torch.full_like(x, math.nan), torch.full_like(x, 1.0)], dim=-1)[..., 0]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "strided": strided,
    "unaligned": lambda x: torch.cat([torch.zeros_like(x[:1]), x])[1:],
}


@pytest.mark.parametrize("layout", ["strided", "unaligned"])
@every_dtype
@every_spec
def test_other_layouts_keep_the_budget(spec: Spec, dtype: str, layout: str) -> None:
    move = LAYOUTS[layout]
    moved = move(torch.ones(8))
    assert not moved.is_contiguous() or moved.storage_offset() % 8
    assert _within(spec.budgets[dtype], measure_error(spec, dtype, lambda *x: spec.torch(*map(move, x))))


@every_dtype
@every_spec
def test_shapes_and_dtypes_are_kept(spec: Spec, dtype: str) -> None:
    count = 1 if spec.kind == "scalar" else 2
    for shape in ((), (1,), (0,), (3, 0, 2), (2, 3, 5)):
        inputs = [torch.full(shape, 0.75, dtype=DTYPES[dtype], requires_grad=True) for _ in range(count)]
        y = spec.torch(*inputs)
        assert y.shape == shape
        assert y.dtype == DTYPES[dtype]
        gradients = torch.autograd.grad(y, inputs, torch.ones_like(y))
        assert all(g.shape == shape and g.dtype == DTYPES[dtype] for g in gradients)
        if y.numel():
            exact = spec.reference(*(np.array([0.75]) for _ in range(count)))[0]
            assert y.double().flatten()[0].item() == pytest.approx(exact, rel=torch.finfo(DTYPES[dtype]).eps * 2)


def special_points(spec: Spec, dtype: str) -> list[tuple[float, float]]:
    """(gate) input and up: the ends of the range, NaN, and points of every known deviation."""
    top, tiny = torch.finfo(DTYPES[dtype]).max, torch.finfo(DTYPES[dtype]).smallest_normal
    ends = [-math.inf, -top, -1e20, -tiny, -0.0, 0.0, tiny, 1e20, top, math.inf, math.nan]
    points = [(x, 1.0) for x in ends]
    x = samples(dtype)
    for deviation in spec.deviations:
        covered = x[torch.from_numpy(deviation.covers(x.double().numpy()))]
        step = max(1, len(covered) // 50)
        points += [(value, deviation.up) for value in (deviation.low, deviation.high, *covered[::step].tolist())]
    return points


def at_point(spec: Spec, dtype: str, x: float, up: float, layout: str) -> tuple[float, float]:
    """The value and the gradient at one point, from a tensor of 67 of them, or of one without dimensions."""
    shape = () if layout == "0-d" else (67,)
    values = (x,) if spec.kind == "scalar" else (x, up)
    rounded = [torch.tensor(value, dtype=torch.float64).to(DTYPES[dtype]) for value in values]
    leaves = [value.expand(shape).contiguous().requires_grad_() for value in rounded]
    y = spec.torch(*(LAYOUTS.get(layout, LAYOUTS["contiguous"])(leaf) for leaf in leaves))
    (gradient,) = torch.autograd.grad(y, leaves[:1], torch.ones_like(y))
    return y.detach().double().flatten()[0].item(), gradient.double().flatten()[0].item()


def same(a: float, b: float, dtype: str) -> bool:
    """The same, or as near as two codes for a finite function are."""
    a, b = (torch.tensor(v, dtype=torch.float64).to(DTYPES[dtype]).item() for v in (a, b))
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return a == b or (math.isnan(a) and math.isnan(b))
    return abs(a - b) <= 4 * torch.finfo(DTYPES[dtype]).eps * max(abs(a), abs(b), 1e-6)


@every_dtype
@every_spec
def test_special_inputs_give_the_limit_or_a_recorded_deviation(spec: Spec, dtype: str) -> None:
    for x, up in special_points(spec, dtype):
        x_rounded = torch.tensor(x, dtype=DTYPES[dtype]).double().numpy()
        inputs = (x_rounded,) if spec.kind == "scalar" else (x_rounded, np.array(up))
        right = {"value": float(spec.reference(*inputs)), "gradient": float(spec.gradients(*inputs)[0])}
        for layout in (*LAYOUTS, "0-d"):
            got = dict(zip(("value", "gradient"), at_point(spec, dtype, x, up, layout), strict=True))
            for what in ("value", "gradient"):
                known = [
                    d
                    for d in spec.deviations
                    if d.what == what and d.up in (1.0, up) and d.covers(x_rounded.reshape(1))[0]
                ]
                where = f"{what} at {x} ({layout}): {got[what]}, the limit is {right[what]}"
                if not known:
                    assert same(got[what], right[what], dtype), where
                    continue
                assert not same(known[0].torch, right[what], dtype), f"{where}; the deviation is none"
                recorded = same(got[what], known[0].torch, dtype)
                assert recorded or (not known[0].always and same(got[what], right[what], dtype)), where


@every_spec
def test_float64_agrees_with_the_reference(spec: Spec) -> None:
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    inputs = (x,) if spec.kind == "scalar" else (x, x.flip(0) / 2 + 0.3)
    leaves = [v.clone().requires_grad_() for v in inputs]
    y = spec.torch(*leaves)
    gradients = torch.autograd.grad(y, leaves, torch.ones_like(y))
    arrays = [v.numpy() for v in inputs]
    np.testing.assert_allclose(y.detach().numpy(), spec.reference(*arrays), rtol=1e-12, atol=1e-14)
    for got, exact in zip(gradients, spec.gradients(*arrays), strict=True):
        # softplus is cut at 20, within 2.1e-9 of the function; no grid point lies beyond.
        np.testing.assert_allclose(got.numpy(), exact, rtol=1e-12, atol=1e-13)


@every_spec
def test_gradcheck(spec: Spec) -> None:
    draw = torch.Generator().manual_seed(0)
    x = 4 * torch.randn(3, 7, generator=draw, dtype=torch.float64)
    for kink in spec.kinks:
        x = torch.where((x - kink).abs() < 1e-3, x + 0.01, x)
    inputs = (x,) if spec.kind == "scalar" else (x, x.flip(1).contiguous())
    assert torch.autograd.gradcheck(spec.torch, tuple(v.requires_grad_() for v in inputs))
