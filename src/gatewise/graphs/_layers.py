"""The linear operations around a site: their weights, what they cost and how large they are."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ._graph import Constant, Kind, Node
from ._regions_values import Values

_BACK = {Kind.CAST, Kind.COPY, Kind.SELECT, Kind.RESHAPE, Kind.NORM}
_FORWARD = {Kind.CAST, Kind.COPY, Kind.RESHAPE}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """See the fields of the same names of `Site`."""

    weights: tuple[str, ...]
    feeding: tuple[str, ...]
    parameters: int
    flops: int
    bytes: int


def layer_of(values: Values, inputs: Sequence[str], output: str, biases: Iterable[str] = ()) -> Layer:
    """The layer of a site; `biases` are those that stand in the site's own operations."""
    before: dict[Node, None] = {}
    extra: dict[str, None] = dict.fromkeys(biases)
    for name in inputs:
        for node, passed in _feeding(values, name):
            before[node] = None
            extra |= dict.fromkeys(passed)
    after = dict.fromkeys(_reading(values, output))
    for node in after:
        extra |= dict.fromkeys(_biases_after(values, node.output))
    stored: dict[str, Constant] = {}
    weights: dict[str, None] = {}
    feeding: dict[str, None] = {}
    flops = 0
    for node in {**before, **after}:
        constants = constants_of(values, node)
        if not constants:
            continue
        weight, *others = constants
        weights[weight.name] = None
        if node in before:
            feeding[weight.name] = None
        stored |= {constant.name: constant for constant in (weight, *others)}
        flops += 2 * weight.size * _positions(values, node, weight)
    for name in extra:
        stored |= {constant.name: constant for constant in values.stored(name)[:1]}
    return Layer(
        weights=tuple(weights),
        feeding=tuple(feeding),
        parameters=sum(constant.size for constant in stored.values()),
        flops=flops,
        bytes=sum(size_bytes(constant) for constant in stored.values()),
    )


def size_bytes(constant: Constant) -> int:
    """The bytes of a constant as stored."""
    bits = re.search(r"\d+", constant.dtype)
    return (constant.size * (int(bits[0]) if bits else 8) + 7) // 8


def _feeding(values: Values, name: str) -> Iterator[tuple[Node, list[str]]]:
    """The linear operations behind a value, each with the biases that were passed on the way."""
    passed: list[str] = []
    node = values.graph.producer.get(name)
    while node is not None:
        if node.kind is Kind.LINEAR:
            yield node, passed
            return
        before = values.steady(node)
        if node.kind is Kind.POINTWISE and len(before) > 1:
            for one in before:  # a projection and its adapter
                for linear, more in _feeding(values, one):
                    if _is_sum(values, node):
                        yield linear, passed + more
            return
        if not before or (node.kind is not Kind.POINTWISE and node.kind not in _BACK):
            return
        if node.kind is Kind.POINTWISE and len(values.varying(node)) == 1 and not values.is_affine(node):
            return
        tables = [values.table_of(name) for name in values.varying(node)] if node.kind is Kind.POINTWISE else []
        passed = passed + _bias_of(values, node) + [table for table in tables if table is not None]
        node = values.graph.producer.get(before[0])


def _is_sum(values: Values, node: Node) -> bool:
    if node.evaluate is None or len(node.inputs) != 2:
        return False
    a, b = np.array([[1.0], [-2.5]]), np.array([[0.75], [4.0]])
    with np.errstate(all="ignore"):
        return bool(np.allclose(node.evaluate([a, b]), a + b))


def _reading(values: Values, name: str) -> Iterator[Node]:
    """The linear operations that read a value, behind casts, copies, reshapes and constant scales."""
    for node in values.graph.consumers.get(name, ()):
        if node.kind is Kind.LINEAR:
            if name in values.varying(node):
                yield node
        elif node.kind in _FORWARD or (node.kind is Kind.POINTWISE and values.is_affine(node)):
            yield from _reading(values, node.output)


def _bias_of(values: Values, node: Node) -> list[str]:
    """The vector of constants that a node adds to its input, whatever its values."""
    before = values.varying(node)
    if node.kind is not Kind.POINTWISE or not values.is_affine(node):
        return []
    for name in dict.fromkeys(node.inputs):
        stored = values.stored(name)[:1] if name and values.is_constant(name) else []
        if stored and stored[0].size > 1:
            ones = {name: np.ones((1, 1))}
            at = values.compute([node], {before[0]: np.array([0.0, 1.0])}, node.output, ones)
            if np.allclose(at, [[1.0], [2.0]]):
                return [name]
    return []


def _biases_after(values: Values, name: str) -> list[str]:
    """The bias that is added right after a linear operation, behind casts, copies and reshapes."""
    readers = values.graph.consumers.get(name, ())
    if len(readers) != 1:
        return []
    node = readers[0]
    if node.kind is Kind.POINTWISE and len(values.steady(node)) < len(values.varying(node)):
        tables = [table for one in values.varying(node) if (table := values.table_of(one)) is not None]
        return tables or _biases_after(values, node.output)
    if node.kind in _FORWARD:
        return _biases_after(values, node.output)
    return _bias_of(values, node)


def constants_of(values: Values, node: Node) -> list[Constant]:
    """The stored weights of a linear operation, the matrix first, then its biases."""
    found: list[Constant] = []
    for name in node.inputs:
        if name and values.is_constant(name):
            found += values.stored(name)[:1]
    found.sort(key=lambda constant: -constant.size)
    whole = bool(found) and found[0].dtype.startswith(("int", "uint"))
    biases = [c for c in found[1:] if c.size > 1 and (not whole or c.dtype == "int32")]
    return [*found[:1], *biases]


def _positions(values: Values, node: Node, weight: Constant) -> int:
    """How many times the weights are applied to one item: tokens, pixels; sizes that are not known count as 1."""
    op = node.op.lower()
    convolution = "conv" in op and len(weight.shape) > 2
    transposed = convolution and "transpose" in op
    before = values.varying(node)
    shape = values.graph.shapes.get(before[0] if transposed and before else node.output, ())
    sizes = shape[2:] if convolution else shape[1:-1]
    return math.prod(size for size in sizes if size is not None)
