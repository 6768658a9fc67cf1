"""The exponential linear units: elu and selu."""

import numpy as np

from ._numeric import quiet
from ._spec import Array, Bound, Budget, Deviation, Paper, Spec

_NAN = float("nan")
# The fixed-point constants of the paper's theorem, to float64.
_ALPHA = 1.6732632423543772848170429916717
_SCALE = 1.0507009873554804934193349852946


@quiet
def _elu(x: Array) -> Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


@quiet
def _elu_derivative(x: Array) -> Array:
    return np.exp(np.minimum(x, 0.0))


@quiet
def _selu(x: Array) -> Array:
    return _SCALE * np.where(x > 0, x, _ALPHA * np.expm1(np.minimum(x, 0.0)))


@quiet
def _selu_derivative(x: Array) -> Array:
    return _SCALE * np.where(x > 0, 1.0, _ALPHA * np.exp(np.minimum(x, 0.0)))


ELU = Spec(
    name="elu",
    kind="scalar",
    formula="x if x > 0 else e^x - 1",
    paper=Paper(
        author="Clevert, Unterthiner & Hochreiter",
        year=2015,
        title="Fast and accurate deep network learning by exponential linear units (ELUs)",
        arxiv="1511.07289",
    ),
    implementation="torch.nn.functional.elu(alpha=1.0)",
    reference=_elu,
    derivative=_elu_derivative,
    stock="._stock:elu",
    minimum=None,
    lipschitz=1.0,
    curvature=1.0,
    kinks=(0.0,),
    budgets={
        "float32": Budget(value=Bound(ulp=2), gradient=Bound(ulp=1.9)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(ulp=1)),
    },
    deviations=(Deviation(what="gradient", low=_NAN, high=_NAN, torch=1.0, always=False),),
)

SELU = Spec(
    name="selu",
    kind="scalar",
    formula="s * (x if x > 0 else a (e^x - 1)), a = 1.6732632423543772, s = 1.0507009873554805",
    paper=Paper(author="Klambauer et al.", year=2017, title="Self-normalizing neural networks", arxiv="1706.02515"),
    implementation="torch.nn.functional.selu",
    reference=_selu,
    derivative=_selu_derivative,
    stock="._stock:selu",
    minimum=None,
    lipschitz=_SCALE * _ALPHA,
    curvature=float("inf"),
    kinks=(0.0,),
    budgets={
        "float32": Budget(value=Bound(ulp=3.1), gradient=Bound(ulp=3.3)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(ulp=1)),
    },
    deviations=(Deviation(what="gradient", low=_NAN, high=_NAN, torch=_SCALE, always=False),),
)
