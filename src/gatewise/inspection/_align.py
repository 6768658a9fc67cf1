"""Which site of one model is which of another: by the weights that feed it, its width, its path, in order."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from gatewise.core import GatewiseError
from gatewise.graphs import Array, Constant, Site

from ._inspection import Inspection

Print = tuple[int, float, float]
"""Size, sum and sum of squares of a tensor."""
_EPSILON = {"float32": 2.0**-21, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""float32 too: two exporters fold one norm into one weight in another order of sums."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Sites that stand for each other; one of them is None where the other has no partner."""

    one: Site | None
    other: Site | None


def align(one: Inspection, other: Inspection) -> list[Pair]:
    """Every site of both exactly once, those of `one` in their order."""
    ours, theirs = one.sites, other.sites
    scores = [[_score(one, a, other, b) for b in theirs] for a in ours]
    partner = _in_order(scores)
    for index, at in list(partner.items()):
        if scores[index][at] < _PATH and _stand_apart(one, ours[index], other, theirs[at]):
            del partner[index]
    # What stands in another order is still found by its weights.
    free = [index for index in range(len(theirs)) if index not in partner.values()]
    for index in range(len(ours)):
        best = max(free, key=lambda at: scores[index][at], default=None)
        if index not in partner and best is not None and scores[index][best] >= _WEIGHTS:
            partner[index] = best
            free.remove(best)
    partner |= _by_place(one, other, partner)
    free = [index for index in range(len(theirs)) if index not in partner.values()]
    pairs = [
        Pair(one=site, other=theirs[partner[index]] if index in partner else None) for index, site in enumerate(ours)
    ]
    return pairs + [Pair(one=None, other=theirs[index]) for index in free]


_WEIGHTS, _PATH, _WIDTH, _NAME, _KIND = 8.0, 4.0, 1.0, 0.5, 0.25


def _score(one: Inspection, a: Site, other: Inspection, b: Site) -> float:
    """How much speaks for two sites being the same; 0 where nothing does."""
    score = 0.0
    if shares_weights(one, a, other, b):
        score += _WEIGHTS
    if same_path(a, b):
        score += _PATH
    if a.width is not None and a.width == b.width:
        score += _WIDTH
    if not score:
        return 0.0
    return score + _NAME * (a.found.name == b.found.name) + _KIND * (a.kind == b.kind)


def _by_place(one: Inspection, other: Inspection, partner: Mapping[int, int]) -> dict[int, int]:
    """Partners for what nothing speaks for, between those that have one: where as many stand on both sides, in order.

    Where more stand on one side, only those of one function and one kind are paired.
    """
    found: dict[int, int] = {}
    starts, waiting = 0, list[int]()
    for index in range(len(one.sites) + 1):
        if index < len(one.sites) and index not in partner:
            waiting.append(index)
            continue
        end = partner[index] if index < len(one.sites) else len(other.sites)
        between = [at for at in range(starts, end) if at not in partner.values()]
        pairs = [
            [
                _place_score(one, one.sites[i], other, other.sites[at], even=len(waiting) == len(between))
                for at in between
            ]
            for i in waiting
        ]
        found |= {waiting[i]: between[at] for i, at in (_in_order(pairs) if between else {}).items()}
        starts, waiting = max(starts, end + 1), []
    return found


def _place_score(one: Inspection, a: Site, other: Inspection, b: Site, *, even: bool) -> float:
    if (a.width is not None and b.width is not None and a.width != b.width) or _stand_apart(one, a, other, b):
        return 0.0
    same = a.found.name == b.found.name and a.found.settings == b.found.settings and a.kind == b.kind
    return 1.0 + _NAME * same if even or same else 0.0


def _stand_apart(one: Inspection, a: Site, other: Inspection, b: Site) -> bool:
    """Whether the weights of one of two sites feed something else in the other model: then they are two places."""
    if shares_weights(one, a, other, b):
        return False
    return any(_is_elsewhere(x, other) for x in prints(one, a)) or any(_is_elsewhere(x, one) for x in prints(other, b))


def _is_elsewhere(weight: Constant, inspection: Inspection) -> bool:
    constants = inspection.graph.constants if inspection.graph is not None else inspection.weights
    return weight.size > 1 and any(other.size == weight.size and akin(weight, other) for other in constants.values())


def same_path(a: Site, b: Site) -> bool:
    """Whether two sites stand at the same place, however the formats write paths."""
    return bool(a.path) and _plain(a.path) == _plain(b.path)


