"""What stands before and behind a value: linear operations, reductions, readers."""

from collections.abc import Iterable, Iterator

from ._graph import Kind, Node
from ._regions_values import Values

_PASSING = {Kind.CAST, Kind.COPY, Kind.RESHAPE, Kind.SELECT, Kind.NORM}
_SAME_VALUES = {Kind.CAST, Kind.COPY, Kind.RESHAPE}


def is_pool(node: Node) -> bool:
    """Whether a reduction takes the mean or maximum over places: its values are features still, not statistics."""
    return node.kind is Kind.REDUCE and "pool" in node.op.lower()


class Surroundings:
    """Which values of a graph come from linear operations, and which from reductions alone."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.graph = values.graph
        self._linear: set[str] = set()
        self._reduced: set[str] = set()
        for node in self.graph.nodes:
            before = values.varying(node)
            if node.kind is Kind.LINEAR:
                self._linear.add(node.output)
            elif node.kind is Kind.REDUCE and not is_pool(node):
                self._reduced.add(node.output)
            elif node.kind in _PASSING or node.kind in (Kind.POINTWISE, Kind.REDUCE):
                if any(name in self._linear for name in before):
                    self._linear.add(node.output)
                if node.kind is not Kind.NORM and before and all(name in self._reduced for name in before):
                    self._reduced.add(node.output)

    def stems_from_linear(self, name: str) -> bool:
        """Whether a linear operation stands before it: biases, norms and residual sums may stand between."""
        return name in self._linear

    def stems_from_reduction(self, name: str) -> bool:
        """Whether all it is made of are reductions: a variance, a mean."""
        return name in self._reduced

    def linears(self, name: str) -> tuple[Node, ...]:
        """The linear operations whose output it is, up to a bias, norm, cast or part; () where it is anything else.

        A sum of several counts where they read one value: a projection and its low-rank adapter.
        """
        node = self.graph.producer.get(name)
        if node is None:
            return ()
        if node.kind is Kind.LINEAR:
            return (node,)
        before = self.values.steady(node)
        if node.kind in _PASSING:
            return self.linears(before[0]) if before else ()
        alone = len(self.values.varying(node)) == 1
        if node.kind is not Kind.POINTWISE or not before or (alone and not self.values.is_affine(node)):
            return ()
        each = [self.linears(one) for one in before]
        found = tuple(dict.fromkeys(one for some in each for one in some))
        if not all(each) or (len(before) > 1 and len(self.sources(found)) != 1):
            return ()
        return found

    def sources(self, linears: Iterable[Node]) -> set[str]:
        """What linear operations read, followed back through linear operations."""
        found: set[str] = set()
        for node in linears:
            name = self._plain(self.values.varying(node)[0]) if self.values.varying(node) else ""
            behind = self.graph.producer.get(name)
            while behind is not None and behind.kind is Kind.LINEAR and self.values.varying(behind):
                name = self._plain(self.values.varying(behind)[0])
                behind = self.graph.producer.get(name)
            found.add(name)
        return found

    def reads(self, linears: Iterable[Node]) -> set[str]:
        """What linear operations read themselves."""
        return {self._plain(name) for node in linears for name in self.values.varying(node)[:1]}

    def _plain(self, name: str) -> str:
        """The value behind casts, copies and reshapes."""
        node = self.graph.producer.get(name)
        while node is not None and node.kind in _SAME_VALUES and node.inputs:
            name = node.inputs[0]
            node = self.graph.producer.get(name)
        return name

    def readers(self, name: str) -> Iterator[Node]:
        """The operations that read a value, behind casts, copies and reshapes."""
        for node in self.graph.consumers.get(name, ()):
            if node.kind in _SAME_VALUES:
                yield from self.readers(node.output)
            else:
                yield node

    def depends(self, name: str, other: str) -> bool:
        """Whether `name` is computed from `other`."""
        place = self.values.place
        least = place.get(other, -1)
        seen = {name}
        stack = [name]
        while stack:
            node = self.graph.producer.get(stack.pop())
            for before in () if node is None else node.inputs:
                if before == other:
                    return True
                if before not in seen and place.get(before, -1) > least:
                    seen.add(before)
                    stack.append(before)
        return False
