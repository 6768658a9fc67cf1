"""The float64 references against 60-digit arithmetic, in the middle and deep in the tails."""

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from gatewise.activations import get, names

Exact = Callable[[mpf], mpf]


def sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-x))


def cdf(x: mpf) -> mpf:
    # Beyond 1e4 the tail is below 10^-20000000, which is nothing to a float64.
    return mpf(x > 0) if abs(x) > 1e4 else mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def density(x: mpf) -> mpf:
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)


def tanh_logit(x: mpf) -> mpf:
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3)


def tanh_logit_slope(x: mpf) -> mpf:
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (1 + 3 * mpf("0.044715") * x**2)


def silu_slope(x: mpf) -> mpf:
    return sigmoid(x) * (1 + x * sigmoid(-x))


def mish_gate(x: mpf) -> mpf:
    return mpmath.tanh(mpmath.log1p(mpmath.exp(x)))


A, S = mpf("1.6732632423543772848170429916717"), mpf("1.0507009873554804934193349852946")
# The constants of the specs are float64, so the exact ones are too.
SLOPE = mpf(1.702)

# name: (value, derivative)
EXACT: dict[str, tuple[Exact, Exact]] = {
    "relu": (lambda x: max(x, mpf(0)), lambda x: mpf(x > 0)),
    "leaky_relu": (lambda x: x if x > 0 else mpf(0.01) * x, lambda x: mpf(1) if x > 0 else mpf(0.01)),
    "relu2": (lambda x: max(x, mpf(0)) ** 2, lambda x: 2 * max(x, mpf(0))),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), lambda x: mpf(1) if x > 0 else mpmath.exp(x)),
    "selu": (
        lambda x: S * (x if x > 0 else A * mpmath.expm1(x)),
        lambda x: S * (mpf(1) if x > 0 else A * mpmath.exp(x)),
    ),
    "gelu": (lambda x: x * cdf(x), lambda x: cdf(x) + x * density(x)),
    "gelu_tanh": (
        lambda x: x * sigmoid(tanh_logit(x)),
        lambda x: sigmoid(tanh_logit(x)) * (1 + x * tanh_logit_slope(x) * sigmoid(-tanh_logit(x))),
    ),
    "quick_gelu": (lambda x: x * sigmoid(SLOPE * x), lambda x: silu_slope(SLOPE * x)),
    "silu": (lambda x: x * sigmoid(x), silu_slope),
    "mish": (
        lambda x: x * mish_gate(x),
        lambda x: mish_gate(x) + x * mpmath.sech(mpmath.log1p(mpmath.exp(x))) ** 2 * sigmoid(x),
    ),
    "hardswish": (
        lambda x: x * min(max(x + 3, mpf(0)), mpf(6)) / 6,
        lambda x: mpf(0) if x <= -3 else (mpf(1) if x >= 3 else x / 3 + mpf(1) / 2),
    ),
    "softplus": (lambda x: mpmath.log1p(mpmath.exp(x)), sigmoid),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
    "identity": (lambda x: x, lambda x: mpf(1)),
}

MIDDLE = [-12.3, -6.5, -4.0, -3.0, -2.2, -1.3, -0.751, -0.5, -1e-3, -1e-8, -1e-300, 1e-300, 1e-8, 1e-3, 0.5, 1.4]
MIDDLE += [2.9, 4.0, 6.5, 12.3, 21.0]
TAILS = [-1e300, -1e20, -1e4, -800.0, -746.0, -744.4, -740.0, -708.0, -200.0, -100.0, -40.1, -39.9, -38.6, -37.6]
TAILS += [-30.0, -20.0, 30.0, 40.1, 100.0, 800.0, 1e4, 1e20, 1e150]


def test_every_scalar_function_has_an_exact_twin() -> None:
    assert set(EXACT) == set(names("scalar"))


@pytest.mark.parametrize("what", ["value", "derivative"])
@pytest.mark.parametrize("name", sorted(EXACT))
def test_reference_against_sixty_digits(name: str, what: str) -> None:
    spec = get(name)
    function = spec.reference if what == "value" else spec.derivative
    with mpmath.workdps(60):
        for x in (*MIDDLE, *TAILS):
            exact = EXACT[name][what == "derivative"](mpf(x))
            got = float(function(np.array([x]))[0])
            # Where f' crosses zero its error is absolute; a subnormal result has fewer bits than eps.
            scale = max(abs(exact), mpf(1e-2) if what == "derivative" and abs(x) < 5 else mpf(0))
            assert abs(mpf(got) - exact) <= 4e-13 * scale + mpf(5e-324), (x, got, mpmath.nstr(exact, 17))


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("relu", 0.0, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("relu2", 0.0, np.inf),
        ("elu", -1.0, np.inf),
        ("selu", -1.7580993408473766, np.inf),
        ("gelu", -0.0, np.inf),
        ("gelu_tanh", -0.0, np.inf),
        ("quick_gelu", -0.0, np.inf),
        ("silu", -0.0, np.inf),
        ("mish", -0.0, np.inf),
        ("hardswish", 0.0, np.inf),
        ("softplus", 0.0, np.inf),
        ("sigmoid", 0.0, 1.0),
        ("tanh", -1.0, 1.0),
        ("identity", -np.inf, np.inf),
    ],
)
def test_the_limits(name: str, left: float, right: float) -> None:
    got = get(name).reference(np.array([-np.inf, np.inf]))
    np.testing.assert_array_equal(got, [left, right])
    assert np.signbit(got[0]) == np.signbit(left)
    slopes = get(name).derivative(np.array([-np.inf, np.inf]))
    far = get(name).derivative(np.array([-1e300, 1e300]))
    np.testing.assert_array_equal(slopes, np.where(far > 1e290, np.inf, far))


def test_the_tails_named_in_the_plan() -> None:
    def value(name: str, x: float) -> float:
        return float(get(name).reference(np.array([x]))[0])

    # x Phi(x) ~ -phi(x) (1 - 1 / x^2 + ...) at -30
    assert value("gelu", -30.0) == pytest.approx(-1.4720141867e-196, rel=1e-9)
    assert value("silu", -740.0) == pytest.approx(-740 * float(mpmath.exp(-740)), rel=1e-12)
    assert value("silu", -800.0) == 0.0
    assert value("softplus", 800.0) == 800.0
    assert value("softplus", -700.0) == pytest.approx(float(mpmath.exp(-700)), rel=1e-13)
