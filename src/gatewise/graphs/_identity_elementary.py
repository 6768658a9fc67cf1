"""Single pieces of mathematics that nobody calls an activation: exp, a square, a comparison."""

import numpy as np

from ._graph import Array
from ._identity_probes import GRID, index_of

_ONE = index_of(1.0)


def elementary(values: Array) -> str | None:
    """What single piece of mathematics the values on `GRID` are, which nobody calls an activation: exp, a power, ..."""
    finite = np.isfinite(values)
    if finite.sum() < 50:
        return "a function of few inputs"
    steps = np.unique(values[finite])
    if len(steps) <= 3:
        return "a comparison"
    dense = finite & (np.abs(GRID) <= 12.0)
    if (values[dense] == np.round(values[dense])).all():
        return "a rounding"
    for name, function in (("sin", np.sin), ("cos", np.cos), ("tan", np.tan)):
        if _close(values[dense], function(GRID[dense])):
            return name
    return _power(values) or _exponential(values, dense)


def _close(values: Array, others: Array) -> bool:
    return bool((np.abs(values - others) <= 1e-6 * np.maximum(np.abs(others), 1e-3)).all())


def _power(values: Array) -> str | None:
    """x^p, whatever it is left of 0: the same, its negative, or nothing."""
    inside = (np.abs(GRID) >= 1 / 64) & (np.abs(GRID) <= 12.0)
    right = GRID[inside & (GRID > 0)]
    with np.errstate(all="ignore"):
        sizes = np.abs(values[inside & (GRID > 0)])
        if not np.isfinite(sizes).all() or (sizes == 0).any():
            return None
        size = sizes[int(np.flatnonzero(right == 1.0)[0])]
        power = float(np.log2(sizes[int(np.flatnonzero(right == 2.0)[0])] / size))
        if not _close(sizes, size * right**power):
            return None
        left = np.abs(values[inside & (GRID < 0)])
        mirrored = size * np.abs(GRID[inside & (GRID < 0)]) ** power
    if np.isfinite(left).any() and not _close(left, mirrored):
        return None
    known = {0.5: "sqrt", -0.5: "1 / sqrt", -1.0: "1 / x", 2.0: "a square", 1.0: "|x|"}
    return known.get(round(power, 6), f"the power {power:.4g}")


def _exponential(values: Array, dense: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str | None:
    x = GRID[dense]
    with np.errstate(all="ignore"):
        for name, logs in (("exp", np.log(values[dense])), ("exp - 1", np.log(values[dense] + 1.0))):
            if dense[_ONE] and np.isfinite(logs).all() and _close(logs, x * float(logs[x == 1.0][0])):
                return name
        for name, shift in (("log", 0.0), ("log(1 + x)", 1.0)):
            where = np.isfinite(values) & (shift + GRID > 1e-3) & (np.abs(GRID) <= 12.0)
            plain = np.log(shift + GRID[where])
            at = int(np.argmax(plain))
            if where.any() and plain[at] > 0 and _close(values[where], plain * float(values[where][at] / plain[at])):
                return name
    return None
