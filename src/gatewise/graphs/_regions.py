"""Every activation and gate of a graph, found by what its arithmetic computes."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from ._dtypes import is_float
from ._graph import Graph, Kind, Node
from ._layers import layer_of
from ._lines import line_after, line_before
from ._regions_gates import Gate, find_gates
from ._regions_paths import common_path, distinct
from ._regions_pieces import Piece, constants_dtype, pieces
from ._regions_values import WHOLE, Values
from ._regions_walk import Surroundings
from ._site import Found, Left, Site

# Mathematics that is not defined everywhere: a clip before it only guards it.
_PARTIAL = {"log", "log(1 + x)", "sqrt", "1 / sqrt", "1 / x"}


def find_sites(graph: Graph) -> tuple[list[Site], list[Left]]:
    """The activations and gates of a graph, in its order, and the arithmetic that was looked at and is none.

    A gate is act(a) * g(b) of two linear operations' outputs, g the identity, a clip, or a clip and an offset; a plain
    product only between two linear operations that read one value, and before a linear one. An activation is a
    nonlinear function f(x) of one value that is in the table, or that comes from a linear operation and is no single
    piece of mathematics. Biases, scales, residual sums, casts and copies around it are not part of it.
    """
    return _Search(graph).run()


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A piece of a region: its root, whether all of the region has names, and the mathematics right behind it."""

    piece: Piece
    root: str
    alone: bool
    behind: str


