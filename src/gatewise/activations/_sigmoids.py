"""The functions built on the logistic sigmoid: sigmoid, tanh, silu, softplus, mish."""

import numpy as np
from scipy.special import expit

from ._numeric import near, quiet, sigmoid_times, with_limits
from ._spec import Array, Bound, Budget, Deviation, Paper, Spec

_INF = float("inf")
_NAN = float("nan")


@quiet
def _sigmoid(x: Array) -> Array:
    return sigmoid_times(np.ones_like(x), x)


@quiet
def _sigmoid_derivative(x: Array) -> Array:
    return sigmoid_times(expit(np.abs(x)), -np.abs(x))


@quiet
def _tanh(x: Array) -> Array:
    return np.tanh(x)


@quiet
def _tanh_derivative(x: Array) -> Array:
    # 1 - tanh^2 cancels; 4 sigmoid(2x) sigmoid(-2x) is the same and does not.
    return sigmoid_times(4.0 * expit(2.0 * np.abs(x)), -2.0 * np.abs(x))


@quiet
def _silu(x: Array) -> Array:
    z = near(x)
    return with_limits(x, np.where(x > 0, x * expit(z), sigmoid_times(z, z)), -0.0, _INF)


@quiet
def _silu_derivative(x: Array) -> Array:
    z = near(x)
    return sigmoid_times(1.0 + z * expit(-z), z)


@quiet
def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def _gate_of_mish(z: Array) -> tuple[Array, Array]:
    """t = tanh(softplus(z)) and 1 - t^2, from whichever of e^z and e^-z is small, so that nothing cancels."""
    w = np.exp(-np.abs(z))
    n = w * (w + 2.0)
    d = 1.0 + 2.0 * w * (1.0 + w)
    t = np.where(z < 0, n / (n + 2.0), (1.0 + 2.0 * w) / d)
    return t, np.where(z < 0, 4.0 * (n + 1.0) / (n + 2.0) ** 2, 4.0 * (w * (1.0 + w) / d) ** 2)


@quiet
def _mish(x: Array) -> Array:
    z = near(x)
    # Left of -40 tanh(softplus(x)) = e^x = sigmoid(x) to the last bit.
    left = np.where(z < -40, sigmoid_times(z, z), z * _gate_of_mish(z)[0])
    return with_limits(x, np.where(x > 0, x * _gate_of_mish(z)[0], left), -0.0, _INF)


@quiet
def _mish_derivative(x: Array) -> Array:
    z = near(x)
    t, complement = _gate_of_mish(z)
    return np.where(z < -40, sigmoid_times(1.0 + z, z), t + z * complement * expit(z))


# x * 0 at an infinite x, in forward and backward.
_AT_INFINITY = (
    Deviation(what="value", low=-_INF, high=-_INF, torch=_NAN),
    Deviation(what="gradient", low=-_INF, high=-_INF, torch=_NAN),
    Deviation(what="gradient", low=_INF, high=_INF, torch=_NAN),
)

SIGMOID = Spec(
    name="sigmoid",
    kind="scalar",
    formula="1 / (1 + e^-x)",
    paper=Paper(
        author="Rumelhart, Hinton & Williams",
        year=1986,
        title="Learning representations by back-propagating errors",
        source="Nature 323",
    ),
    implementation="torch.sigmoid",
    reference=_sigmoid,
    derivative=_sigmoid_derivative,
    stock="._stock:sigmoid",
    minimum=None,
    lipschitz=0.25,
    curvature=1.0 / (6.0 * 3.0**0.5),
    budgets={
        "float32": Budget(value=Bound(ulp=4, start=-87.0, absolute=0), gradient=Bound(start=_INF, absolute=1.8e-07)),
        "bfloat16": Budget(value=Bound(ulp=1, start=-87.0, absolute=0), gradient=Bound(start=_INF, absolute=0.0038)),
    },
)

TANH = Spec(
    name="tanh",
    kind="scalar",
    formula="tanh x",
    paper=Paper(
        author="LeCun, Bottou, Orr & Mueller",
        year=1998,
        title="Efficient BackProp",
        source="Neural Networks: Tricks of the Trade, LNCS 1524",
    ),
    implementation="torch.tanh",
    reference=_tanh,
    derivative=_tanh_derivative,
    stock="._stock:tanh",
    minimum=None,
    lipschitz=1.0,
    curvature=4.0 / (3.0 * 3.0**0.5),
    budgets={
        "float32": Budget(value=Bound(ulp=1), gradient=Bound(start=_INF, absolute=1.3e-07)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(start=_INF, absolute=0.0079)),
    },
)

SILU = Spec(
    name="silu",
    kind="scalar",
    formula="x * sigmoid(x)",
    paper=Paper(
        author="Elfwing, Uchibe & Doya",
        year=2017,
        title="Sigmoid-weighted linear units for neural network function approximation in reinforcement learning",
        arxiv="1702.03118",
    ),
    implementation="torch.nn.functional.silu",
    reference=_silu,
    derivative=_silu_derivative,
    stock="._stock:silu",
    minimum=(-1.2784645427610738, -0.27846454276107380),
    lipschitz=1.0998393201288669,
    curvature=0.5,
    budgets={
        "float32": Budget(
            value=Bound(ulp=4.3, start=-87.0, absolute=4.7e-37), gradient=Bound(ulp=16, start=0.0, absolute=1.7e-07)
        ),
        "bfloat16": Budget(
            value=Bound(ulp=1, start=-87.0, absolute=3.5e-37), gradient=Bound(ulp=1, start=0.0, absolute=0.002)
        ),
    },
    deviations=_AT_INFINITY,
)

SOFTPLUS = Spec(
    name="softplus",
    kind="scalar",
    formula="log(1 + e^x)",
    paper=Paper(
        author="Dugas et al.",
        year=2000,
        title="Incorporating second-order functional knowledge for better option pricing",
        source="NIPS 2000",
    ),
    implementation="torch.nn.functional.softplus(beta=1, threshold=20)",
    reference=_softplus,
    derivative=_sigmoid,
    stock="._stock:softplus",
    minimum=None,
    lipschitz=1.0,
    curvature=0.25,
    budgets={
        "float32": Budget(value=Bound(ulp=2.7), gradient=Bound(ulp=4.1)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(ulp=1)),
    },
)

MISH = Spec(
    name="mish",
    kind="scalar",
    formula="x * tanh(softplus(x))",
    paper=Paper(
        author="Misra",
        year=2019,
        title="Mish: a self regularized non-monotonic activation function",
        arxiv="1908.08681",
    ),
    implementation="torch.nn.functional.mish",
    reference=_mish,
    derivative=_mish_derivative,
    stock="._stock:mish",
    minimum=(-1.1924312145154952, -0.30884341301725041),
    lipschitz=1.0884981612517279,
    curvature=0.64420463723697243,
    budgets={
        "float32": Budget(
            value=Bound(ulp=5.1, start=-87.0, absolute=0), gradient=Bound(ulp=16, start=0.0, absolute=1.6e-07)
        ),
        "bfloat16": Budget(
            value=Bound(ulp=1, start=-87.0, absolute=0), gradient=Bound(ulp=1, start=0.0, absolute=0.0039)
        ),
    },
    deviations=_AT_INFINITY,
)
