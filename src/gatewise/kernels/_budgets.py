"""How accurate the kernels are: what is promised of all of them, and what was measured of each.

A precision is `float32` (accuracy `default`), `float32_high` or `bfloat16`. A path is an instruction set.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gatewise.activations import Bound, Budget

DTYPES = {"float32": "float32", "float32_high": "float32", "bfloat16": "bfloat16"}
PRECISIONS = tuple(DTYPES)
NEAR, RIGHT = 5.0, -2.0
"""The (gate) inputs that some promises are about: |x| <= NEAR, and x >= RIGHT."""
TIE = 2.0**-14
"""Units of bfloat16. Two numbers of float32 next to each other are at most 2^-15 apart."""
_INF = float("inf")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Largest errors against float64, promised or seen; infinite where nothing is promised.

    Units in the last place are those of the right result in the dtype. What multiplies the activation of a gate is
    `up`, clipped and plus 1 in `swiglu_clamped`. Absolute errors of a gate are for each unit of it, without the
    rounding of the product. Where the activation of a gate is below the smallest normal number, 2^-126, errors below
    that are forgiven it, as in `Bound`; nothing is forgiven to scalar functions.

    Attributes:
        absolute: of the value, for |x| <= 5.
        ulp_right: units in the last place of the value, for x >= -2.
        ulp_near: the same for |x| <= 5.
        ulp: the same for every finite x.
        misrounded: of all 65,536 numbers of bfloat16 the share whose value is not the number next to the right value;
            of a gate, with the activation multiplied by 1.
        misrounded_product: as `misrounded`, of a gate with every number and an `up` of either sign, drawn evenly by its
            logarithm from 2^-10 to 2^10. A product of two numbers of bfloat16 is often half way between two others;
            next to 0, where the activation differs from half the gate by less than float32 can hold, the kernels keep
            it off that half on the right side.
        off_product: the share of these that are more than half a unit and `TIE` off, where that is not the reason.
        gradient: absolute error of the gradient by the (gate) input for |x| <= 5, for each unit of what multiplies the
            derivative, without the last rounding. It holds where the gradient passes zero.
        gradient_misrounded: as `misrounded`, of that gradient.
    """

    absolute: float = _INF
    ulp_right: float = _INF
    ulp_near: float = _INF
    ulp: float = _INF
    misrounded: float = _INF
    misrounded_product: float = _INF
    off_product: float = _INF
    gradient: float = _INF
    gradient_misrounded: float = _INF


PROMISES: Mapping[str, Figures] = {
    "float32": Figures(absolute=4e-7, ulp_right=4.0, gradient=4e-7),
    "float32_high": Figures(ulp_near=4.0, ulp=16.0, gradient=4e-7),
    "bfloat16": Figures(
        ulp=1.0,
        misrounded=0.001,
        misrounded_product=0.001,
        off_product=0.001,
        gradient=1e-5,
        gradient_misrounded=0.001,
    ),
}
"""By precision, of every function on every path. `absolute` of `default` is a third of torch's own."""

STARTS: Mapping[str, tuple[Bound, Bound]] = {
    "float32": (Bound(start=RIGHT), Bound(start=0.0)),
    "float32_high": (Bound(), Bound(start=0.0)),
    "bfloat16": (Bound(), Bound(start=0.0)),
}
"""By precision, from where on errors of value and gradient are counted in units in the last place; see `Bound`."""


def _budget(precision: str, value: tuple[float, float], gradient: tuple[float, float]) -> Budget:
    of_value, of_gradient = STARTS[precision]
    return Budget(
        value=Bound(ulp=value[0], start=of_value.start, absolute=value[1]),
        gradient=Bound(ulp=gradient[0], start=of_gradient.start, absolute=gradient[1]),
    )


