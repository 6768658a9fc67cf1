"""The Gaussian error linear unit and its two approximations: gelu, gelu_tanh, quick_gelu."""

import numpy as np
from scipy.special import expit

from ._numeric import QUICK_SLOPE, cdf_times, density_times, near, quiet, sigmoid_times, with_limits
from ._spec import MAX, Array, Bound, Budget, Deviation, Paper, Spec

_INF = float("inf")
_NAN = float("nan")
_SQRT_2_OVER_PI = 0.7978845608028653559
_CUBIC = 0.044715


@quiet
def _gelu(x: Array) -> Array:
    return with_limits(
        x, np.where(x > 0, x * cdf_times(np.ones_like(x), near(x)), cdf_times(near(x), near(x))), -0.0, _INF
    )


@quiet
def _gelu_derivative(x: Array) -> Array:
    z = near(x)
    return cdf_times(np.ones_like(z), z) + density_times(z, z)


def _tanh_logit(z: Array) -> Array:
    """2u, where 0.5 (1 + tanh u) = sigmoid(2u)."""
    return 2.0 * _SQRT_2_OVER_PI * (z + _CUBIC * z**3)


@quiet
def _gelu_tanh(x: Array) -> Array:
    z = near(x)
    logit = _tanh_logit(z)
    return with_limits(x, np.where(x > 0, x * expit(logit), sigmoid_times(z, logit)), -0.0, _INF)


@quiet
def _gelu_tanh_derivative(x: Array) -> Array:
    z = near(x)
    logit = _tanh_logit(z)
    slope = 2.0 * _SQRT_2_OVER_PI * (1.0 + 3.0 * _CUBIC * z * z)
    return sigmoid_times(1.0 + z * slope * expit(-logit), logit)


@quiet
def _quick(x: Array) -> Array:
    z = near(x)
    return with_limits(x, np.where(x > 0, x * expit(QUICK_SLOPE * z), sigmoid_times(z, QUICK_SLOPE * z)), -0.0, _INF)


@quiet
def _quick_derivative(x: Array) -> Array:
    z = QUICK_SLOPE * near(x)
    return sigmoid_times(1.0 + z * expit(-z), z)


_PAPER = Paper(author="Hendrycks & Gimpel", year=2016, title="Gaussian error linear units (GELUs)", arxiv="1606.08415")

GELU = Spec(
    name="gelu",
    kind="scalar",
    formula="x * Phi(x) = 0.5 x (1 + erf(x / sqrt 2))",
    paper=_PAPER,
    implementation='torch.nn.functional.gelu(approximate="none")',
    reference=_gelu,
    derivative=_gelu_derivative,
    stock="._stock:gelu",
    minimum=(-0.75179152469356446, -0.16997120747990366),
    lipschitz=1.1289041451851548,  # f'(sqrt 2)
    curvature=_SQRT_2_OVER_PI,
    budgets={
        "float32": Budget(
            value=Bound(ulp=14, start=-1.0, absolute=1.6e-6, tight_on="AVX512"),
            gradient=Bound(ulp=8.9, start=0.0, absolute=5.2e-07),
        ),
        "bfloat16": Budget(
            value=Bound(ulp=1, start=-1.0, absolute=0.00093), gradient=Bound(ulp=1, start=0.0, absolute=0.0019)
        ),
    },
    deviations=(
        Deviation(what="value", low=-_INF, high=-_INF, torch=_NAN),
        Deviation(what="value", low=_INF, high=_INF, torch=_NAN, always=False),
        Deviation(what="value", low=2.0**127, high=MAX, torch=_INF, always=False),
        Deviation(what="gradient", low=-_INF, high=-_INF, torch=_NAN),
        Deviation(what="gradient", low=_INF, high=_INF, torch=_NAN),
    ),
)

GELU_TANH = Spec(
    name="gelu_tanh",
    kind="scalar",
    formula="0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))",
    paper=_PAPER,
    implementation='torch.nn.functional.gelu(approximate="tanh")',
    reference=_gelu_tanh,
    derivative=_gelu_tanh_derivative,
    stock="._stock:gelu_tanh",
    minimum=(-0.75246142207101626, -0.17004075057125405),
    lipschitz=1.1289930686587718,
    curvature=_SQRT_2_OVER_PI,
    budgets={
        "float32": Budget(
            value=Bound(ulp=4.5, start=-1.0, absolute=3e-07), gradient=Bound(ulp=17, start=0.0, absolute=2.1e-06)
        ),
        "bfloat16": Budget(
            value=Bound(ulp=1, start=-1.0, absolute=0.00098), gradient=Bound(ulp=1, start=0.0, absolute=0.0019)
        ),
    },
    deviations=(
        Deviation(what="value", low=-_INF, high=-_INF, torch=_NAN),
        Deviation(what="gradient", low=-_INF, high=-(2.0**64), torch=_NAN),
        Deviation(what="gradient", low=2.0**64, high=_INF, torch=_NAN),
    ),
)

QUICK_GELU = Spec(
    name="quick_gelu",
    kind="scalar",
    formula="x * sigmoid(1.702 x)",
    paper=_PAPER,
    implementation="x * torch.sigmoid(1.702 * x)",
    reference=_quick,
    derivative=_quick_derivative,
    stock="._stock:quick_gelu",
    minimum=(-0.75115425544128895, -0.16361018963635358),
    lipschitz=1.0998393201288669,
    curvature=QUICK_SLOPE / 2,
    budgets={
        "float32": Budget(
            value=Bound(ulp=160, start=-50.0, absolute=2.6e-37), gradient=Bound(ulp=16, start=0.0, absolute=1.4e-07)
        ),
        "bfloat16": Budget(
            value=Bound(ulp=21, start=-10.0, absolute=2.9e-08), gradient=Bound(ulp=3.4, start=0.0, absolute=0.0041)
        ),
    },
    deviations=(
        Deviation(what="value", low=-_INF, high=-_INF, torch=_NAN),
        Deviation(what="gradient", low=-_INF, high=-_INF, torch=_NAN),
        Deviation(what="gradient", low=_INF, high=_INF, torch=_NAN),
    ),
)
