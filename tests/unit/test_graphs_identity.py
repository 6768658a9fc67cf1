"""Functions and gates are known by their numbers: the table's, families with their constants, limits."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf, expit

from gatewise.activations import get, names
from gatewise.core import GatewiseError
from gatewise.graphs import Found, identify_gate, identify_scalar

Array = NDArray[np.float64]
Scalar = Callable[[Array], Array]
Gate = Callable[[Array, Array], Array]

SCALARS = [name for name in names("scalar") if name != "identity"]
ROOT_2_OVER_PI = math.sqrt(2 / math.pi)


def scalar(f: Scalar, dtype: str = "float32") -> Found:
    return identify_scalar(lambda inputs: f(*inputs), constants_dtype=dtype)


def gate(f: Gate, dtype: str = "float32") -> Found:
    return identify_gate(lambda inputs: f(*inputs), constants_dtype=dtype)


def swish(beta: float) -> Scalar:
    return lambda x: x * expit(beta * x)


def gelu(x: Array, inner: float = math.sqrt(0.5)) -> Array:
    return 0.5 * x * (1 + erf(x * inner))


def gelu_tanh(x: Array, cubic: float = 0.044715, outer: float = ROOT_2_OVER_PI) -> Array:
    return 0.5 * x * (1 + np.tanh(outer * (x + cubic * x**3)))


def leaky(slope: float) -> Scalar:
    return lambda x: np.where(x > 0, x, slope * x)


def elu(alpha: float) -> Scalar:
    return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def softplus(beta: float) -> Scalar:
    return lambda x: np.logaddexp(0, beta * x) / beta


@pytest.mark.parametrize("name", SCALARS)
def test_the_table_is_found(name: str) -> None:
    found = scalar(get(name).reference)
    assert found == Found(name=name, nearest=name, distance=0.0)


@pytest.mark.parametrize("name", names("gate"))
@pytest.mark.parametrize("place", [0, 1])
def test_gates_are_found_in_either_order(name: str, place: int) -> None:
    reference = get(name).reference
    found = gate(reference if place == 0 else lambda a, b: reference(b, a))
    assert (found.name, found.nearest, dict(found.settings)) == (name, name, {})
    assert found.distance < 1e-9
    assert found.gate == (0 if name == "bilinear" else place)


def test_the_identity_is_no_activation() -> None:
    assert scalar(lambda x: x).name is None


FAMILIES: dict[str, tuple[Scalar, str | None, str, dict[str, float]]] = {
    "swish 1.6": (swish(1.6), None, "quick_gelu", {"beta": 1.6}),
    "swish 0.5": (swish(0.5), None, "silu", {"beta": 0.5}),
    "swish 1.7": (swish(1.7), None, "quick_gelu", {"beta": 1.7}),
    "leaky 0.2": (leaky(0.2), "leaky_relu", "leaky_relu", {"slope": 0.2}),
    "elu 0.5": (elu(0.5), "elu", "elu", {"alpha": 0.5}),
    "softplus 2": (softplus(2.0), "softplus", "softplus", {"beta": 2.0}),
    "relu6": (lambda x: np.clip(x, 0, 6), None, "relu", {"out_high": 6.0}),
    "relu of 20": (lambda x: np.clip(x, 0, 20), None, "relu", {"out_high": 20.0}),
    "gelu_10": (lambda x: np.clip(gelu(x), -10, 10), None, "gelu", {"out_high": 10.0}),
    "silu of a clip": (lambda x: swish(1.0)(np.clip(x, -6, 7)), None, "silu", {"low": -6.0, "high": 7.0}),
    "swish of a clip": (lambda x: swish(1.6)(np.minimum(x, 7)), None, "quick_gelu", {"beta": 1.6, "high": 7.0}),
    "tanh cut": (lambda x: np.clip(np.tanh(x), -0.5, 0.5), None, "tanh", {"out_low": -0.5, "out_high": 0.5}),
    "hardtanh": (lambda x: np.clip(x, -1, 1), None, "tanh", {"low": -1.0, "high": 1.0}),
    "twice gelu": (lambda x: 2 * gelu(x), None, "gelu", {"scale": 2.0}),
}


@pytest.mark.parametrize("case", FAMILIES)
def test_constants_of_families_are_recovered(case: str) -> None:
    f, name, nearest, expected = FAMILIES[case]
    found = scalar(f)
    assert (found.name, found.nearest) == (name, nearest)
    assert dict(found.settings) == pytest.approx(expected, rel=1e-6)
    assert bool(found.reason) == (name is None)
    assert found.distance <= 4e-6 if name else found.distance > 4e-6


@settings(max_examples=80, deadline=None)
@given(st.floats(0.05, 20.0))
def test_any_beta_is_recovered(beta: float) -> None:
    found = scalar(swish(beta))
    if found.name is None:
        assert found.settings["beta"] == pytest.approx(beta, rel=1e-5)
    else:
        assert abs(beta - {"silu": 1.0, "quick_gelu": 1.702}[found.name]) < 1e-3
    assert gate(lambda a, b: swish(beta)(a) * b).name == "swiglu"


@settings(max_examples=80, deadline=None)
@given(st.floats(1e-3, 0.99), st.floats(0.02, 50.0), st.floats(0.05, 20.0))
def test_any_member_of_a_family_keeps_its_name(slope: float, alpha: float, beta: float) -> None:
    for f, name, key, own, value in (
        (leaky(slope), "leaky_relu", "slope", 0.01, slope),
        (elu(alpha), "elu", "alpha", 1.0, alpha),
        (softplus(beta), "softplus", "beta", 1.0, beta),
    ):
        found = scalar(f)
        assert found.name == name
        assert found.settings.get(key, own) == pytest.approx(value, rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SCALARS), st.floats(1.0, 99.0).map(lambda x: float(f"{x:.3g}")))
def test_a_limit_takes_the_name_away(name: str, limit: float) -> None:
    """Where the limit bites, that is: tanh never reaches 1."""
    reference = get(name).reference
    found = scalar(lambda x: reference(np.minimum(x, limit)))
    bites = abs(float(reference(np.array([1000.0]))[0] - reference(np.array([limit]))[0])) / 1000.0 > 4e-6
    if bites:
        assert found.name is None
        assert {"high", "out_high"} & set(found.settings)
        assert found.nearest == name


OFF: dict[str, tuple[str, Callable[[float], Scalar]]] = {
    "slope of quick_gelu": ("quick_gelu", lambda k: swish(1.702 * k)),
    "slope of silu": ("silu", swish),
    "cubic of gelu_tanh": ("gelu_tanh", lambda k: lambda x: gelu_tanh(x, cubic=0.044715 * k)),
    "outer of gelu_tanh": ("gelu_tanh", lambda k: lambda x: gelu_tanh(x, outer=ROOT_2_OVER_PI * k)),
    "inner of gelu": ("gelu", lambda k: lambda x: gelu(x, math.sqrt(0.5) * k)),
    "half of gelu": ("gelu", lambda k: lambda x: k * gelu(x)),
    "alpha of selu": ("selu", lambda k: lambda x: 1.0507009873554805 * elu(1.6732632423543772 * k)(x)),
    "shift of hardswish": ("hardswish", lambda k: lambda x: x * np.clip(x + 3 * k, 0, 6) / 6),
    "limit of hardswish": ("hardswish", lambda k: lambda x: x * np.clip(x + 3, 0, 6 * k) / 6),
    "inside of mish": ("mish", lambda k: lambda x: x * np.tanh(np.logaddexp(0, k * x))),
    "slope of sigmoid": ("sigmoid", lambda k: lambda x: expit(k * x)),
    "slope of tanh": ("tanh", lambda k: lambda x: np.tanh(k * x)),
    "one of softplus": ("softplus", lambda k: lambda x: np.logaddexp(math.log(k), x)),
    "power of relu2": ("relu2", lambda k: lambda x: np.maximum(x, 0) ** (2 * k)),
}


@settings(max_examples=150, deadline=None)
# Up to 40 %: 1.702 * 0.5875 is 1, which makes quick_gelu silu, and half of relu2's power makes it relu.
@given(st.sampled_from(sorted(OFF)), st.floats(0.01, 0.4), st.booleans(), st.sampled_from(["float32", "float16"]))
def test_a_constant_one_percent_off_is_never_named(case: str, away: float, up: bool, dtype: str) -> None:
    name, family = OFF[case]
    found = scalar(family(1 + away if up else 1 - away), dtype)
    assert found.name is None
    assert found.reason
    assert scalar(family(1.0), dtype).name == name


@pytest.mark.parametrize("f", [gelu, gelu_tanh, swish(1.702)])
def test_the_three_gelus_are_three(f: Scalar) -> None:
    expected = {gelu: "gelu", gelu_tanh: "gelu_tanh"}.get(f, "quick_gelu")  # type: ignore[call-overload]
    assert scalar(f).name == expected
    assert gate(lambda a, b: f(a) * b).name == {"gelu": "geglu", "gelu_tanh": "geglu_tanh"}.get(expected, "swiglu")


def rounder(dtype: str) -> Callable[[float], float]:
    if dtype == "float16":
        return lambda x: float(np.float16(x))
    torch = pytest.importorskip("torch")
    return lambda x: float(torch.tensor(x, dtype=torch.float64).to(torch.bfloat16))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_constants_in_half_precision_still_tell_functions_apart(dtype: str) -> None:
    half = rounder(dtype)
    spelled: Mapping[str, Scalar] = {
        "gelu": lambda x: gelu(x, half(math.sqrt(0.5))),
        "gelu_tanh": lambda x: gelu_tanh(x, half(0.044715), half(ROOT_2_OVER_PI)),
        "quick_gelu": swish(half(1.702)),
        "hardswish": lambda x: x * np.clip(x * half(1 / 6) + 0.5, 0, 1),
        "leaky_relu": leaky(half(0.01)),
        "selu": lambda x: half(1.0507009873554805) * elu(half(1.6732632423543772))(x),
    }
    found = {name: scalar(f, dtype).name for name, f in spelled.items()}
    assert found == {name: name for name in spelled}
    assert scalar(swish(half(1.6)), dtype).name is None
    assert scalar(lambda x: gelu_tanh(x, half(0.04), half(ROOT_2_OVER_PI)), dtype).name is None
    gates = {"geglu": spelled["gelu"], "geglu_tanh": spelled["gelu_tanh"]}
    assert {name: gate(lambda a, b, f=f: f(a) * b, dtype).name for name, f in gates.items()} == {n: n for n in gates}


def test_rounded_constants_without_saying_so_are_not_the_function() -> None:
    half = rounder("float16")
    assert scalar(lambda x: gelu_tanh(x, half(0.044715), half(ROOT_2_OVER_PI))).name is None


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.log(1 + np.exp(x)),
        lambda x: x * np.tanh(np.log(1 + np.exp(x))),
        lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
        lambda x: x / (1 + np.exp(-x)),
    ],
)
def test_overflow_far_out_is_forgiven(f: Scalar) -> None:
    assert scalar(f).name in ("softplus", "mish", "tanh", "silu")


@pytest.mark.parametrize("f", [np.sqrt, np.log, lambda x: x / x, lambda x: np.where(x > 5, np.inf, x)])
def test_what_is_not_finite_has_no_name(f: Scalar) -> None:
    found = scalar(f)
    assert found.name is None
    assert found.distance == math.inf
    assert "not finite" in found.reason


@pytest.mark.parametrize("level", [0.0, 1.0, -3.5])
def test_a_constant_is_no_function_cut_off(level: float) -> None:
    found = scalar(lambda x: np.full_like(x, level))
    assert (found.name, dict(found.settings)) == (None, {})


def test_nothing_evaluated_has_no_nearest() -> None:
    found = scalar(lambda x: np.full_like(x, np.nan))
    assert (found.name, found.nearest) == (None, None)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(GatewiseError, match="bfloat16"):
        scalar(gelu, "bfloat61")
    with pytest.raises(GatewiseError, match="bfloat16"):
        gate(lambda a, b: a * b, "bfloat61")


def clamped(limit: float = 7.0, beta: float = 1.702, offset: float = 1.0) -> Gate:
    return lambda a, b: swish(beta)(np.minimum(a, limit)) * (np.clip(b, -limit, limit) + offset)


GATES: dict[str, tuple[Gate, str | None, str, dict[str, float]]] = {
    "beta": (lambda a, b: swish(1.3)(a) * b, "swiglu", "swiglu", {"beta": 1.3}),
    "quick": (lambda a, b: swish(1.702)(a) * b, "swiglu", "swiglu", {"beta": 1.702}),
    "limit 5": (clamped(5.0), "swiglu_clamped", "swiglu_clamped", {"limit": 5.0}),
    "beta 1": (clamped(beta=1.0), "swiglu_clamped", "swiglu_clamped", {"beta": 1.0}),
    "both": (clamped(10.0, 1.5), "swiglu_clamped", "swiglu_clamped", {"limit": 10.0, "beta": 1.5}),
    "offset lost": (
        clamped(offset=0.0),
        None,
        "swiglu",
        {"high": 7.0, "up_low": -7.0, "up_high": 7.0, "beta": 1.702},
    ),
    "clamps lost": (
        lambda a, b: swish(1.702)(a) * (b + 1),
        None,
        "swiglu_clamped",
        {"up_offset": 1.0, "beta": 1.702},
    ),
    "clamp of the gate lost": (
        lambda a, b: swish(1.702)(a) * (np.clip(b, -7, 7) + 1),
        None,
        "swiglu_clamped",
        {"up_low": -7.0, "up_high": 7.0, "up_offset": 1.0, "beta": 1.702},
    ),
    "two limits": (
        lambda a, b: swish(1.702)(np.minimum(a, 7)) * (np.clip(b, -6, 6) + 1),
        None,
        "swiglu_clamped",
        {"high": 7.0, "up_low": -6.0, "up_high": 6.0, "up_offset": 1.0, "beta": 1.702},
    ),
    "leaky": (lambda a, b: leaky(0.2)(a) * b, None, "bilinear", {"slope": 0.2}),
    "relu6": (lambda a, b: np.clip(b, 0, 6) * a, None, "reglu", {"out_high": 6.0}),
    "scaled": (lambda a, b: 2 * swish(1.0)(a) * b, None, "swiglu", {"scale": 2.0}),
}


@pytest.mark.parametrize("case", GATES)
def test_constants_of_gates_are_recovered(case: str) -> None:
    f, name, nearest, expected = GATES[case]
    found = gate(f)
    assert (found.name, found.nearest) == (name, nearest)
    assert dict(found.settings) == pytest.approx(expected, rel=1e-5)
    assert bool(found.reason) == (name is None)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: np.tanh(a) * expit(b),
        lambda a, b: np.maximum(a, 0) * np.maximum(b, 0),
        lambda a, b: swish(1.0)(a) * b + 0.01 * a,
        lambda a, b: np.sqrt(a) * b,
        lambda a, b: a / b,
    ],
)
def test_what_is_no_gate(f: Gate) -> None:
    found = gate(f)
    assert found.name is None
    assert found.reason.startswith("it is no product")


@pytest.mark.parametrize("name", ["tanh", "softplus", "relu2", "mish", "selu"])
def test_a_gate_whose_act_is_not_among_the_gates(name: str) -> None:
    found = gate(lambda a, b: get(name).reference(a) * b)
    assert found.name is None
    assert f"act is {name}" in found.reason
    assert found.nearest is not None


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(OFF)), st.floats(0.01, 0.3), st.booleans())
def test_a_gate_with_a_constant_off_is_never_plain(case: str, away: float, up: bool) -> None:
    """x * sigmoid(beta x) keeps the name swiglu, with its beta."""
    f = OFF[case][1](1 + away if up else 1 - away)
    found = gate(lambda a, b: f(a) * b)
    assert found.name is None or (found.name == "swiglu" and abs(found.settings["beta"] - 1.0) > 5e-3)
