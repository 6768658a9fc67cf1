"""The piecewise functions: relu, leaky_relu, relu2, hardswish, and identity."""

import numpy as np

from ._numeric import quiet, with_limits
from ._spec import MAX, Array, Bound, Budget, Deviation, Paper, Spec

_INF = float("inf")
_NAN = float("nan")
_SLOPE = 0.01


def _step(x: Array, left: Array | float, right: Array | float) -> Array:
    return np.where(np.isnan(x), x, np.where(x > 0, right, left))


@quiet
def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


@quiet
def _relu_derivative(x: Array) -> Array:
    return _step(x, 0.0, 1.0)


@quiet
def _leaky(x: Array) -> Array:
    return np.where(x > 0, x, _SLOPE * x)


@quiet
def _leaky_derivative(x: Array) -> Array:
    return _step(x, _SLOPE, 1.0)


@quiet
def _relu2(x: Array) -> Array:
    return np.square(np.maximum(x, 0.0))


@quiet
def _relu2_derivative(x: Array) -> Array:
    return 2.0 * np.maximum(x, 0.0)


@quiet
def _hardswish(x: Array) -> Array:
    return with_limits(x, x * (np.clip(x + 3.0, 0.0, 6.0) / 6.0), 0.0, _INF)


@quiet
def _hardswish_derivative(x: Array) -> Array:
    return np.where(x <= -3.0, 0.0, np.where(x < 3.0, x / 3.0 + 0.5, _step(x, 0.0, 1.0)))


@quiet
def _identity(x: Array) -> Array:
    return x


@quiet
def _identity_derivative(x: Array) -> Array:
    return _step(x, 1.0, 1.0)


RELU = Spec(
    name="relu",
    kind="scalar",
    formula="max(x, 0)",
    paper=Paper(
        author="Nair & Hinton",
        year=2010,
        title="Rectified linear units improve restricted Boltzmann machines",
        source="ICML 2010",
    ),
    implementation="torch.nn.functional.relu",
    reference=_relu,
    derivative=_relu_derivative,
    stock="._stock:relu",
    minimum=(0.0, 0.0),
    lipschitz=1.0,
    curvature=_INF,
    kinks=(0.0,),
    budgets={
        "float32": Budget(value=Bound(ulp=0), gradient=Bound(ulp=0)),
        "bfloat16": Budget(value=Bound(ulp=0), gradient=Bound(ulp=0)),
    },
    deviations=(Deviation(what="gradient", low=_NAN, high=_NAN, torch=1.0),),
)

LEAKY_RELU = Spec(
    name="leaky_relu",
    kind="scalar",
    formula="x if x > 0 else 0.01 x",
    paper=Paper(
        author="Maas, Hannun & Ng",
        year=2013,
        title="Rectifier nonlinearities improve neural network acoustic models",
        source="ICML 2013 workshop on deep learning for audio, speech and language",
    ),
    implementation="torch.nn.functional.leaky_relu(negative_slope=0.01)",
    reference=_leaky,
    derivative=_leaky_derivative,
    stock="._stock:leaky_relu",
    minimum=None,
    lipschitz=1.0,
    curvature=_INF,
    kinks=(0.0,),
    budgets={
        "float32": Budget(value=Bound(ulp=1.7), gradient=Bound(ulp=0.48)),
        "bfloat16": Budget(value=Bound(ulp=0.96), gradient=Bound(ulp=0.32)),
    },
    deviations=(Deviation(what="gradient", low=_NAN, high=_NAN, torch=_SLOPE),),
)

RELU2 = Spec(
    name="relu2",
    kind="scalar",
    formula="max(x, 0)^2",
    paper=Paper(
        author="So et al.",
        year=2021,
        title="Primer: searching for efficient transformers for language modeling",
        arxiv="2109.08668",
    ),
    implementation="torch.nn.functional.relu(x).square()",
    reference=_relu2,
    derivative=_relu2_derivative,
    stock="._stock:relu2",
    minimum=(0.0, 0.0),
    lipschitz=_INF,
    curvature=2.0,
    kinks=(0.0,),
    budgets={
        "float32": Budget(value=Bound(ulp=1), gradient=Bound(ulp=0)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(ulp=0)),
    },
)

HARDSWISH = Spec(
    name="hardswish",
    kind="scalar",
    formula="x * clip(x + 3, 0, 6) / 6",
    paper=Paper(author="Howard et al.", year=2019, title="Searching for MobileNetV3", arxiv="1905.02244"),
    implementation="torch.nn.functional.hardswish",
    reference=_hardswish,
    derivative=_hardswish_derivative,
    stock="._stock:hardswish",
    minimum=(-1.5, -0.375),
    lipschitz=1.5,
    curvature=_INF,
    kinks=(-3.0, 3.0),
    budgets={
        "float32": Budget(value=Bound(ulp=3.5), gradient=Bound(ulp=1.3, start=0.0, absolute=4e-08)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(ulp=1, start=0.0, absolute=0.002)),
    },
    deviations=(
        Deviation(what="value", low=-_INF, high=-_INF, torch=_NAN),
        Deviation(what="value", low=2.0**128 / 6, high=MAX, torch=_INF),
        Deviation(what="gradient", low=_NAN, high=_NAN, torch=1.0, always=False),
    ),
)

IDENTITY = Spec(
    name="identity",
    kind="scalar",
    formula="x",
    paper=Paper(
        author="Saxe, McClelland & Ganguli",
        year=2013,
        title="Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
        arxiv="1312.6120",
    ),
    implementation="the input tensor itself",
    reference=_identity,
    derivative=_identity_derivative,
    stock="._stock:identity",
    minimum=None,
    lipschitz=1.0,
    curvature=0.0,
    budgets={
        "float32": Budget(value=Bound(ulp=0), gradient=Bound(ulp=0)),
        "bfloat16": Budget(value=Bound(ulp=0), gradient=Bound(ulp=0)),
    },
    deviations=(Deviation(what="gradient", low=_NAN, high=_NAN, torch=1.0),),
)
