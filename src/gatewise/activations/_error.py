"""Measures how far code in a low precision is from a spec's float64 reference, in value and in gradient."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.core import unknown_name

from ._spec import Array, Bound, Spec
from ._table import get

Mask = NDArray[np.bool_]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Mantissa bits after the point, and the exponent of the smallest normal number.
_FORMAT = {"float32": (23, -126), "bfloat16": (7, -126)}


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The largest errors seen, and the (gate) inputs where they were seen; see `Bound` for what is counted where."""

    ulp: float
    ulp_at: float
    absolute: float
    absolute_at: float


@dataclass(frozen=True, kw_only=True)
class ObservedError:
    """The largest errors of the value and of the gradient; of a gate, of the gradient by the gate input."""

    value: Observed
    gradient: Observed


def samples(dtype: str) -> Tensor:
    """Finite inputs of that dtype, always the same.

    bfloat16: every finite bit pattern. float32: 262,144 bit patterns spread evenly over all of them, so that
    subnormal, tiny and huge numbers come as often as others, and 131,072 numbers spread evenly over [-110, 30], where
    the functions bend.
    """
    if dtype == "bfloat16":
        x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    else:
        patterns = torch.arange(-(2**31), 2**31, 16381, dtype=torch.int64).to(torch.int32).view(torch.float32)
        even = torch.linspace(-110.0, 30.0, 2**17, dtype=torch.float64).to(torch.float32)
        x = torch.cat([patterns, even])
    return x[torch.isfinite(x)]


def spacing(reference: Array, dtype: str) -> Array:
    """One unit in the last place of `reference`, in that dtype; the smallest subnormal near 0."""
    bits, least = _FORMAT[dtype]
    exponent = np.frexp(np.where(np.isfinite(reference), reference, 1.0))[1] - 1
    return np.ldexp(1.0, np.maximum(exponent, least) - bits)


def _gap(got: Array, reference: Array) -> Array:
    """|got - reference|, where a result that overflowed counts as 2^128, the first power beyond the range."""
    top = 2.0**128
    return np.abs(np.clip(got, -top, top) - np.clip(reference, -top, top))


def _largest(error: Array, where: Mask, x: Array) -> tuple[float, float]:
    if not where.any():
        return 0.0, float("nan")
    error = np.where(np.isnan(error), np.inf, error)
    index = int(np.argmax(np.where(where, error, -1.0)))
    return float(error[index]), float(x[index])


@dataclass(frozen=True, kw_only=True)
class _Points:
    """Where errors are observed: the (gate) inputs, what multiplies the activation there, and the dtype."""

    x: Array
    scale: Array
    dtype: str

    def observe(self, got: Array, reference: Array, bound: Bound, skip: Mask) -> Observed:
        unit = spacing(reference, self.dtype)
        # Forgiven: a result, or for a gate its activation before the product, that is flushed to zero below 2^-126.
        gap = np.maximum(_gap(got, reference) - 2.0 ** _FORMAT[self.dtype][1] * (1.0 + self.scale), 0.0)
        ulp, ulp_at = _largest(gap / unit, (self.x >= bound.start) & ~skip, self.x)
        # The product of a gate is rounded once more; that unit is not the activation's error.
        rounding = np.where(self.scale == 1.0, 0.0, unit)
        with np.errstate(all="ignore"):
            tail = np.where(self.scale > 0, np.maximum(gap - rounding, 0.0) / self.scale, gap)
        absolute, absolute_at = _largest(tail, (self.x < bound.start) & ~skip, self.x)
        return Observed(ulp=ulp, ulp_at=ulp_at, absolute=absolute, absolute_at=absolute_at)


def _inputs(spec: Spec, dtype: str) -> tuple[Tensor, ...]:
    """The samples; for a gate with other inputs paired at random, a third of them huge or tiny, the rest ordinary."""
    x = samples(dtype)
    if spec.kind == "scalar":
        return (x,)
    draw = torch.Generator().manual_seed(0)
    wild = x[torch.randperm(len(x), generator=draw)]
    mild = (8 * torch.randn(len(x), generator=draw, dtype=torch.float64)).to(x.dtype)
    return x, torch.where(torch.rand(len(x), generator=draw) < 1 / 3, wild, mild)


def _run(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The value and the gradients of its sum."""
    leaves = tuple(x.clone().requires_grad_() for x in inputs)
    value = function(*leaves)
    return value.detach(), *torch.autograd.grad(value, leaves, torch.ones_like(value))


def measure_error(spec: Spec, dtype: str, function: Callable[..., Tensor] | None = None) -> ObservedError:
    """The largest errors of `function` (by default the spec's stock torch code) over `samples(dtype)`.

    `dtype` is "float32" or "bfloat16". Errors are split at the budget's `start`, and inputs under a known deviation
    are left out. For a gate the value and the gradient by `up` are counted together: both are the activation, once
    scaled. Raises `GatewiseError` for another dtype.
    """
    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    inputs = _inputs(spec, dtype)
    got = [tensor.double().numpy() for tensor in _run(function or spec.torch, inputs)]
    exact = tuple(tensor.double().numpy() for tensor in inputs)
    x, budget = exact[0], spec.budgets[dtype]
    gradients = spec.gradients(*exact)
    points = _Points(x=x, scale=_scale(spec, exact), dtype=dtype)
    seen = points.observe(got[0], spec.reference(*exact), budget.value, _covered(spec, "value", x))
    if spec.kind == "gate":
        unscaled = _Points(x=x, scale=np.ones_like(x), dtype=dtype)
        seen = _worse(seen, unscaled.observe(got[2], gradients[1], budget.value, _covered(spec, "value", x)))
    slope = points.observe(got[1], gradients[0], budget.gradient, _covered(spec, "gradient", x))
    return ObservedError(value=seen, gradient=slope)


def _scale(spec: Spec, inputs: tuple[Array, ...]) -> Array:
    """What multiplies the activation: 1, and for a gate what its other input makes of it."""
    one = np.ones_like(inputs[0])
    if spec.act is None:
        return one
    with np.errstate(all="ignore"):
        return np.abs(spec.reference(one, inputs[1]) / get(spec.act).reference(one))


def _covered(spec: Spec, what: str, x: Array) -> Mask:
    """True where a known deviation of that kind covers the input."""
    covered = np.zeros(len(x), dtype=np.bool_)
    for deviation in spec.deviations:
        if deviation.what == what:
            covered |= deviation.covers(x)
    return covered


def _worse(a: Observed, b: Observed) -> Observed:
    ulp, absolute = max(a, b, key=lambda o: o.ulp), max(a, b, key=lambda o: o.absolute)
    return Observed(ulp=ulp.ulp, ulp_at=ulp.ulp_at, absolute=absolute.absolute, absolute_at=absolute.absolute_at)
