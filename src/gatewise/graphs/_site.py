"""What stands at one place of a graph: which function, how it is written, what the layer around it weighs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._graph import Evaluate


@dataclass(frozen=True, kw_only=True)
class Found:
    """Which function of the table some code computes, found by numbers.

    Attributes:
        name: of the table of activations and gates; None when nothing in it fits, or more than one does.
        nearest: the closest one; None when nothing could be evaluated.
        distance: largest |got - reference| / max(1, |x|, |reference|) of `nearest` over the probes.
        settings: recovered constants of the family: `beta` of x * sigmoid(beta x) where it is neither 1 nor 1.702,
            `slope`, `alpha`, `low` and `high` (limits of a clamp on the input or the gate), `up_low`, `up_high`, ...
        reason: why there is no name; "" when there is one.
    """

    name: str | None
    nearest: str | None
    distance: float
    settings: Mapping[str, float] = field(default_factory=dict[str, float])
    reason: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """One activation or gate of a graph: a region of pointwise operations with one output.

    Attributes:
        path: the place, without the name of the operation: `/encoder/layer.0/intermediate_act_fn`.
        kind: `scalar` for f(x), `gate` for f(gate) * g(up).
        found: the function.
        inputs: the values that go in: (x,) or (gate, up).
        output: the value that comes out.
        ops: the operations it is made of, in order, without casts and copies.
        dtype: the dtype it is computed in; where casts inside mix several, all of them, narrowest first, "float16 float32".
        evaluate: the function itself, in float64, of one array for each input (and of the same shape).
        gate_part: for a gate of one packed projection: which part is the gate, as (index, count); else None.
        width: the size of the last dimension (hidden width); None where not known.
        weights: names of the constants of the linear operations that feed it and that it feeds, each once.
        feeding: those that feed it alone, in the order of `inputs`.
        parameters: values in `weights` and their biases.
        flops: 2 * multiply-adds of those linear operations for one item at the shapes of the graph, unknown sizes as 1.
        bytes: of those weights, as stored.
    """

    path: str
    kind: str
    found: Found
    inputs: tuple[str, ...]
    output: str
    ops: tuple[str, ...]
    dtype: str
    evaluate: Evaluate = field(repr=False)
    gate_part: tuple[int, int] | None = None
    width: int | None = None
    weights: tuple[str, ...] = ()
    feeding: tuple[str, ...] = ()
    parameters: int = 0
    flops: int = 0
    bytes: int = 0

    @property
    def fused(self) -> bool:
        """Whether it is one operation: for a gate, the activation one operation and the product another."""
        return len(self.ops) <= (2 if self.kind == "gate" else 1)

    def to_json(self) -> dict[str, Any]:
        """As the record of an inspection shows it."""
        return {
            "path": self.path,
            "kind": self.kind,
            "identity": self.found.name,
            "nearest": self.found.nearest,
            "distance": self.found.distance,
            "settings": dict(self.found.settings),
            "reason": self.found.reason,
            "fused": self.fused,
            "ops": list(self.ops),
            "dtype": self.dtype,
            "width": self.width,
            "gate_part": list(self.gate_part) if self.gate_part else None,
            "parameters": self.parameters,
            "flops": self.flops,
            "bytes": self.bytes,
        }
