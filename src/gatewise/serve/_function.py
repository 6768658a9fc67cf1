"""Any Python function as a servable version: for tests, for trying things, and for models that we do not load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from ._servable import Arrays

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Tensor:
    """An input or output: `Tensor("x", "FP32", (-1, 4))`. The shape begins with the batch; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Function:
    """`function(inputs) -> outputs` on batches, as one version of a model.

    The digest says which name and version this is; a function's own code has no hash that could be trusted. A
    function may raise `GatewiseError` for rows that it refuses: the caller gets 400 and the line.
    """

    function: Callable[[Arrays], Arrays]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    model: str = "function"
    version: str = "1"
    platform: str = "python_function"

    @property
    def digest(self) -> str:
        """sha256 of the model's name, the version's label and the ports."""
        return sha256(repr((self.model, self.version, list(self.inputs), list(self.outputs))).encode()).hexdigest()

    def call(self, inputs: Arrays) -> Arrays:
        """Run one batch."""
        return self.function(inputs)


def echo(
    model: str = "echo", version: str = "1", *, datatype: str = "FP32", shape: tuple[int, ...] = (-1, -1)
) -> Function:
    """A version that gives its input `x` back as `y`."""

    def same(inputs: Arrays) -> "dict[str, np.ndarray]":
        return {"y": inputs["x"]}

    ports = [Tensor("x", datatype, shape)], [Tensor("y", datatype, shape)]
    return Function(function=same, inputs=ports[0], outputs=ports[1], model=model, version=version)
