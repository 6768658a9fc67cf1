"""What stands at one place of a graph: which function, how it is written, what the layer around it weighs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ._graph import Evaluate


@dataclass(frozen=True, kw_only=True)
class Found:
    """Which function of the table some code computes, found by numbers.

    The settings of a scalar function:

    - `beta` of x * sigmoid(beta x) where it is neither 1 nor 1.702. That is another function, so it has no name; a
      gate with it is a `swiglu` with that `beta` (1.702 too).
    - `slope` of leaky_relu, `alpha` of elu and `beta` of softplus where they are not the table's. These are parameters
      of the family, so the name stays.
    - `low`, `high`: the input is clipped first; `out_low`, `out_high`: the output is clipped. No name then. Where both
      describe the same function, the rounder number tells; relu6 is relu with `out_high` 6. A bare clip, as hardtanh,
      has `low` and `high` and no family.
    - `scale`: a constant times a function of the table. No name.

    Of a gate besides: `up_low`, `up_high`, `up_offset` of clip(up, up_low, up_high) + up_offset; and `limit`, `beta`
    of `swiglu_clamped` where they are not 7 and 1.702.

    Attributes:
        name: of the table of activations and gates; None when nothing in it fits, or more than one does.
        nearest: the closest one, or where settings were recovered the one they belong to; None when nothing could be
            evaluated.
        distance: largest |got - reference| / max(1, |x|, |reference|) over the probes; the reference is that of
            `nearest`, where there is a name with its settings. inf where a value is not finite.
        settings: recovered constants, with seven significant digits.
        reason: why there is no name; "" when there is one.
        gate: of a gate: which of the two inputs is the gate, 0 or 1.
    """

    name: str | None
    nearest: str | None
    distance: float
    settings: Mapping[str, float] = field(default_factory=dict[str, float])
    reason: str = ""
    gate: int = 0


@dataclass(frozen=True, kw_only=True)
class Line:
    """The straight way between a site and a linear operation, where only constants scale and move: factor * x + offset.

    Attributes:
        weight: the name of the linear operation's weights.
        factor: with that of the operation itself, where it has one.
        offset: of single numbers; a vector that is added is a bias and counts as 0.
        dtypes: the floating dtypes that values have on the way, the output of a linear operation before included.
        low, high: what a quantiser on the way limits the site's own value to; None where none does.
    """

    weight: str
    factor: float
    offset: float
    dtypes: tuple[str, ...]
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As a lock keeps it."""
        return {**asdict(self), "dtypes": list(self.dtypes)}


@dataclass(frozen=True, kw_only=True)
class Left:
    """Arithmetic that was seen and is no activation: kept so that nothing is dropped without a word.

    Attributes:
        path: as of a `Site`.
        ops: the operations, in order, without casts and copies.
        output: the value that comes out.
        reason: why it is none.
    """

    path: str
    ops: tuple[str, ...]
    output: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As the record of an inspection shows it."""
        return {"path": self.path, "ops": list(self.ops), "output": self.output, "reason": self.reason}


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
        dtype: the dtype it is computed in; where casts inside mix several, narrowest first: "float16 float32". Whole
            numbers between a quantisation and its reverse do not count, unless there is nothing else.
        evaluate: the function itself, in float64, of one array for each input (and of the same shape). A constant that
            differs from channel to channel is taken as that of the first channel, a fused bias as 0.
        gate_part: for a gate of one packed projection: which part is the gate, as (index, count); else None.
        width: the hidden width: the size of the last dimension, behind a convolution of the channels; None where not
            known.
        weights: names of the constants of the linear operations that feed it and that it feeds, each once, without
            their biases.
        feeding: those that feed it alone, in the order of `inputs`.
        constants_dtype: the coarsest dtype that a constant of its own is stored in.
        before: for each input, the line from the linear operation that feeds it; None where it is no such line.
        after: the line to the one linear operation that reads its output.
        parameters: values in `weights` and their biases.
        flops: 2 * multiply-adds of those linear operations for one item at the shapes of the graph, unknown sizes as 1.
        bytes: of those weights and biases, as stored.
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
    constants_dtype: str = "float32"
    before: tuple[Line | None, ...] = ()
    after: Line | None = None
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
