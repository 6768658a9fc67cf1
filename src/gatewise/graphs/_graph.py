"""A model as a graph of operations, whatever file or framework it came from: the one form that everything here reads.

A front end (ONNX, OpenVINO IR, a traced PyTorch model) says of each operation what kind it is and how to compute it in
float64; what the graph really computes is then found by numbers, without the framework and without trusting names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Shape = tuple[int | None, ...]
"""Sizes of the dimensions; None where one is not known before the model runs."""


SAMPLED = 48
"""About how many places of a dimension are in a sample."""


class Kind(Enum):
    """What an operation does to the values that pass through it."""

    POINTWISE = "pointwise"
    """Each output value depends on the input values at its own place alone, after broadcasting."""
    CAST = "cast"
    """The same values in another dtype, quantised ones too (a quantise or dequantise operation)."""
    COPY = "copy"
    """The same values: identity, dropout at inference, a copy."""
    RESHAPE = "reshape"
    """The same values at other places: reshape, transpose, squeeze, expand."""
    SELECT = "select"
    """Some of the values: one output of a split, a slice, a chunk. `attributes["part"]` says which, as (index, count),
    where the parts are equal."""
    LINEAR = "linear"
    """Input times constant weights, with or without bias: matrix product, fully connected layer, convolution."""
    NORM = "norm"
    """A normalisation, by fixed or by measured statistics."""
    REDUCE = "reduce"
    """Many values to one: sum, mean, maximum."""
    OTHER = "other"
    """Anything else: a matrix product of two activations, softmax, gather, concatenation, control flow."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Constant:
    """A weight or a number that is part of the model. The values are read when asked for.

    Attributes:
        name: as the file calls it.
        shape: () for a single number.
        dtype: as stored, such as "float16".
        load: the values as stored; bfloat16 as float32.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], NDArray[Any]] = field(repr=False)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_scalar(self) -> bool:
        """Whether it is one number, whatever its shape."""
        return self.size == 1

    @cached_property
    def fingerprint(self) -> tuple[int, float, float]:
        """Size, sum and sum of squares in float64: equal for a transposed copy in another file."""
        values = np.asarray(self.load(), dtype=np.float64)
        return self.size, float(values.sum()), float((values * values).sum())

    @cached_property
    def sample(self) -> Array:
        """Some of the values, in float64, spread evenly over each dimension: for a rough comparison."""
        values = np.asarray(self.load())
        steps = tuple(slice(None, None, max(size // SAMPLED, 1)) for size in values.shape)
        return np.asarray(values[steps], dtype=np.float64)


Evaluate = Callable[[Sequence[Array]], Array]


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operation with one output. An operation with several becomes several nodes (a split: one SELECT for each).

    Attributes:
        op: its name in its own format: `Erf`, `com.microsoft.FastGelu`, `aten.gelu.default`.
        path: where it stands, as its format names it: a node's name, a module's path; "" where nothing says.
        inputs: names of values; "" for an optional one that is left out.
        output: the name of its value; no two nodes have the same.
        kind: what it does to values.
        evaluate: for POINTWISE: the output for the inputs in their order (float64 arrays that broadcast; constants
            too). None where it cannot be computed here; then nothing looks through it.
        attributes: what the format says besides, as plain data.
    """

    op: str
    path: str
    inputs: tuple[str, ...]
    output: str
    kind: Kind
    evaluate: Evaluate | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A whole model.

    Attributes:
        source: the file, folder or function it came from.
        format: `onnx`, `openvino`, `torch`.
        nodes: in an order in which they can be computed; those of nested graphs stand in line with the others.
        constants: by name of the value.
        shapes: of values, as far as known; a value that is not in it has an unknown shape.
        dtypes: of values, as far as known: `float32`, `float16`, `bfloat16`, `int8`, ...
        inputs, outputs: names of values.
        facts: what the format says about itself: opset, producer, and so on, as plain data.
    """

    source: str
    format: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def producer(self) -> Mapping[str, Node]:
        """The node that makes a value; inputs and constants have none."""
        return {node.output: node for node in self.nodes}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read a value, in the graph's order, each once."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}
