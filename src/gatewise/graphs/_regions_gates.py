"""The gates of a graph: products act(a) * g(b) of two linear operations' outputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ._graph import Array, Evaluate, Kind, Node, Shape
from ._identity_elementary import elementary
from ._identity_gate import NO_PRODUCT, identify_gate, meshes
from ._identity_probes import OTHER
from ._regions_pieces import constants_dtype
from ._regions_segments import peeled
from ._regions_values import Values
from ._regions_walk import Surroundings
from ._site import Found

_MOST_NODES = 80
_MOST_SCALES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Gate:
    """One gate: inputs as (gate, up)."""

    values: Values
    inputs: tuple[str, str]
    output: str
    nodes: tuple[Node, ...]
    found: Found

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """The function itself, of two arrays of one shape."""
        arrays = [np.asarray(array, dtype=np.float64) for array in inputs]
        given = {name: array.ravel() for name, array in zip(self.inputs, arrays, strict=True)}
        return self.values.compute(self.nodes, given, self.output)[:, 0].reshape(arrays[0].shape)


def find_gates(values: Values, around: Surroundings) -> list[Gate]:
    """Every gate, none inside another; the largest that has a name, then products of the form that have none."""
    joins = list(_joins(values))
    found: list[Gate] = []
    taken: set[str] = set()
    candidates: dict[str, Gate] = {}
    for output, pairs in reversed(joins):
        if output in taken:
            continue
        for pair in pairs:
            if not _may_be_gate(values, around, pair):
                continue
            gate = _identify(values, around, pair, output)
            if gate is not None and gate.found.name is not None:
                found.append(gate)
                taken |= {node.output for node in gate.nodes}
                break
            if gate is not None:
                candidates.setdefault(output, gate)
    for output, gate in candidates.items():
        if output not in taken and not taken & {node.output for node in gate.nodes}:
            found.append(gate)
            taken |= {node.output for node in gate.nodes}
    return found


def _joins(values: Values) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Values that join two roots, in order, with the pairs of roots they may be functions of: the furthest first."""
    behind: dict[str, frozenset[str]] = {}
    for node in values.graph.nodes:
        if node.kind is not Kind.POINTWISE or node.evaluate is None or values.root.get(node.output) != node.output:
            continue
        near = frozenset(values.root.get(name, name) for name in values.varying(node))
        far = frozenset[str]().union(*(behind.get(root, frozenset({root})) for root in near))
        pairs = [tuple(sorted(roots)) for roots in dict.fromkeys((far, near)) if len(roots) == 2]
        if pairs:
            behind[node.output] = frozenset(pairs[0])
            yield node.output, [(pair[0], pair[1]) for pair in pairs]


def _may_be_gate(values: Values, around: Surroundings, pair: tuple[str, str]) -> bool:
    """Whether both are linear operations' outputs of one shape, neither computed from the other."""
    a, b = pair
    if not (around.linears(a) and around.linears(b)):
        return False
    shapes = values.graph.shapes
    return _equal(shapes.get(a), shapes.get(b)) and not around.depends(a, b) and not around.depends(b, a)


def _equal(a: Shape | None, b: Shape | None) -> bool:
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(None in (i, j) or i == j for i, j in zip(a, b, strict=True))


def _identify(values: Values, around: Surroundings, pair: tuple[str, str], output: str) -> Gate | None:
    """The gate that ends at `output`, or after constants that scale it; unnamed where only the form fits."""
    nodes = values.between(pair, output)
    if len(nodes) > _MOST_NODES:
        return None
    a, b = (peeled(values, nodes, root) for root in pair)
    unnamed: Gate | None = None
    for inputs in dict.fromkeys([(a[0], b[0]), (a[1], b[1]), (a[0], b[1]), (a[1], b[0])]):
        for end in _ends(values, output):
            gate = _at(values, inputs, end)
            if gate is None:
                break
            if gate.found.name == "bilinear" and not _is_bilinear(values, around, pair, end):
                return None
            if gate.found.name is not None:
                return gate
            if unnamed is None and not _is_mathematics(gate):
                unnamed = gate
            if "scale" not in gate.found.settings:
                break
    return unnamed


def _ends(values: Values, output: str) -> Iterator[str]:
    """The value, and those that only scale it by constants after it, as long as nothing else reads what is between."""
    yield output
    for _ in range(_MOST_SCALES):
        readers = values.graph.consumers.get(output, ())
        if len(readers) != 1 or values.root.get(readers[0].output) != values.root.get(output):
            return
        output = readers[0].output
        yield output


def _at(values: Values, inputs: tuple[str, str], end: str) -> Gate | None:
    """The gate from these inputs to `end`; None where it is no product of the wanted form."""
    nodes = tuple(values.between(inputs, end))
    if values.vectors(nodes):
        return None

    def f(arrays: Sequence[Array]) -> Array:
        return values.compute(nodes, dict(zip(inputs, arrays, strict=True)), end)[:, 0]

    evaluate: Evaluate = f
    found = identify_gate(evaluate, constants_dtype=constants_dtype(values, nodes))
    if found.name is None and found.reason.startswith(NO_PRODUCT):
        return None
    ordered = (inputs[found.gate], inputs[1 - found.gate])
    return Gate(values=values, inputs=ordered, output=end, nodes=nodes, found=replace(found, gate=0))


def _is_mathematics(gate: Gate) -> bool:
    """Whether its activation is a single piece of mathematics, such as exp: then it is no gate."""
    mesh = meshes(gate.evaluate)[0]
    return elementary(mesh[:, int(np.flatnonzero(OTHER == 1.0)[0])]) is not None


def _is_bilinear(values: Values, around: Surroundings, pair: tuple[str, str], end: str) -> bool:
    """A plain product is a gate only between two linear operations that read one value, and before a linear one."""
    a, b = (around.linears(root) for root in pair)
    together = set(a) == set(b) or around.reads(a) == around.reads(b)
    return together and any(node.kind is Kind.LINEAR for node in around.readers(end))
