"""The functions of the table with other constants than the table's, and between limits: constants found by numbers."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from gatewise.activations import get

from ._graph import Array
from ._identity_probes import GRID, TOLERANCE, distance, index_of, references

_DENSE = slice(0, 12 * 2 * 64 + 1)
QUICK_SLOPE = 1.702
Function = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A function of a family: the table's name, and the constants that differ from the table's.

    `named` says whether the table's name still is its name: the slope of a leaky_relu is a parameter of the family,
    the slope inside x * sigmoid(beta x) makes another function.
    """

    nearest: str
    settings: Mapping[str, float] = field(default_factory=dict[str, float])
    named: bool
    function: Function


def tidy(value: float) -> float:
    """Seven significant digits: what a constant stored as float32 is good for."""
    return float(f"{value:.7g}")


def swish(beta: float) -> Function:
    """x * sigmoid(beta x)."""

    def function(x: Array) -> Array:
        return x * 0.5 * (1.0 + np.tanh(0.5 * beta * x))

    return function


def _leaky(slope: float) -> Function:
    return lambda x: np.where(x > 0, x, slope * x)


def _elu(alpha: float) -> Function:
    return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _softplus(beta: float) -> Function:
    return lambda x: np.logaddexp(0.0, beta * x) / beta


def members(values: Array) -> Iterator[Member]:
    """The members of the families that agree with the values at one probe each, with their own constants."""
    right, left, zero = (float(values[index_of(x)]) for x in (0.5, -1.0, 0.0))
    if 0.0 < 2.0 * right < 1.0:
        beta = math.log(2.0 * right / (1.0 - 2.0 * right)) / 0.5
        nearest = "silu" if abs(beta - 1.0) < abs(beta - QUICK_SLOPE) else "quick_gelu"
        yield Member(nearest=nearest, settings={"beta": tidy(beta)}, named=False, function=swish(beta))
    if 0.0 < -left < 1.0:
        yield Member(nearest="leaky_relu", settings={"slope": tidy(-left)}, named=True, function=_leaky(-left))
    if left < 0.0:
        alpha = left / math.expm1(-1.0)
        yield Member(nearest="elu", settings={"alpha": tidy(alpha)}, named=True, function=_elu(alpha))
    if zero > 0.0:
        beta = math.log(2.0) / zero
        yield Member(nearest="softplus", settings={"beta": tidy(beta)}, named=True, function=_softplus(beta))


def match_member(values: Array) -> Member | None:
    """The member of a family that fits all values, without limits."""
    for member in members(values):
        if distance(values, member.function(GRID), GRID) <= TOLERANCE:
            return member
    return None


def match_scaled(values: Array) -> Member | None:
    """A function of the table times a constant."""
    one = index_of(1.0)
    for name, reference in references().items():
        scale = float(values[one] / reference[one])
        if scale != 0.0 and distance(values, scale * reference, GRID) <= TOLERANCE:
            return Member(nearest=name, settings={"scale": tidy(scale)}, named=False, function=get(name).reference)
    return None


def match_limited(values: Array) -> Member | None:
    """A function of the table, or x * sigmoid(beta x), of a clipped input or with a clipped output."""
    flat = [_is_flat(values, side) for side in (-1.0, 1.0)]
    if not any(flat):
        return None
    table = [Member(nearest=name, named=False, function=get(name).reference) for name in references()]
    for member in (*table, *(m for m in members(values) if "beta" in m.settings and m.nearest != "softplus")):
        plain = member.function(GRID)
        lows = _limits(member, values, plain, side=-1.0) if flat[0] else [{}]
        highs = _limits(member, values, plain, side=1.0) if flat[1] else [{}]
        for low in lows:
            for high in highs:
                limits = {**low, **high}
                if limits and distance(values, limited(member.function, limits)(GRID), GRID) <= TOLERANCE:
                    settings = {**member.settings, **{key: tidy(limit) for key, limit in limits.items()}}
                    return Member(nearest=member.nearest, settings=settings, named=False, function=member.function)
    return None


def match_clip(values: Array) -> Mapping[str, float]:
    """The limits, where the values are those of clip(x, low, high); empty where they are not."""
    low, high = float(values[index_of(-1000.0)]), float(values[index_of(1000.0)])
    limits = {key: tidy(limit) for key, limit in (("low", low), ("high", high)) if abs(limit) < 999.0}
    if not limits or not low < high or distance(values, np.clip(GRID, low, high), GRID) > TOLERANCE:
        return {}
    return limits


def limited(function: Function, limits: Mapping[str, float]) -> Function:
    """clip(function(clip(x, low, high)), out_low, out_high)."""

    def clipped(x: Array) -> Array:
        inner = np.clip(x, limits.get("low", -np.inf), limits.get("high", np.inf))
        return np.clip(function(inner), limits.get("out_low", -np.inf), limits.get("out_high", np.inf))

    return clipped


def _is_flat(values: Array, side: float) -> bool:
    far = [float(values[index_of(side * x)]) for x in (100.0, 1000.0)]
    return all(math.isfinite(value) for value in far) and max(far) - min(far) <= 1e-9 * max(1.0, abs(far[0]))


def _limits(member: Member, values: Array, plain: Array, side: float) -> list[dict[str, float]]:
    """What may limit the function on one side: nothing, its output, or its input; the rounder number first."""
    far = index_of(side * 1000.0)
    level = float(values[far])
    if abs(level - float(plain[far])) <= 1e-7 * max(1.0, abs(level)):
        return [{}]
    inner, outer = ("high", "out_high") if side > 0 else ("low", "out_low")
    found = [{outer: level}] + [{inner: x} for x in _roots(member.function, level, side)]
    return sorted(found, key=lambda limits: len(f"{tidy(next(iter(limits.values()))):.7g}"))


def _roots(function: Function, level: float, side: float) -> list[float]:
    """Where the function takes a value, right or left of 0, in [-1000, 1000]."""
    x = np.sort(np.concatenate([GRID[_DENSE], side * np.geomspace(12.0, 1000.0, 60)]))
    x = x[side * x >= 0.0]
    above = function(x) > level
    found: list[float] = []
    for index in np.flatnonzero(above[1:] != above[:-1])[:4]:
        low, high = float(x[index]), float(x[index + 1])
        rising = bool(above[index + 1])
        for _ in range(60):
            middle = 0.5 * (low + high)
            if bool(function(np.array([middle]))[0] > level) == rising:
                high = middle
            else:
                low = middle
        found.append(0.5 * (low + high))
    return found
