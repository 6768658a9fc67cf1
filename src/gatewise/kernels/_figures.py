"""What the promises of accuracy are about, as it is seen here and now, in a table beside torch's own code."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.activations import get

from ._budgets import DTYPES, NEAR, PRECISIONS, PROMISES, RIGHT, TIE, Figures
from ._functions import names
from ._observed import TORCH, Array, Function, differentiated, function, paths

_SAMPLES = 2**19
_UPS, _ORDINARY = 6, 6
"""With how many other inputs every bfloat16 number is paired, beside the one that leaves the activation as it is: some
that may be anything, and some of a size from 2^-10 to 2^10."""


@dataclass(frozen=True, kw_only=True)
class _Case:
    """Inputs, what multiplies the activation and the gradient, and what is right, in float64.

    `plain` is True for numbers of a scalar function, and for those of a gate whose other input leaves the activation as
    it is: every number of bfloat16 is among them. `ordinary` is True for those of a gate in bfloat16 whose other input
    is of a size from 2^-10 to 2^10: every number is among them, too.
    """

    inputs: tuple[Tensor, ...]
    grad: Tensor
    x: Array
    scale: Array
    plain: NDArray[np.bool_]
    ordinary: NDArray[np.bool_]
    value: Array
    slope: Array
    activation: Array


def _unit(reference: Array, dtype: str) -> Array:
    """One unit in the last place of `reference`."""
    size = np.minimum(np.abs(reference), 2.0**127)  # whose unit is that of all beyond
    below = size.astype(np.float32)
    below = np.where(below > size, np.nextafter(below, np.float32(0.0)), below)
    return np.spacing(below).astype(np.float64) * (2.0**16 if dtype == "bfloat16" else 1.0)


def patterns(dtype: str, seed: int = 0) -> Tensor:
    """Numbers over bit patterns, NaN and infinities among them: all of bfloat16, half a million of float32.

    Of float32 half are bit patterns drawn evenly from all, a quarter lies in [-6, 6], a quarter in [-110, 30].
    """
    if dtype == "bfloat16":
        return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    draw = np.random.default_rng(seed)
    quarter = _SAMPLES // 4
    wild = draw.integers(0, 2**32, 2 * quarter, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near, left = draw.uniform(-6, 6, quarter), draw.uniform(-110, 30, quarter)
    return torch.from_numpy(np.concatenate([wild, near.astype(np.float32), left.astype(np.float32)]))


@lru_cache(maxsize=2)
def _case(name: str, dtype: str, seed: int) -> _Case:
    spec, x = get(name), patterns(dtype, seed)
    draw = torch.Generator().manual_seed(seed)
    if spec.kind == "scalar":
        inputs, plain, ordinary = (x,), torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool)
    else:
        x = x.repeat(1 + _UPS + _ORDINARY) if dtype == "bfloat16" else x
        at = torch.arange(len(x))
        plain = at < (2**16 if dtype == "bfloat16" else len(x) // 8)
        ordinary = (at >= 2**16 * (1 + _UPS)) & (dtype == "bfloat16")
        ups = torch.where(ordinary, _ordinary_ups(len(x), draw).to(x.dtype), _ups(x, draw))
        inputs = (x, torch.where(plain, _neutral(name), ups))
    other = torch.where(torch.rand(len(x), generator=draw) < 0.5, 1.0, torch.randn(len(x), generator=draw))
    grad = torch.where(plain, 1.0, other).to(x.dtype)
    exact = tuple(each.double().numpy() for each in inputs)
    with np.errstate(all="ignore"):
        scale = np.ones_like(exact[0])
        if spec.act is None:
            activation = spec.reference(exact[0])
        else:
            one, neutral = np.ones_like(exact[0]), np.full_like(exact[0], _neutral(name))
            activation = spec.reference(exact[0], neutral)
            scale = np.abs(spec.reference(one, exact[1]) / spec.reference(one, neutral))
        value, slope = spec.reference(*exact), spec.gradients(*exact)[0] * grad.double().numpy()
    return _Case(
        inputs=inputs,
        grad=grad,
        x=exact[0],
        scale=scale,
        plain=plain.numpy(),
        ordinary=ordinary.numpy(),
        value=value,
        slope=slope,
        activation=activation,
    )


def _neutral(name: str) -> float:
    """The other input with which a gate is its activation alone."""
    return 0.0 if name == "swiglu_clamped" else 1.0


def _ups(x: Tensor, draw: torch.Generator) -> Tensor:
    """Other inputs of a gate: bit patterns, ordinary numbers on both sides of the clamps, and numbers near -1 and 1."""
    kind = torch.rand(len(x), generator=draw)
    wild = x[torch.randperm(len(x), generator=draw)]
    mild = 8 * torch.randn(len(x), generator=draw)
    near = torch.randn(len(x), generator=draw) / 64 + torch.where(kind < 0.85, 1.0, -1.0)
    return torch.where(kind < 0.25, wild, torch.where(kind < 0.7, mild, near).to(x.dtype))


def _ordinary_ups(count: int, draw: torch.Generator) -> Tensor:
    """Of both signs, their logarithm drawn evenly."""
    sign = torch.where(torch.rand(count, generator=draw) < 0.5, 1.0, -1.0)
    return sign * torch.exp2(20 * torch.rand(count, generator=draw) - 10)


def figures(name: str, precision: str, path: str, *, seed: int = 0, of: Function | None = None) -> Figures:
    """What the promises are about, as it is seen over `patterns`; a gate with other inputs drawn at random.

    `of` is measured instead of the kernel where it is given. Raises `GatewiseError` as `function` does.
    """
    dtype = DTYPES[precision]
    case = _case(name, dtype, seed)
    of = of or function(name, precision, path)
    value, slope, *_ = (t.double().numpy() for t in differentiated(of, path, case.inputs, case.grad))
    with np.errstate(all="ignore"):
        return _figures(case, dtype, value, slope)


def _figures(case: _Case, dtype: str, value: Array, slope: Array) -> Figures:
    x, finite = case.x, np.isfinite(case.x) & np.isfinite(case.scale)
    near = finite & (np.abs(x) <= NEAR)
    unit = _unit(case.value, dtype)
    gap = _gap(value, case.value)
    # What multiplies a subnormal activation magnifies what it has lost; see `Figures`.
    lost = np.where((np.abs(case.activation) < 2.0**-126) & ~case.plain, 2.0**-126 * case.scale, 0.0)
    ulp = np.maximum(gap - lost, 0.0) / unit
    # Not the activation's: that the product is rounded, and up + 1 as well.
    rounding = np.where(case.scale == 1.0, 0.0, unit / 2 + 2.0**-24 * np.abs(case.value))
    of_unit = np.where(case.scale > 0, np.maximum(gap - rounding, 0.0) / case.scale, gap)
    by = case.scale * np.abs(case.grad.double().numpy())
    ordinary = near & (by > 2.0**-60) & (by < 2.0**100)
    slope_gap, slope_unit = _gap(slope, case.slope), _unit(case.slope, dtype)
    plain = finite & case.plain & (dtype == "bfloat16")
    return Figures(
        absolute=_largest(of_unit, near & (case.scale < 2.0**100)),
        ulp_right=_largest(ulp, finite & (x >= RIGHT)),
        ulp_near=_largest(ulp, near),
        ulp=_largest(ulp, finite),
        misrounded=_share(gap > unit / 2, plain),
        misrounded_product=_share(gap > unit / 2, finite & case.ordinary),
        off_product=_share(gap > (0.5 + TIE) * unit, finite & case.ordinary),
        gradient=_largest(np.maximum(slope_gap - slope_unit / 2, 0.0) / by, ordinary),
        gradient_misrounded=_share(slope_gap > slope_unit / 2, plain & (by == 1.0)),
    )


def _gap(got: Array, right: Array) -> Array:
    """|got - right|; an overflow counts as 2^128, NaN is right where it should be and infinitely wrong elsewhere."""
    top = 2.0**128
    gap = np.abs(np.clip(got, -top, top) - np.clip(right, -top, top))
    return np.where(np.isnan(got) & np.isnan(right), 0.0, np.where(np.isnan(gap), np.inf, gap))


def _share(wrong: NDArray[np.bool_], where: NDArray[np.bool_]) -> float:
    return float(np.mean(wrong[where])) if where.any() else 0.0


def _largest(error: Array, where: NDArray[np.bool_]) -> float:
    return float(np.max(error, where=where, initial=0.0))


@lru_cache(maxsize=512)
def seen(name: str, precision: str, path: str, seed: int = 0) -> Figures:
    """`figures`, remembered."""
    return figures(name, precision, path, seed=seed)


def broken(seed: int = 0) -> list[str]:
    """One line for each promise that a kernel does not keep here; empty where all is well."""
    lines: list[str] = []
    for name in names():
        for precision in PRECISIONS:
            for path in paths():
                of = seen(name, precision, path, seed)
                lines += [f"{name}, {precision}, {path}: {line}" for line in against(of, PROMISES[precision])]
    return lines


def against(of: Figures, promise: Figures) -> list[str]:
    """The figures that are larger than promised, in words."""
    pairs = ((field.name, getattr(of, field.name), getattr(promise, field.name)) for field in fields(Figures))
    return [f"{name} is {got:.3g}, promised {most:.3g}" for name, got, most in pairs if not got <= most]


_HEADS = (
    *("absolute, −5 to 5", "ULP, from −2", "ULP, −5 to 5", "ULP anywhere", "misrounded", "misrounded product"),
    *("that by more than a tie", "gradient", "misrounded gradient"),
)


def table(seed: int = 0, only: Sequence[str] | None = None) -> list[str]:
    """A Markdown table of the promises and of what is seen, of all functions or some, with torch's own code."""
    heads = ("function", "precision", "path", *_HEADS)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for precision, promise in PROMISES.items():
        lines.append(_line(("*promised*", precision, "", *_cells(promise, precision))))
        for name in only or names():
            for path in (*paths(), *((TORCH,) if precision != "float32_high" else ())):
                lines.append(_line((name, precision, path, *_cells(seen(name, precision, path, seed), precision))))
    return lines


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(of: Figures, precision: str) -> list[str]:
    shares = ("misrounded", "misrounded_product", "off_product", "gradient_misrounded")
    cells: list[str] = []
    for field in fields(Figures):
        value: float = getattr(of, field.name)
        if field.name in shares:
            cells.append("" if precision != "bfloat16" else f"{100 * value:.3f} %")
        elif "ulp" in field.name:
            cells.append("" if value == np.inf else f"{value:.3g}")
        else:
            cells.append("" if value == np.inf else f"{value:.2g}")
    return cells
