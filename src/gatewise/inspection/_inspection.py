"""What an inspection found, and how its record looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from gatewise.graphs import Constant, Graph, Left, Site

SCHEMA = "gatewise.inspect/1"
PROBED, DECLARED = "probed", "declared"


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """The activations and gates of one model.

    Attributes:
        source: what was inspected.
        format: `torch`, `onnx`, `openvino`, or `safetensors` where only files could be read.
        how: `probed`: every function was computed; `declared`: taken from the recipe or config.
        facts: what the format says about itself.
        sites: in the graph's order.
        left: regions that look like a site and are none, with the reason.
        weights: the stored tensors by name, as far as they are part of the model.
        graph: what was probed; None where nothing could be.
        seen: what went into each site, by its output's name, where there was data.
        data: what data that was; "" for none.
        parts: of gates, by their output's name: the weights of gate and up, where they are known beforehand.
    """

    source: str
    format: str
    how: str
    facts: Mapping[str, Any]
    sites: tuple[Site, ...]
    left: tuple[Left, ...]
    weights: Mapping[str, Constant]
    graph: Graph | None = None
    seen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    data: str = ""
    parts: Mapping[str, tuple[Constant, Constant]] = field(default_factory=dict[str, tuple[Constant, Constant]])

    @property
    def unknown(self) -> dict[str, int]:
        """Operations that the reader does not know, with how often they occur."""
        return dict(self.facts.get("unknown_ops", {}))

    def totals(self) -> dict[str, int]:
        """Parameters and bytes of the whole model; FLOPs of the layers around the sites, as each site counts them."""
        return {
            "sites": len(self.sites),
            "parameters": sum(weight.size for weight in self.weights.values()),
            "bytes": sum(stored_bytes(weight) for weight in self.weights.values()),
            "flops": sum(site.flops for site in self.sites),
        }

    def to_json(self) -> dict[str, Any]:
        """The document of `gatewise inspect --json`. A number that is not there is None, never NaN."""
        sites = [{**site.to_json(), "how": self.how, "inputs_seen": self.seen.get(site.output)} for site in self.sites]
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "source": self.source,
            "format": self.format,
            "facts": dict(self.facts),
            "data": self.data or None,
            "sites": sites,
            "left": [left.to_json() for left in self.left],
            "totals": self.totals(),
            "unknown_ops": self.unknown,
        }
        cleaned: dict[str, Any] = without_nan(document)
        return cleaned


_BITS = {"bool": 8, "int4": 4, "uint4": 4, "float4_e2m1": 4, "int2": 2, "uint2": 2}


def stored_bytes(weight: Constant) -> int:
    """Bytes of a tensor as stored."""
    digits = "".join(letter for letter in weight.dtype.partition("_")[0] if letter.isdigit())
    bits = _BITS.get(weight.dtype, int(digits) if digits else 8)
    return (weight.size * bits + 7) // 8


def without_nan(value: Any) -> Any:
    """The same plain data with None for NaN and infinities, lists for tuples and text for keys."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return without_nan(value.item()) if hasattr(value, "item") else str(value)
