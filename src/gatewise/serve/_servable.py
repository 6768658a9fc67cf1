"""What executes one version: its name, its inputs and outputs, and a call on a batch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

Arrays = Mapping[str, "np.ndarray"]
"""A batch: an array for each input or output by its name, one row per item."""


class Port(Protocol):
    """An input or output in the words of the Open Inference Protocol.

    `datatype` is one of its types (`FP32`, `INT64`, `BOOL`, ...); `shape` begins with the batch; -1 is any size.
    """

    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


class Servable(Protocol):
    """One version, ready to run. `call` blocks, keeps rows in their order, and is never called twice at once."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def platform(self) -> str: ...
    @property
    def inputs(self) -> Sequence[Port]: ...
    @property
    def outputs(self) -> Sequence[Port]: ...

    def call(self, inputs: Arrays) -> Arrays: ...