def _plain(path: str) -> str:
    return ".".join(part for part in re.split(r"[/.:]+", path.lower()) if part)


def _in_order(scores: Sequence[Sequence[float]]) -> dict[int, int]:
    """The pairing without crossings that has the largest sum of scores."""
    rows, columns = len(scores), len(scores[0]) if scores else 0
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            paired = scores[i][j] + best[i + 1][j + 1] if scores[i][j] else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    found: dict[int, int] = {}
    i = j = 0
    while i < rows and j < columns:
        if scores[i][j] and best[i][j] == scores[i][j] + best[i + 1][j + 1]:
            found[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def prints(inspection: Inspection, site: Site) -> tuple[Constant, ...]:
    """The weights that feed a site, in the order of its inputs."""
    constants = inspection.graph.constants if inspection.graph is not None else inspection.weights
    return tuple(constants[name] for name in site.feeding if name in constants)


def shares_weights(one: Inspection, a: Site, other: Inspection, b: Site) -> bool:
    """Whether one weight that feeds a site feeds the other too."""
    return any(akin(x, y) for x in prints(one, a) for y in prints(other, b))


def gate_weights(inspection: Inspection, site: Site) -> tuple[Constant, Constant] | None:
    """The weights of gate and up, of a packed projection its two parts; None where they are not known."""
    if site.output in inspection.parts:
        return inspection.parts[site.output]
    feeding = prints(inspection, site)
    if site.gate_part is None:
        return (feeding[0], feeding[1]) if len(feeding) == 2 else None
    index, count = site.gate_part
    if len(feeding) != 1 or count != 2 or site.width is None or inspection.graph is None:
        return None
    weight = feeding[0]
    axes = [axis for axis, size in enumerate(weight.shape) if size == count * site.width]
    if len(axes) != 1:
        return None
    select = inspection.graph.producer.get(site.inputs[0])
    mixed = select is not None and bool(select.attributes.get("interleaved"))
    parts = [_part(weight, axes[0], part, site.width, mixed=mixed) for part in (index, 1 - index)]
    return parts[0], parts[1]


def _part(weight: Constant, axis: int, index: int, width: int, *, mixed: bool) -> Constant:
    kept = slice(index, None, 2) if mixed else slice(index * width, (index + 1) * width)

    def load() -> Any:
        return np.asarray(weight.load())[(slice(None),) * axis + (kept,)]

    shape = (*weight.shape[:axis], width, *weight.shape[axis + 1 :])
    return Constant(name=f"{weight.name}, part {index + 1} of 2", shape=shape, dtype=weight.dtype, load=load)


def alike(one: Constant, other: Constant) -> bool:
    """Whether two weights hold the same numbers, transposed or not, rounded to the coarser of their dtypes."""
    if one.size != other.size:
        return False
    (_, sum_one, squares_one), (_, sum_other, squares_other) = one.fingerprint, other.fingerprint
    dtypes = (one.dtype, other.dtype) if one.dtype != other.dtype or one.dtype == "float32" else ()
    epsilon = max((_EPSILON.get(dtype, 0.0) for dtype in dtypes), default=0.0)
    squares = max(squares_one, squares_other)
    close_sums = abs(sum_one - sum_other) <= (4 * epsilon + 1e-9) * sqrt(squares * (one.size if not epsilon else 1))
    return close_sums and abs(squares_one - squares_other) <= (epsilon + 1e-9) * squares


def akin(one: Constant, other: Constant) -> bool:
    """Whether two weights are alike, or one of them is the other in 8 bits or less, whatever its scale."""
    if alike(one, other):
        return True
    whole = [weight.dtype.startswith(("int", "uint")) for weight in (one, other)]
    if one.size != other.size or one.size < _FEWEST or not any(whole):
        return False
    try:
        first, second = one.sample, other.sample
    except GatewiseError:  # a lock holds no weights
        return False
    turned = [second, second.T] if second.ndim == 2 else [second]
    return any(_correlation(first, each) > _AKIN for each in turned if each.shape == first.shape)


def same_numbers(one: Constant, other: Constant) -> bool:
    """Whether two weights are alike, or one is the other in 8 bits or less with its scale applied."""
    if alike(one, other):
        return True
    if not akin(one, other):
        return False
    squares = [weight.fingerprint[2] for weight in (one, other)]
    return abs(squares[0] - squares[1]) <= _CLOSE * max(squares)


_FEWEST, _AKIN, _CLOSE = 64, 0.9, 0.05


def _correlation(one: Array, other: Array) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0