# Units in the last place and absolute error of the value, and of the gradient: half more than was seen. The lines
# between the two marks are written by `python scripts/kernel_accuracy.py --write`.
_MEASURED: Mapping[tuple[str, str, str], tuple[tuple[float, float], tuple[float, float]]] = {
    # measured: begin
    ("gelu", "float32", "avx512"): ((3.2, 7.9e-08), (4.3, 4.4e-07)),
    ("gelu", "float32", "avx2"): ((3.7, 1.3e-08), (1.9, 7.7e-08)),
    ("gelu", "float32", "plain"): ((1.8, 5e-09), (1.1, 3.8e-08)),
    ("gelu", "float32_high", "avx512"): ((11, 0), (1.7, 5.6e-08)),
    ("gelu", "float32_high", "avx2"): ((14, 0), (2, 7.4e-08)),
    ("gelu", "float32_high", "plain"): ((2, 0), (1.1, 3.8e-08)),
    ("gelu", "bfloat16", "avx512"): ((0.75, 0), (0.75, 0.0015)),
    ("gelu", "bfloat16", "avx2"): ((0.75, 0), (0.75, 0.0015)),
    ("gelu", "bfloat16", "plain"): ((0.75, 0), (0.75, 0.0015)),
    ("gelu_tanh", "float32", "avx512"): ((3.2, 7.2e-09), (2.8, 1.2e-07)),
    ("gelu_tanh", "float32", "avx2"): ((3, 7.8e-09), (2.8, 1.1e-07)),
    ("gelu_tanh", "float32", "plain"): ((1.2, 4.1e-09), (0.9, 3.2e-08)),
    ("gelu_tanh", "float32_high", "avx512"): ((3.2, 0), (2.8, 1.2e-07)),
    ("gelu_tanh", "float32_high", "avx2"): ((3.1, 0), (2.8, 1.1e-07)),
    ("gelu_tanh", "float32_high", "plain"): ((1.1, 0), (0.9, 3.2e-08)),
    ("gelu_tanh", "bfloat16", "avx512"): ((0.75, 0), (0.75, 0.0015)),
    ("gelu_tanh", "bfloat16", "avx2"): ((0.76, 0), (0.75, 0.0015)),
    ("gelu_tanh", "bfloat16", "plain"): ((0.75, 0), (0.75, 0.0015)),
    ("silu", "float32", "avx512"): ((3.1, 4.6e-08), (2.7, 1.1e-07)),
    ("silu", "float32", "avx2"): ((3.1, 4e-08), (2.6, 1.1e-07)),
    ("silu", "float32", "plain"): ((1.3, 2.2e-08), (0.83, 2.7e-08)),
    ("silu", "float32_high", "avx512"): ((3.9, 0), (2.7, 1.1e-07)),
    ("silu", "float32_high", "avx2"): ((4.1, 0), (2.6, 1.1e-07)),
    ("silu", "float32_high", "plain"): ((1.2, 0), (0.81, 2.7e-08)),
    ("silu", "bfloat16", "avx512"): ((0.76, 0), (0.76, 0.0015)),
    ("silu", "bfloat16", "avx2"): ((0.76, 0), (0.76, 0.0015)),
    ("silu", "bfloat16", "plain"): ((0.76, 0), (0.76, 0.0015)),
    ("quick_gelu", "float32", "avx512"): ((3.2, 1.2e-08), (2.6, 1.2e-07)),
    ("quick_gelu", "float32", "avx2"): ((3.1, 1.1e-08), (2.5, 1.1e-07)),
    ("quick_gelu", "float32", "plain"): ((0.99, 5.1e-09), (0.87, 2.9e-08)),
    ("quick_gelu", "float32_high", "avx512"): ((3.7, 0), (2.6, 1.2e-07)),
    ("quick_gelu", "float32_high", "avx2"): ((3.8, 0), (2.5, 1.1e-07)),
    ("quick_gelu", "float32_high", "plain"): ((1.1, 0), (0.87, 2.9e-08)),
    ("quick_gelu", "bfloat16", "avx512"): ((0.76, 0), (0.75, 0.0015)),
    ("quick_gelu", "bfloat16", "avx2"): ((0.76, 0), (0.75, 0.0015)),
    ("quick_gelu", "bfloat16", "plain"): ((0.76, 0), (0.75, 0.0015)),
    ("geglu", "float32", "avx512"): ((3.7, 7.9e-08), (8, 4.4e-07)),
    ("geglu", "float32", "avx2"): ((3.7, 1.3e-08), (3.8, 7.7e-08)),
    ("geglu", "float32", "plain"): ((1.9, 5e-09), (1.3, 6.3e-10)),
    ("geglu", "float32_high", "avx512"): ((11, 0), (3.5, 2.8e-08)),
    ("geglu", "float32_high", "avx2"): ((14, 0), (3.7, 3.8e-08)),
    ("geglu", "float32_high", "plain"): ((2.1, 0), (1.3, 6.3e-10)),
    ("geglu", "bfloat16", "avx512"): ((0.76, 0), (0.75, 0.0002)),
    ("geglu", "bfloat16", "avx2"): ((0.76, 0), (0.75, 0.0002)),
    ("geglu", "bfloat16", "plain"): ((0.76, 0), (0.76, 0.0002)),
    ("geglu_tanh", "float32", "avx512"): ((4, 8.9e-09), (5.4, 8.7e-08)),
    ("geglu_tanh", "float32", "avx2"): ((3.9, 8.9e-09), (5, 7.2e-08)),
    ("geglu_tanh", "float32", "plain"): ((1.2, 4.1e-09), (0.89, 9.5e-09)),
    ("geglu_tanh", "float32_high", "avx512"): ((4, 0), (5.4, 8.7e-08)),
    ("geglu_tanh", "float32_high", "avx2"): ((3.9, 0), (5, 7.2e-08)),
    ("geglu_tanh", "float32_high", "plain"): ((1.1, 0), (0.89, 9.4e-09)),
    ("geglu_tanh", "bfloat16", "avx512"): ((0.76, 0), (0.75, 0.0002)),
    ("geglu_tanh", "bfloat16", "avx2"): ((0.76, 0), (0.75, 0.0002)),
    ("geglu_tanh", "bfloat16", "plain"): ((0.76, 0), (0.75, 0.0002)),
    ("swiglu", "float32", "avx512"): ((4.1, 5.4e-08), (5, 7.8e-08)),
    ("swiglu", "float32", "avx2"): ((3.9, 5.2e-08), (5, 7.4e-08)),
    ("swiglu", "float32", "plain"): ((1.3, 2.2e-08), (0.84, 1.9e-09)),
    ("swiglu", "float32_high", "avx512"): ((4.3, 0), (5, 7.8e-08)),
    ("swiglu", "float32_high", "avx2"): ((4.1, 0), (5, 7.4e-08)),
    ("swiglu", "float32_high", "plain"): ((1.2, 0), (0.82, 1.1e-10)),
    ("swiglu", "bfloat16", "avx512"): ((0.76, 0), (0.76, 0.00013)),
    ("swiglu", "bfloat16", "avx2"): ((0.76, 0), (0.76, 0.00013)),
    ("swiglu", "bfloat16", "plain"): ((0.76, 0), (0.75, 0.00013)),
    ("swiglu_clamped", "float32", "avx512"): ((4.4, 1.1e-08), (4.9, 9.7e-08)),
    ("swiglu_clamped", "float32", "avx2"): ((4.4, 1.1e-08), (4.9, 9.7e-08)),
    ("swiglu_clamped", "float32", "plain"): ((0.99, 5.1e-09), (0.86, 2.7e-08)),
    ("swiglu_clamped", "float32_high", "avx512"): ((4.4, 0), (4.9, 9.7e-08)),
    ("swiglu_clamped", "float32_high", "avx2"): ((4.4, 0), (4.9, 9.7e-08)),
    ("swiglu_clamped", "float32_high", "plain"): ((1.1, 0), (0.86, 2.7e-08)),
    ("swiglu_clamped", "bfloat16", "avx512"): ((0.76, 0), (0.75, 0.0015)),
    ("swiglu_clamped", "bfloat16", "avx2"): ((0.76, 0), (0.75, 0.0015)),
    ("swiglu_clamped", "bfloat16", "plain"): ((0.76, 0), (0.75, 0.0015)),
    # measured: end
}

BUDGETS: Mapping[tuple[str, str, str], Budget] = {
    key: _budget(key[1], value, gradient) for key, (value, gradient) in _MEASURED.items()
}
"""By function, precision and path, against float64 over `activations.samples`; the rules are those of `Bound`."""
