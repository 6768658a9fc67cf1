"""A graph in the making: what a front end knows of each value, and the constants worked out as far as they go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError

from ._dtypes import is_float
from ._graph import Constant, Graph, Kind, Node, Shape

Values = NDArray[Any]
Compute = Callable[[Sequence[Values | None]], Values]
_HUGE = 2**30
_SMALL = 2**14
"""Constants of at most so many values are worked out at once, larger ones when they are asked for."""
_FAILS = (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError, MemoryError, KeyError)


@dataclass(kw_only=True, eq=False)
class Draft:
    """What is known so far. Names of values are those of the whole graph.

    Attributes:
        stored: for a constant worked out from others: the names of the stored ones, the largest first.
        partly: lists of whole numbers of which only some are known: the shape of a value with a free size.
        defined: all values that exist.
        unknown: operations that no table here knows.
        made: the constants worked out so far, by what they are worked out from.
    """

    source: str
    nodes: list[Node] = field(default_factory=list[Node])
    constants: dict[str, Constant] = field(default_factory=dict[str, Constant])
    shapes: dict[str, Shape] = field(default_factory=dict[str, Shape])
    dtypes: dict[str, str] = field(default_factory=dict[str, str])
    stored: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    partly: dict[str, list[int | None]] = field(default_factory=dict[str, list[int | None]])
    defined: set[str] = field(default_factory=set[str])
    unknown: dict[str, int] = field(default_factory=dict[str, int])
    made: dict[tuple[Any, ...], tuple[str, ...]] = field(default_factory=dict[tuple[Any, ...], tuple[str, ...]])

    def unique(self, name: str, prefix: str = "") -> str:
        """The name, with the prefix and then a number where it is taken; it is taken from now on."""
        found = name
        if name in self.defined or not name:
            base = found = f"{prefix}/{name}" if prefix else name or "value"
            count = 1
            while found in self.defined:
                count += 1
                found = f"{base}#{count}"
        self.defined.add(found)
        return found

    def emit(self, op: str, path: str, inputs: Sequence[str], output: str, **rest: Any) -> str:
        """Add a node; `rest` is `kind`, `evaluate`, `attributes`. Gives the name of its output back."""
        self.nodes.append(Node(op=op, path=path, inputs=tuple(inputs), output=output, **rest))
        self.defined.add(output)
        return output

    def inner(self, like: str, hint: str) -> str:
        """A new value inside an operation that is several here, of the shape and dtype of another."""
        name = self.unique(f"{like}/{hint}")
        for table in (self.shapes, self.dtypes):
            if like in table:
                table[name] = table[like]  # pyright: ignore[reportArgumentType]
        return name

    def add_constant(self, name: str, shape: tuple[int, ...], dtype: str, load: Callable[[], Values]) -> None:
        """A constant as the file stores it."""
        self.constants[name] = Constant(name=name, shape=shape, dtype=dtype, load=load)
        self.shapes[name] = shape
        self.dtypes.setdefault(name, dtype)
        self.defined.add(name)

    def numbers(self, name: str) -> list[int] | None:
        """The whole numbers of a small constant; None where it is none."""
        found = self.small(name)
        if found is None or not (np.issubdtype(found.dtype, np.integer) or found.dtype == np.bool_):
            return None
        return [int(number) for number in found.reshape(-1)]

    def small(self, name: str) -> Values | None:
        """The values of a small constant; None where it is none."""
        constant = self.constants.get(name)
        if constant is None or constant.size > _SMALL or constant.dtype == "string":
            return None
        try:
            return np.asarray(constant.load())
        except _FAILS:
            return None

    def shape_of(self, name: str) -> str:
        """The value whose whole shape this is; "" where it is none, or not known."""
        node = next((node for node in reversed(self.nodes) if node.output == name), None)
        if node is None or node.op != "Shape" or node.attributes.get("start", 0) or "end" in node.attributes:
            return ""
        return node.inputs[0]

    def fold(self, output: str, inputs: Sequence[str], compute: Compute, *, dtype: str | None = None) -> bool:
        """Make the output a constant worked out from constants, and say whether that could be done.

        Its dtype is that of the stored one it comes from (the largest): eight-bit weights stay eight-bit ones.
        """
        sources = [self.constants[name] if name else None for name in inputs]
        real = [source for source in sources if source is not None]
        if not real or any(source.dtype == "string" for source in real):
            return False

        def load() -> Values:
            if sum(source.size for source in real) > _HUGE:
                raise GatewiseError(f"{self.source}: the constant {output!r} is too large to be worked out")
            try:
                return compute([None if source is None else np.asarray(source.load()) for source in sources])
            except _FAILS as error:
                raise GatewiseError(f"{self.source}: the constant {output!r} cannot be worked out: {error}") from None

        shape = self.shapes.get(output)
        if shape is None or None in shape or sum(source.size for source in real) <= _SMALL:
            try:
                found = load()
            except GatewiseError:
                return False
            shape = found.shape
            if found.size <= _SMALL:
                kept = found
                load = lambda: kept  # noqa: E731
        main = max(real, key=lambda source: source.size)
        self.add_constant(output, tuple(int(size or 0) for size in shape), dtype or main.dtype, load)
        roots = [root for name in (main.name, *filter(None, inputs)) for root in self.stored.get(name, (name,))]
        self.stored[output] = tuple(dict.fromkeys(roots))
        return True

    def graph(self, form: str, inputs: Sequence[str], outputs: Sequence[str], facts: Mapping[str, Any]) -> Graph:
        """The finished graph, with the constants that something reads."""
        self._derive()
        read = {name for node in self.nodes for name in node.inputs} | set(outputs)
        constants = {name: constant for name, constant in self.constants.items() if name in read}
        stored = {name: self.stored[name] for name in constants if name in self.stored}
        return Graph(
            source=self.source,
            format=form,
            nodes=tuple(self.nodes),
            constants=constants,
            shapes=self.shapes,
            dtypes=self.dtypes,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            facts={**facts, "folded": stored, "unknown_ops": dict(sorted(self.unknown.items()))},
        )

    def _derive(self) -> None:
        """Fill in what follows from the inputs where the format left it open: shapes and dtypes of plain operations."""
        for node in self.nodes:
            if (shape := self._follows(node)) is not None:
                told = self.shapes.get(node.output, shape)
                if len(told) == len(shape):
                    shape = tuple(a if a is not None else b for a, b in zip(told, shape, strict=True))
                    self.shapes[node.output] = shape
            if node.output not in self.dtypes and node.kind in _SAME_DTYPE and node.inputs:
                known = next((self.dtypes[name] for name in node.inputs if name in self.dtypes), None)
                known = "bool" if node.kind is Kind.POINTWISE and node.op in _TRUTHS else known
                if known and (node.kind is not Kind.LINEAR or is_float(known)):
                    self.dtypes[node.output] = known

    def _follows(self, node: Node) -> Shape | None:
        shapes = [self.shapes.get(name) for name in node.inputs if name]
        if not shapes or shapes[0] is None:
            return None
        if node.kind in (Kind.COPY, Kind.CAST, Kind.NORM):
            return shapes[0]
        known = [shape for shape in shapes if shape is not None]
        if node.kind is Kind.POINTWISE:
            return _broadcast(known) if len(known) == len(shapes) else None
        if node.kind is Kind.LINEAR and "features" in node.attributes and node.attributes.get("data") == 0:
            return (*shapes[0][:-1], node.attributes["features"])
        axis, size = node.attributes.get("axis"), node.attributes.get("size")
        if node.kind is Kind.SELECT and isinstance(axis, int) and isinstance(size, int):
            axis %= max(len(shapes[0]), 1)
            return (*shapes[0][:axis], size, *shapes[0][axis + 1 :])
        return None


_SAME_DTYPE = (Kind.COPY, Kind.RESHAPE, Kind.SELECT, Kind.NORM, Kind.POINTWISE, Kind.LINEAR)
_TRUTHS = ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor")


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(len(shape) for shape in shapes)
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    result: list[int | None] = []
    for column in columns:
        sizes = {size for size in column if size != 1}
        fixed = [size for size in sizes if size is not None]
        result.append(fixed[0] if fixed else None if sizes else 1)
    return tuple(result)