class _Search:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values = Values(graph)
        self.around = Surroundings(self.values)
        self.taken: set[str] = set()
        self.sites: list[Site] = []
        self.left: list[Left] = []

    def run(self) -> tuple[list[Site], list[Left]]:
        for gate in find_gates(self.values, self.around):
            self.taken |= {node.output for node in gate.nodes}
            self.sites.append(self._gate_site(gate))
        for root in self.values.members:
            self._search_region(root)
        for node in self.graph.nodes:
            if node.kind is Kind.POINTWISE and node.evaluate is None and self.values.varying(node):
                reason = f"{node.op} cannot be computed here"
                self.left.append(Left(path=node.path or node.output, ops=(node.op,), output=node.output, reason=reason))
        place = self.values.place
        self.sites.sort(key=lambda site: place[site.output])
        self.left.sort(key=lambda left: place[left.output])
        paths = distinct([site.path for site in self.sites], [site.output for site in self.sites])
        return [replace(site, path=path) for site, path in zip(self.sites, paths, strict=True)], self.left

    def _search_region(self, root: str) -> None:
        """The pieces on the way to each value that others read, the last value first."""
        for output in reversed(self._outputs(root)):
            if output in self.taken:
                continue
            found = [piece for piece in pieces(self.values, root, output) if not self._is_taken(piece)]
            alone = all(piece.found.name for piece in found)
            for piece, after in zip_longest(found, found[1:]):
                self.taken |= {node.output for node in piece.nodes}
                behind = after.elementary[0] if after is not None and after.elementary else ""
                self._judge(_Seen(piece=piece, root=root, alone=alone, behind=behind))

    def _outputs(self, root: str) -> list[str]:
        inside = {node.output for node in self.values.members[root]}
        ends = set(self.graph.outputs)
        found: list[str] = []
        for node in self.values.members[root]:
            readers = self.graph.consumers.get(node.output, ())
            if node.output in ends or any(reader.output not in inside for reader in readers):
                found.append(node.output)
        return found

    def _is_taken(self, piece: Piece) -> bool:
        return all(node.output in self.taken for node in piece.nodes if node.kind is Kind.POINTWISE)

    def _judge(self, seen: _Seen) -> None:
        """A site, or left with a reason."""
        piece = seen.piece
        reason = self._reason_against(seen)
        if not reason:
            self.sites.append(self._scalar_site(piece))
            return
        nodes = _working(piece.nodes)
        path = common_path(nodes, piece.end)
        self.left.append(Left(path=path, ops=tuple(node.op for node in nodes), output=piece.end, reason=reason))

    def _reason_against(self, seen: _Seen) -> str:
        piece, around = seen.piece, self.around
        linear = around.stems_from_linear(seen.root)
        reduced = around.stems_from_reduction(seen.root)
        if not linear and self.graph.dtypes.get(seen.root, "") in WHOLE:
            return "it works on whole numbers"
        if _clips(piece.found) and (reduced or seen.behind in _PARTIAL):
            return "it limits a reduction" if reduced else f"it keeps its input where {seen.behind} is defined"
        if piece.found.name is not None:
            if reduced and not seen.alone:
                return f"{piece.found.name} of a reduction, among other arithmetic"
            return ""
        if len(piece.elementary) == 1:
            return f"{piece.elementary[0]} is a piece of mathematics, no activation"
        if reduced:
            return "it works on a reduction"
        if piece.elementary and any(node.kind is Kind.REDUCE for node in around.readers(piece.end)):
            return "it prepares a reduction"
        if not linear:
            return f"it has no name and comes from no linear operation; {piece.found.reason}"
        return ""

    def _scalar_site(self, piece: Piece) -> Site:
        nodes = _working(piece.nodes)
        ops = tuple(f"{node.op} (bias apart)" if piece.replaced else node.op for node in nodes)
        biases = [name for name in piece.replaced if name]
        return self._with_layer(
            Site(
                path=common_path(nodes, piece.end),
                kind="scalar",
                found=piece.found,
                inputs=(piece.start,),
                output=piece.end,
                ops=ops,
                dtype=self._dtype(piece.nodes, (piece.start,)),
                constants_dtype=constants_dtype(self.values, piece.nodes),
                evaluate=piece.evaluate,
            ),
            biases,
        )

    def _gate_site(self, gate: Gate) -> Site:
        nodes = _working(gate.nodes)
        return self._with_layer(
            Site(
                path=common_path(nodes, gate.output),
                kind="gate",
                found=gate.found,
                inputs=gate.inputs,
                output=gate.output,
                ops=tuple(node.op for node in nodes),
                dtype=self._dtype(gate.nodes, gate.inputs),
                constants_dtype=constants_dtype(self.values, gate.nodes),
                evaluate=gate.evaluate,
                gate_part=self._part(gate.inputs[0]),
            )
        )

    def _with_layer(self, site: Site, biases: Iterable[str] = ()) -> Site:
        layer = layer_of(self.values, site.inputs, site.output, biases)
        return replace(
            site,
            before=tuple(line_before(self.values, name) for name in site.inputs),
            after=line_after(self.values, site.output),
            width=self._width(site),
            weights=layer.weights,
            feeding=layer.feeding,
            parameters=layer.parameters,
            flops=layer.flops,
            bytes=layer.bytes,
        )

    def _width(self, site: Site) -> int | None:
        linears = self.around.linears(site.inputs[0])
        for name in (site.output, *site.inputs):
            shape = self.graph.shapes.get(name)
            if shape and len(shape) > 1:
                channels_first = "conv" in linears[0].op.lower() if linears else len(shape) > 3
                return shape[1 if channels_first else -1]
        return None

    def _part(self, name: str) -> tuple[int, int] | None:
        """Which part of a packed projection a value is, behind a bias, casts and reshapes."""
        node = self.graph.producer.get(name)
        while node is not None and node.kind is not Kind.SELECT:
            before = self.values.varying(node)
            if node.kind in (Kind.LINEAR, Kind.OTHER, Kind.REDUCE) or len(before) != 1:
                return None
            node = self.graph.producer.get(before[0])
        part = None if node is None else node.attributes.get("part")
        return (int(part[0]), int(part[1])) if part is not None else None

    def _dtype(self, nodes: Sequence[Node], inputs: Sequence[str]) -> str:
        """The dtypes of what is computed inside, narrowest first."""
        names = [node.output for node in nodes] or list(inputs)
        found = {self.graph.dtypes[name] for name in names if name in self.graph.dtypes} - {"bool"}
        found = found or {self.graph.dtypes[name] for name in inputs if name in self.graph.dtypes}
        # Between a quantisation and its reverse values are kept in 8 bits; nothing is computed in them.
        found = {dtype for dtype in found if is_float(dtype)} or found
        return " ".join(sorted(found, key=lambda dtype: (_bits(dtype), dtype)))


def _clips(found: Found) -> bool:
    """Whether a function only limits its input on one side, or on both."""
    return found.name == "relu" or (
        found.name is None and bool(found.settings) and set(found.settings) <= {"low", "high"}
    )


def _bits(dtype: str) -> int:
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) if digits else 8


def _working(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Without casts and copies."""
    return tuple(node for node in nodes if node.kind is Kind.POINTWISE)
