"""Values of a graph as functions of others: what each stems from, and what it is for given inputs, in float64."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._graph import Array, Constant, Graph, Kind, Node
from ._identity_probes import GRID, is_affine

# A cast from floats to one of these changes values.
WHOLE = {"bool", "int16", "int32", "int64", "uint16", "uint32", "uint64"}
_NUM_CHANNELS = 16


class Values:
    """The values of one graph.

    A value *stems* from one root where everything between is pointwise arithmetic with constants: `root[value]`. What
    joins values of different roots (a product of two, a residual sum) is a root of its own, and so is whatever another
    kind of operation makes. Constants, and arithmetic of constants alone, have none.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.place = {node.output: index for index, node in enumerate(graph.nodes)}
        self.root: dict[str, str] = {}
        self.members: dict[str, list[Node]] = {}
        self._constants: dict[str, Array | None] = {}
        self._folded: dict[str, Node] = {}
        self._affine: dict[str, bool] = {}
        self._find_roots()

    def _find_roots(self) -> None:
        for node in self.graph.nodes:
            data = self.varying(node)
            through = self.looks_through(node)
            if not data and node.inputs and (through or node.kind is Kind.RESHAPE):
                self._folded[node.output] = node
                continue
            roots = {self.root.get(name, name) for name in data}
            if through and len(roots) == 1 and self._is_computable(node):
                root = roots.pop()
                self.root[node.output] = root
                self.members.setdefault(root, []).append(node)
            else:
                self.root[node.output] = node.output

    def _is_computable(self, node: Node) -> bool:
        """Whether the constants that a node reads can be read or folded."""
        if node.kind is not Kind.POINTWISE:
            return True
        return all(self.constant(name) is not None for name in node.inputs if name in self._folded)

    def is_constant(self, name: str) -> bool:
        """Whether a value is a constant, or arithmetic of constants alone."""
        return name in self.graph.constants or name in self._folded

    def data_inputs(self, node: Node) -> tuple[str, ...]:
        """The inputs that carry values; of a cast or a copy the first (the others are scales and zero points)."""
        named = tuple(dict.fromkeys(name for name in node.inputs if name))
        return named[:1] if node.kind in (Kind.CAST, Kind.COPY, Kind.RESHAPE) else named

    def varying(self, node: Node) -> list[str]:
        """The inputs that carry values and are not constant."""
        return [name for name in self.data_inputs(node) if not self.is_constant(name)]

    def steady(self, node: Node) -> list[str]:
        """Its varying inputs, without what takes the place of a constant at run time.

        That is the scale of a dynamic quantisation (one number that a reduction makes), and an expert's bias, looked up
        in a table of constants.
        """
        before = self.varying(node)
        if node.kind is not Kind.POINTWISE or len(before) < 2:
            return before
        return [name for name in before if not self._is_dynamic_scale(name) and self.table_of(name) is None]

    def table_of(self, name: str) -> str | None:
        """The constant in which a value is looked up; None where it is not."""
        node = self.graph.producer.get(self.root.get(name, name))
        found = node is not None and node.kind is Kind.OTHER and bool(node.inputs) and self.is_constant(node.inputs[0])
        return node.inputs[0] if node is not None and found else None

    def _is_dynamic_scale(self, name: str) -> bool:
        root = self.root.get(name, name)
        node, shape = self.graph.producer.get(root), self.graph.shapes.get(root)
        return node is not None and node.kind is Kind.REDUCE and shape is not None and all(size == 1 for size in shape)

    def looks_through(self, node: Node) -> bool:
        """Whether a node's value is a function, place by place, of its inputs."""
        if node.kind is Kind.POINTWISE:
            return node.evaluate is not None
        if node.kind is Kind.CAST:
            first = self.data_inputs(node)[:1]
            before = self.graph.dtypes.get(first[0], "") if first else ""
            return not (before.startswith(("float", "bfloat")) and self.graph.dtypes.get(node.output, "") in WHOLE)
        return node.kind is Kind.COPY

    def constant(self, name: str) -> Array | None:
        """The values of a constant in float64, a single number where all are equal; None where they are not known."""
        if name not in self._constants:
            stored, node = self.graph.constants.get(name), self._folded.get(name)
            if stored is not None:
                self._constants[name] = _collapsed(np.asarray(stored.load()))
            else:
                self._constants[name] = None if node is None else self._fold(node)
        return self._constants[name]

    def _fold(self, node: Node) -> Array | None:
        if node.kind is not Kind.POINTWISE or node.evaluate is None:
            return self.constant(node.inputs[0])
        inputs = [self.constant(name) if name else np.zeros(()) for name in node.inputs]
        arrays = [array for array in inputs if array is not None]
        if len(arrays) != len(inputs):
            return None
        try:
            with np.errstate(all="ignore"):
                return _collapsed(np.asarray(node.evaluate(arrays)))
        except ValueError:  # a reshape, which is not followed here, left shapes that do not broadcast
            return None

    def stored(self, name: str) -> list[Constant]:
        """The stored constants that a constant is made of, the largest first."""
        found: list[Constant] = []
        stack, seen = [name], set[str]()
        while stack:
            one = stack.pop()
            if one in seen:
                continue
            seen.add(one)
            if one in self.graph.constants:
                found.append(self.graph.constants[one])
            elif one in self._folded:
                stack += [before for before in self._folded[one].inputs if before]
        return sorted(found, key=lambda constant: -constant.size)

    def is_affine(self, node: Node) -> bool:
        """Whether a pointwise node of one varying input only scales and moves it."""
        before = self.varying(node)
        if node.evaluate is None or len(before) != 1 or self.root.get(node.output) == node.output:
            return False
        if node.output not in self._affine:
            self._affine[node.output] = is_affine(self.compute([node], {before[0]: GRID}, node.output))
        return self._affine[node.output]

    def between(self, starts: Iterable[str], output: str) -> list[Node]:
        """The nodes from `starts` to `output`, in the graph's order; constants' own are left out."""
        stop = set(starts)
        seen: set[str] = set()
        stack = [output]
        while stack:
            name = stack.pop()
            if name in stop or name in seen or self.is_constant(name):
                continue
            seen.add(name)
            node = self.graph.producer.get(name)
            if node is not None:
                stack += self.varying(node)
        return [self.graph.nodes[index] for index in sorted(self.place[name] for name in seen if name in self.place)]

    def vectors(self, nodes: Sequence[Node]) -> list[str]:
        """The constants these nodes read that are not one number."""
        names = dict.fromkeys(name for node in nodes for name in self._operands(node) if self.is_constant(name))
        return [name for name in names if (array := self.constant(name)) is not None and array.size > 1]

    def _operands(self, node: Node) -> Sequence[str]:
        return [name for name in node.inputs if name] if node.kind is Kind.POINTWISE else self.data_inputs(node)

    def compute(
        self,
        nodes: Sequence[Node],
        given: Mapping[str, Array],
        output: str,
        replaced: Mapping[str, Array] | None = None,
    ) -> Array:
        """`output` for the given values, each [probes]: [probes, channels], over sample channels.

        Without vector constants there is one channel. `replaced` gives some constants other values, [1, channels].
        """
        known = {name: values.reshape(-1, 1) for name, values in given.items()}
        num = len(next(iter(known.values())))
        constants = {**self._samples(nodes), **(replaced or {})}
        absent = np.zeros((1, 1))
        with np.errstate(all="ignore"):
            for node in nodes:
                if node.output in known:
                    continue
                names = node.inputs if node.kind is Kind.POINTWISE else self.data_inputs(node)
                inputs = [known.get(name, constants.get(name, absent)) for name in names]
                if node.kind is Kind.POINTWISE and node.evaluate is not None:
                    known[node.output] = np.asarray(node.evaluate(inputs), dtype=np.float64)
                else:
                    known[node.output] = inputs[0]
        result = np.atleast_2d(known[output])
        return np.broadcast_to(result, (num, result.shape[-1]))

    def _samples(self, nodes: Sequence[Node]) -> dict[str, Array]:
        """Every constant these nodes read as [1, channels], at the same sample places."""
        names = dict.fromkeys(name for node in nodes for name in self._operands(node) if self.is_constant(name))
        arrays = {name: array for name in names if (array := self.constant(name)) is not None}
        longest = max((array for array in arrays.values() if array.size > 1), key=lambda a: a.size, default=None)
        if longest is None:
            return {name: array.reshape(1, 1) for name, array in arrays.items()}
        ends = [int(np.argmin(longest)), int(np.argmax(longest))]
        places = np.array([*np.linspace(0.0, 1.0, _NUM_CHANNELS - 2), *(end / (longest.size - 1) for end in ends)])
        return {name: _at(array, places) for name, array in arrays.items()}


def _at(values: Array, places: Array) -> Array:
    """The values at these places of [0, 1], as [1, channels]."""
    return values.ravel()[np.rint(places * (values.size - 1)).astype(int)][None]


def _collapsed(values: NDArray[Any]) -> Array | None:
    """In float64, as one number where all are equal; None for what holds no numbers."""
    if values.dtype.kind not in "fiub":
        return None
    numbers = values.astype(np.float64)
    if numbers.size and (numbers == numbers.flat[0]).all():
        return np.asarray(numbers.flat[0], dtype=np.float64)
    return numbers
