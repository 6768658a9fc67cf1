"""The gated units, act(gate) * up: glu, bilinear, reglu, geglu, geglu_tanh, swiglu, swiglu_clamped."""

import numpy as np

from ._gelus import GELU, GELU_TANH, QUICK_GELU
from ._numeric import CLAMP_LIMIT
from ._relus import IDENTITY, RELU
from ._sigmoids import SIGMOID, SILU
from ._spec import Array, Bound, Budget, Deviation, Paper, Spec

_SHAZEER = Paper(author="Shazeer", year=2020, title="GLU variants improve transformer", arxiv="2002.05202")
_INF = float("inf")
_NAN = float("nan")

# Measured, as every budget; see `Bound`.
_BUDGETS: dict[str, dict[str, Budget]] = {
    "glu": {
        "float32": Budget(value=Bound(ulp=4.5, start=-87.0, absolute=0), gradient=Bound(start=_INF, absolute=1.8e-07)),
        "bfloat16": Budget(value=Bound(ulp=2.6, start=-87.0, absolute=0), gradient=Bound(start=_INF, absolute=0.0038)),
    },
    "bilinear": {
        "float32": Budget(value=Bound(ulp=1), gradient=Bound(ulp=0)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(ulp=0)),
    },
    "reglu": {
        "float32": Budget(value=Bound(ulp=1), gradient=Bound(ulp=0)),
        "bfloat16": Budget(value=Bound(ulp=1), gradient=Bound(ulp=0)),
    },
    "geglu": {
        "float32": Budget(
            value=Bound(ulp=14, start=-1.0, absolute=1.6e-6, tight_on="AVX512"),
            gradient=Bound(ulp=14, start=0.0, absolute=4.2e-07),
        ),
        "bfloat16": Budget(
            value=Bound(ulp=2.6, start=-1.0, absolute=0.00093), gradient=Bound(ulp=1, start=0.0, absolute=0.00026)
        ),
    },
    "geglu_tanh": {
        "float32": Budget(
            value=Bound(ulp=7.4, start=-1.0, absolute=3e-07), gradient=Bound(ulp=32, start=0.0, absolute=2.1e-06)
        ),
        "bfloat16": Budget(
            value=Bound(ulp=2.6, start=-1.0, absolute=0.00098), gradient=Bound(ulp=1, start=0.0, absolute=0.00026)
        ),
    },
    "swiglu": {
        "float32": Budget(
            value=Bound(ulp=4.8, start=-87.0, absolute=5e-37), gradient=Bound(ulp=33, start=0.0, absolute=1.2e-07)
        ),
        "bfloat16": Budget(
            value=Bound(ulp=2.4, start=-87.0, absolute=3.5e-37), gradient=Bound(ulp=1, start=0.0, absolute=0.00016)
        ),
    },
    "swiglu_clamped": {
        "float32": Budget(
            value=Bound(ulp=160, start=-50.0, absolute=2.8e-37), gradient=Bound(ulp=20, start=0.0, absolute=1.3e-07)
        ),
        "bfloat16": Budget(
            value=Bound(ulp=25, start=-10.0, absolute=2.9e-08), gradient=Bound(ulp=4.9, start=0.0, absolute=0.0039)
        ),
    },
}


def _gated(name: str, act: Spec, stock: str, implementation: str, paper: Paper = _SHAZEER) -> Spec:
    def reference(gate: Array, up: Array) -> Array:
        with np.errstate(all="ignore"):
            return act.reference(gate) * np.asarray(up, dtype=np.float64)

    def derivative(gate: Array, up: Array) -> tuple[Array, Array]:
        with np.errstate(all="ignore"):
            up = np.asarray(up, dtype=np.float64)
            return act.derivative(gate) * up, act.reference(gate) * np.ones_like(up)

    return Spec(
        name=name,
        kind="gate",
        formula=f"{act.name}(gate) * up",
        paper=paper,
        implementation=implementation,
        reference=reference,
        derivative=derivative,
        stock=stock,
        minimum=None,
        lipschitz=_INF,
        curvature=None,
        kinks=act.kinks,
        budgets=_BUDGETS[name],
        deviations=act.deviations,
        act=act.name,
    )


GLU = _gated(
    "glu",
    SIGMOID,
    "._stock:glu",
    "torch.sigmoid(gate) * up",
    Paper(
        author="Dauphin et al.",
        year=2016,
        title="Language modeling with gated convolutional networks",
        arxiv="1612.08083",
    ),
)
BILINEAR = _gated("bilinear", IDENTITY, "._stock:bilinear", "gate * up")
REGLU = _gated("reglu", RELU, "._stock:reglu", "torch.nn.functional.relu(gate) * up")
GEGLU = _gated("geglu", GELU, "._stock:geglu", "torch.nn.functional.gelu(gate) * up")
GEGLU_TANH = _gated(
    "geglu_tanh", GELU_TANH, "._stock:geglu_tanh", 'torch.nn.functional.gelu(gate, approximate="tanh") * up'
)
SWIGLU = _gated("swiglu", SILU, "._stock:swiglu", "torch.nn.functional.silu(gate) * up")


def _clamped(gate: Array, up: Array) -> Array:
    limit = CLAMP_LIMIT
    with np.errstate(all="ignore"):
        return QUICK_GELU.reference(np.minimum(gate, limit)) * (np.clip(up, -limit, limit) + 1.0)


def _clamped_derivative(gate: Array, up: Array) -> tuple[Array, Array]:
    limit = CLAMP_LIMIT
    gate, up = np.asarray(gate, dtype=np.float64), np.asarray(up, dtype=np.float64)
    with np.errstate(all="ignore"):
        clamped = np.minimum(gate, limit)
        by_gate = QUICK_GELU.derivative(clamped) * (np.clip(up, -limit, limit) + 1.0)
        by_up = QUICK_GELU.reference(clamped) * np.ones_like(up)
        return np.where(gate > limit, 0.0 * by_gate, by_gate), np.where(np.abs(up) > limit, 0.0 * by_up, by_up)


SWIGLU_CLAMPED = Spec(
    name="swiglu_clamped",
    kind="gate",
    formula="(clip(up, -7, 7) + 1) * g * sigmoid(1.702 g), g = min(gate, 7)",
    paper=Paper(
        author="OpenAI",
        year=2025,
        title="gpt-oss-120b & gpt-oss-20b model card",
        arxiv="2508.10925",
        source="github.com/openai/gpt-oss, gpt_oss/torch/model.py, swiglu",
    ),
    implementation="clamp both, then (up + 1) * (gate * torch.sigmoid(gate * 1.702))",
    reference=_clamped,
    derivative=_clamped_derivative,
    stock="._stock:swiglu_clamped",
    minimum=None,
    # Both clamps together bound the gradient; the supremum is at gate = up = 7.
    lipschitz=10.630554937055914,
    curvature=None,
    kinks=(-7.0, 7.0),
    budgets=_BUDGETS["swiglu_clamped"],
    act="quick_gelu",
    deviations=(
        Deviation(what="value", low=-_INF, high=-_INF, torch=_NAN),
        Deviation(what="gradient", low=-_INF, high=-(2.0**125), torch=_NAN, up=7.0),
        Deviation(what="gradient", low=-_INF, high=-(2.0**127), torch=_NAN),
        Deviation(what="gradient", low=_NAN, high=_NAN, torch=0.0),
    ),
)
