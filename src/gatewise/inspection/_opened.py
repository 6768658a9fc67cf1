"""A model that has been opened, whatever it was."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gatewise.graphs import Constant, Graph, Site

from ._arrays import Arrays

Watch = Callable[[NDArray[Any]], None]
Observe = Callable[[Arrays | None, Mapping[str, Watch]], str]
"""Runs the model on arrays, or on its own data, tells the watchers of their values, and says what data that was."""
VALID = "a workload's name, a model folder, package.module:function, or a .onnx, .xml (OpenVINO) or .safetensors file"


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A model that can be looked at.

    Attributes:
        graph: None where nothing can be probed; then `declared` has the sites.
        weights: the stored tensors.
        observe: None where the model cannot be run.
        own_data: whether `observe` has data of its own.
    """

    source: str
    format: str
    facts: Mapping[str, Any]
    weights: Mapping[str, Constant]
    graph: Graph | None = None
    declared: tuple[Site, ...] = ()
    observe: Observe | None = field(default=None, repr=False)
    own_data: bool = False
