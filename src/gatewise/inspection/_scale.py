"""Whether what goes into a site, and what comes out, is scaled, moved or rounded otherwise in another model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gatewise.graphs import Array, Constant, Line, Site

from ._align import same_numbers
from ._curve import Gap, gap, grid
from ._inspection import Inspection

_SAME = 1e-5
_SAME_ROUNDED = {"float16": 2e-3, "bfloat16": 1e-2}
_BITS = {"bfloat16": 15, "float16": 16, "float32": 32, "float64": 64}
_Pair = tuple[Line, Line]


@dataclass(frozen=True, kw_only=True)
class Lines:
    """The lines around two sites that stand for each other, where both are known and lead to the same weights.

    Where they lead to other weights, an optimiser may have moved a scale into them, and nothing can be said.
    """

    one: Site
    other: Site
    before: tuple[_Pair | None, ...]
    after: _Pair | None

    @property
    def differ(self) -> bool:
        """Whether any line scales or moves otherwise in the other model."""
        return any(_differ(self, pair) for pair in (*self.before, self.after))

    def gap(self) -> Gap | None:
        """How far the functions are apart with their lines; None where they cannot be computed."""
        inputs = grid(len(self.one.inputs))
        try:
            first, second = (_through(self, which, inputs) for which in (0, 1))
        except (ValueError, TypeError, ArithmeticError, RuntimeError):
            return None
        return gap(*self.inside(first, second, moved=True))

    def inside(self, first: Array, second: Array, *, moved: bool = False) -> tuple[Array, Array, tuple[Array, ...]]:
        """Both curves and the grid, where no quantiser on the way to one of the sites holds its inputs elsewhere.

        A converter drops a clip that the quantiser's range does too; outside of that range nothing ever comes in.
        """
        inputs = grid(len(self.one.inputs))
        kept = np.ones(inputs[0].shape, dtype=bool)
        for which, site in enumerate((self.one, self.other)):
            own = _moved(self, which, inputs) if moved else inputs
            for x, line in zip(own, site.before, strict=False):
                if line is not None and line.low is not None and line.high is not None:
                    kept &= (x >= line.low) & (x <= line.high)
        if not kept.any():
            return first, second, inputs
        return first[kept], second[kept], tuple(x[kept] for x in inputs)

    def text(self) -> str:
        """What differs, in words."""
        words = ["the input", "the output"] if len(self.before) == 1 else ["the gate's input", "up", "the output"]
        found: list[str] = []
        for word, pair in zip(words, (*self.before, self.after), strict=False):
            if pair is not None and _differ(self, pair):
                found.append(f"{word} is {_shown(pair[1])}, not {_shown(pair[0])}")
        return "; ".join(found)

    def rounded(self) -> str:
        """Where values on the way are rounded to another dtype in the other model; "" where they are not."""
        words = (
            ["what goes in", "what comes out"]
            if len(self.one.inputs) == 1
            else ["the gate's input", "up", "the output"]
        )
        ours, theirs = (*self.one.before, self.one.after), (*self.other.before, self.other.after)
        if len(ours) != len(theirs):
            return ""
        for word, x, y in zip(words, ours, theirs, strict=False):
            narrow = [_narrowest(line) for line in (x, y)]
            if all(narrow) and narrow[0] != narrow[1]:
                return f"{word} passes through {narrow[1]}, not {narrow[0]}"
        return ""


Same = Callable[[Constant, Constant], bool]


def lines_of(a: Inspection, one: Site, b: Inspection, other: Site, same: Same = same_numbers) -> Lines:
    """The lines of two sites that stand for each other; `same` says of two weights whether they are."""

    def pair(x: Line | None, y: Line | None) -> _Pair | None:
        if x is None or y is None:
            return None
        ours, theirs = _weight(a, x), _weight(b, y)
        return (x, y) if ours is not None and theirs is not None and same(ours, theirs) else None

    before = tuple(pair(x, y) for x, y in zip(one.before, other.before, strict=False))
    return Lines(one=one, other=other, before=before, after=pair(one.after, other.after))


def _weight(inspection: Inspection, line: Line) -> Constant | None:
    constants = inspection.graph.constants if inspection.graph is not None else inspection.weights
    return constants.get(line.weight)


def _differ(lines: Lines, pair: _Pair | None) -> bool:
    if pair is None:
        return False
    dtypes = [*lines.one.dtype.split(), *lines.other.dtype.split(), *pair[0].dtypes, *pair[1].dtypes]
    most = max((_SAME_ROUNDED.get(dtype, _SAME) for dtype in dtypes), default=_SAME)
    factors, offsets = (pair[0].factor, pair[1].factor), (pair[0].offset, pair[1].offset)
    scale = max(1.0, *map(abs, offsets))
    return abs(factors[0] - factors[1]) > most * max(map(abs, factors)) or abs(offsets[0] - offsets[1]) > most * scale


def _through(lines: Lines, which: int, inputs: Sequence[Array]) -> Array:
    """The function with the lines that differ, on the grid."""
    site = lines.other if which else lines.one
    given = _moved(lines, which, inputs)
    with np.errstate(all="ignore"):
        values = np.asarray(site.evaluate(given), dtype=np.float64)
    if values.shape != inputs[0].shape:
        raise ValueError("the function has another shape")
    return _apply(lines, lines.after, which, values)


def _moved(lines: Lines, which: int, inputs: Sequence[Array]) -> list[Array]:
    """The inputs of one of the sites, where the grid is what the linear operations give."""
    return [_apply(lines, pair, which, x) for pair, x in zip(lines.before, inputs, strict=True)]


def _apply(lines: Lines, pair: _Pair | None, which: int, x: Array) -> Array:
    if pair is None or not _differ(lines, pair):
        return x
    return pair[which].factor * x + pair[which].offset


def _shown(line: Line) -> str:
    if line.factor == 1.0 and not line.offset:
        return "taken as it is"
    scaled = "" if line.factor == 1.0 else f"multiplied by {line.factor:.6g}"
    moved = f"moved by {line.offset:.6g}" if line.offset else ""
    return " and ".join(part for part in (scaled, moved) if part)


def _narrowest(line: Line | None) -> str:
    known = [dtype for dtype in line.dtypes if dtype in _BITS] if line is not None else []
    return min(known, key=lambda dtype: _BITS[dtype], default="")
