"""One activation of an ONNX graph, written in pieces, replaced by one operation. Nothing else of the model changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.graphs import Site

from ._ops import CONTRIB, FusedOp


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """A site and the operation that takes its place. `product` is the name of the value between a gate's two nodes."""

    site: Site
    op: FusedOp

    @property
    def product(self) -> str:
        """The value of a gate's activation, before it is multiplied."""
        return f"{self.site.output}_gatewise_activation"


def fuse(model: Any, fusions: Sequence[Fusion]) -> Any:
    """A copy of the ONNX model (a ModelProto) in which each site is one operation, or for a gate two.

    What the pieces were is taken out where nothing else reads it. The other nodes keep their order, names and
    attributes.
    """
    import onnx

    fused = onnx.ModelProto()
    fused.CopyFrom(model)
    graph = fused.graph
    by_output = {fusion.site.output: fusion for fusion in fusions}
    nodes: list[Any] = []
    region = {name for fusion in fusions for name in inside(graph, fusion.site)}
    for node in graph.node:
        fusion = next((by_output[name] for name in node.output if name in by_output), None)
        nodes += [node] if fusion is None else _replacement(onnx.helper, fusion, node.name)
    kept = _without_dead(graph, nodes, region)
    del graph.node[:]
    graph.node.extend(kept)
    if any(fusion.op.domain == CONTRIB for fusion in fusions) and CONTRIB not in {o.domain for o in fused.opset_import}:
        fused.opset_import.append(onnx.helper.make_opsetid(CONTRIB, 1))
    return fused


def _replacement(helper: Any, fusion: Fusion, name: str) -> list[Any]:
    site, op = fusion.site, fusion.op
    named = f"{site.path or name}/gatewise_{op.op_type}"
    gate = site.inputs[0]
    out = fusion.product if site.kind == "gate" else site.output
    nodes = [helper.make_node(op.op_type, [gate], [out], name=named, domain=op.domain or None, **op.attributes)]
    if site.kind == "gate":
        nodes.append(helper.make_node("Mul", [out, site.inputs[1]], [site.output], name=f"{named}_Mul"))
    return nodes


def inside(graph: Any, site: Site) -> set[str]:
    """Every value between a site's inputs and its output, itself excluded."""
    producer = {name: node for node in graph.node for name in node.output}
    seen: set[str] = set()
    waiting = [site.output]
    while waiting:
        node = producer.get(waiting.pop())
        for name in node.input if node is not None else ():
            if name and name not in site.inputs and name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def _without_dead(graph: Any, nodes: Sequence[Any], region: set[str]) -> list[Any]:
    """The nodes, without those of the region whose values nobody reads any more."""
    read = {value.name for value in graph.output} | {name for node in nodes for name in _nested_reads(node)}
    kept: list[Any] = []
    for node in reversed(nodes):
        dead = all(name in region and name not in read for name in node.output)
        if not dead:
            kept.append(node)
            read.update(node.input)
    return kept[::-1]


def _nested_reads(node: Any) -> set[str]:
    """What the bodies of control flow read from outside."""
    found: set[str] = set()
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                found.update(inner.input)
                found |= _nested_reads(inner)
    return found
