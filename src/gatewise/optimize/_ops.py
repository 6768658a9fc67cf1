"""The fused operations that stand for an activation written in pieces: one line for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatewise.graphs import Found

CONTRIB = "com.microsoft"
"""The domain of ONNX Runtime's own operations."""


@dataclass(frozen=True, kw_only=True)
class FusedOp:
    """One operation that computes a whole activation.

    Attributes:
        op_type, domain, attributes: as an ONNX node has them.
        since: the first version of its domain that has it.
    """

    op_type: str
    domain: str = ""
    attributes: Mapping[str, str | float] = field(default_factory=dict[str, "str | float"])
    since: int = 1

    @property
    def name(self) -> str:
        """As people read it."""
        domain = f"{self.domain}." if self.domain else ""
        inside = ", ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in self.attributes.items()
        )
        return f"{domain}{self.op_type}{f'({inside})' if inside else ''}"


_FUSED: dict[str, tuple[FusedOp, ...]] = {
    "gelu": (FusedOp(op_type="Gelu", since=20), FusedOp(op_type="Gelu", domain=CONTRIB)),
    "gelu_tanh": (
        FusedOp(op_type="Gelu", attributes={"approximate": "tanh"}, since=20),
        FusedOp(op_type="FastGelu", domain=CONTRIB),
    ),
    "hardswish": (FusedOp(op_type="HardSwish", since=14),),
    "mish": (FusedOp(op_type="Mish", since=18),),
    "softplus": (FusedOp(op_type="Softplus"),),
    "sigmoid": (FusedOp(op_type="Sigmoid"),),
    "tanh": (FusedOp(op_type="Tanh"),),
    "relu": (FusedOp(op_type="Relu"),),
    "leaky_relu": (FusedOp(op_type="LeakyRelu", attributes={"alpha": 0.01}),),
}

_SWISH = {"silu": 1.0, "quick_gelu": 1.702}


def activation_of(gate: str) -> str | None:
    """The scalar function inside a gate, where the gate is that function times the other input; else None."""
    from gatewise.activations import get

    return None if gate == "swiglu_clamped" else get(gate).act


def fused_ops(found: Found, opset: int) -> tuple[FusedOp, ...]:
    """The operations that compute the scalar function `found` in a model of that opset; () when there is none.

    x * sigmoid(beta x) has one for every beta, so it needs no name in the table.
    """
    beta = _SWISH.get(found.name or "")
    if beta is None and found.nearest in _SWISH and set(found.settings) == {"beta"}:
        beta = found.settings["beta"]
    if beta is not None:
        return (FusedOp(op_type="QuickGelu", domain=CONTRIB, attributes={"alpha": float(beta)}),)
    if found.name is None or found.settings:
        return ()
    return tuple(op for op in _FUSED.get(found.name, ()) if op.domain or op.since <= opset)
