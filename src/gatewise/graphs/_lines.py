"""The straight way between a site and a linear operation: what is scaled, moved and rounded on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._graph import Kind, Node
from ._layers import constants_of
from ._regions_values import Values
from ._site import Line

_SAME = {Kind.CAST, Kind.COPY, Kind.RESHAPE, Kind.SELECT}
_PROBES = np.array([0.0, 1.0])
# Operations whose attribute `alpha` is a factor, and not the slope of a fused activation.
_SCALED = ("gemm", "fusedmatmul", "transposematmul")


def line_before(values: Values, name: str) -> Line | None:
    """From the linear operation that feeds a value, or the norm behind it; None where something else stands between."""
    way = _Way(values, name)
    node = values.graph.producer.get(name)
    while node is not None and node.kind not in (Kind.LINEAR, Kind.NORM):
        if not way.back_over(node):
            return None
        node = values.graph.producer.get(values.varying(node)[0])
    return None if node is None else way.ended(node, way.factor * _alpha(node))


def line_after(values: Values, name: str) -> Line | None:
    """From a value to the one linear operation that reads it, and nothing else does."""
    way = _Way(values, name)
    while name not in values.graph.outputs:
        readers = values.graph.consumers.get(name, ())
        if len(readers) != 1:
            return None
        node = readers[0]
        if node.kind is Kind.LINEAR:
            reads = values.varying(node)[:1] == [name]
            return way.ended(node, way.factor * _alpha(node), after=True) if reads else None
        if not way.on_over(node):
            return None
        name = node.output
    return None


@dataclass(kw_only=True)
class _Step:
    factor: float
    offset: float


class _Way:
    """What was passed so far, as factor * x + offset."""

    def __init__(self, values: Values, start: str) -> None:
        self.values = values
        self.factor, self.offset = 1.0, 0.0
        self.dtypes: set[str] = set()
        self.limits: list[tuple[float, float]] = []
        self._see(start)

    def back_over(self, node: Node) -> bool:
        """Take a step that stands before what was passed; False where it is none of a line."""
        self._limit(node)
        step = self._step(node)
        if step is not None:
            self.offset += self.factor * step.offset
            self.factor *= step.factor
        return step is not None

    def on_over(self, node: Node) -> bool:
        """The same for one that stands behind it."""
        step = self._step(node)
        if step is not None:
            self.offset = step.factor * self.offset + step.offset
            self.factor *= step.factor
        return step is not None

    def ended(self, linear: Node, factor: float, *, after: bool = False) -> Line | None:
        constants = constants_of(self.values, linear)
        if not constants:
            return None
        if not after:
            self._see(linear.output)
            self._limit(linear)
        low = max((low for low, _ in self.limits), default=None)
        high = min((high for _, high in self.limits), default=None)
        dtypes = tuple(sorted(self.dtypes))
        return Line(weight=constants[0].name, factor=factor, offset=self.offset, dtypes=dtypes, low=low, high=high)

    def _limit(self, node: Node) -> None:
        """What the range of a quantiser is at the other end of the line."""
        if "range" in node.attributes:
            ends = [self.factor * end + self.offset for end in node.attributes["range"]]
            self.limits.append((min(ends), max(ends)))

    def _step(self, node: Node) -> _Step | None:
        self._see(node.output)
        before = self.values.varying(node)
        if len(before) != 1:
            return None
        if node.kind in _SAME:
            return _Step(factor=1.0, offset=0.0)
        if node.kind is not Kind.POINTWISE or not self.values.is_affine(node):
            return None
        at = self.values.compute([node], {before[0]: _PROBES}, node.output)
        slopes = at[1] - at[0]
        if not np.isfinite(at).all() or not np.allclose(slopes, slopes[0], rtol=1e-9, atol=0.0):
            return None
        offset = 0.0 if self._has_vector(node.inputs) else float(at[0, 0])  # a vector that is added is a bias
        return _Step(factor=float(slopes[0]), offset=offset)

    def _has_vector(self, names: Sequence[str]) -> bool:
        constant = [name for name in names if name and self.values.is_constant(name)]
        return any(stored.size > 1 for name in constant for stored in self.values.stored(name))

    def _see(self, name: str) -> None:
        dtype = self.values.graph.dtypes.get(name, "")
        if dtype.startswith(("float", "bfloat")):
            self.dtypes.add(dtype)


def _alpha(node: Node) -> float:
    scaled = node.op.lower().rpartition(".")[2] in _SCALED
    return float(node.attributes.get("alpha", 1.0)) if scaled else 1.0
