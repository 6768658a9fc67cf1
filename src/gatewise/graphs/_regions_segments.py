"""A region cut into segments: from one value through which everything passes to the next."""

from collections.abc import Sequence
from functools import cached_property

from ._graph import Array, Kind, Node
from ._identity_probes import GRID, is_affine, is_identity
from ._regions_values import Values


class Segment:
    """From one value through which everything passes to the next."""

    def __init__(self, values: Values, start: str, end: str, nodes: tuple[Node, ...]) -> None:
        self.values, self.start, self.end, self.nodes = values, start, end, nodes

    @cached_property
    def vectors(self) -> list[str]:
        return self.values.vectors(self.nodes)

    @cached_property
    def on_grid(self) -> Array:
        return self.values.compute(self.nodes, {self.start: GRID}, self.end)

    @cached_property
    def affine(self) -> bool:
        """Whether it only scales and moves, in each channel."""
        return self._passes_on or is_affine(self.on_grid)

    @cached_property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self._passes_on or (self.affine and is_identity(self.on_grid))

    @property
    def constant(self) -> bool:
        """Whether it gives one number whatever comes in."""
        return not self._passes_on and bool((self.on_grid == self.on_grid[:1]).all())

    @property
    def _passes_on(self) -> bool:
        return all(node.kind is not Kind.POINTWISE for node in self.nodes)


def segments(values: Values, start: str, end: str) -> list[Segment]:
    """The parts of start -> end between the values through which every path goes."""
    return chain(values, values.between([start], end), start)


def chain(values: Values, nodes: Sequence[Node], start: str) -> list[Segment]:
    """The same where `nodes` lead from several roots to one value: up to where paths from `start` meet another's."""
    reach = {start: -1}
    for index, node in enumerate(nodes):
        for name in values.varying(node):
            reach[name] = index
    found: list[Segment] = []
    root = values.root.get(start, start)
    furthest, begin, held = reach[start], start, list[Node]()
    for index, node in enumerate(nodes):
        if values.root[node.output] != root:
            continue
        held.append(node)
        if furthest <= index:
            found.append(Segment(values, begin, node.output, tuple(held)))
            begin, held = node.output, []
        furthest = max(furthest, reach.get(node.output, index))
    return found


def peeled(values: Values, nodes: Sequence[Node], start: str) -> tuple[str, str]:
    """Where a branch may begin: after the last vector of constants (a bias), and after all that scales and moves."""
    least = most = start
    for segment in chain(values, nodes, start):
        if not segment.affine:
            break
        if segment.vectors or (segment.idle and least == most):
            least = segment.end
        most = segment.end
    return least, most
