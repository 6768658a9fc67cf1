"""Activations that a quantised model leaves to the range of a quantiser: a ReLU, a clip."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gatewise.graphs import Graph, Kind, Node, Site

from ._align import Pair, akin, prints
from ._curve import SCALAR_GRID, curve
from ._inspection import Inspection

_STEPS, _EXACT = 255, 1e-4
_PASSED = (Kind.COPY, Kind.RESHAPE)
_FOUND = (Kind.LINEAR, Kind.NORM, Kind.POINTWISE)


def held_by_range(a: Inspection, b: Inspection, pairs: Sequence[Pair]) -> Mapping[str, str]:
    """Of the sites that only one model has, by output, those that a quantiser of the other computes: as a note each.

    A quantiser keeps values within its range, so converters drop a ReLU whose range begins at 0. It must stand between
    the neighbours' partners, behind a linear operation or a sum, and do to every value what the activation does.
    """
    found: dict[str, str] = {}
    for lost, other, which in ((True, b, "second"), (False, a, "first")):
        if other.graph is None:
            continue
        place = {node.output: index for index, node in enumerate(other.graph.nodes)}
        free = list(_quantisers(other.graph, {site.output for site in other.sites}))
        start = -1
        alone = _in_order(pairs, lost=lost)
        for index, (site, partner) in enumerate(alone):
            if partner is not None:
                start = max(start, place.get(partner.output, -1))
                continue
            ends = (place.get(later.output) for _, later in alone[index + 1 :] if later is not None)
            end = next((at for at in ends if at is not None), len(place))
            near = [one for one in free if start < place[one.output] < end]
            own = [one for one in near if _feeds(a if lost else b, site, other, one)]
            node = next((one for one in own or near if _computes(one, site)), None)
            if node is not None:
                free.remove(node)
                start = place[node.output]
                low, high = node.attributes["range"]
                limits = ", ".join(f"{key} {limit:.4g}" for key, limit in site.found.settings.items())
                name = site.found.name or f"a clip ({limits})"
                found[site.output] = (
                    f"{site.path}: {name} is left to a quantiser in the {which} model, range {low:.4g} to {high:.4g}"
                )
    return found


def _in_order(pairs: Sequence[Pair], *, lost: bool) -> list[tuple[Site, Site | None]]:
    """The sites of one model with their partners of the other."""
    both = [(pair.one, pair.other) if lost else (pair.other, pair.one) for pair in pairs]
    return [(site, partner) for site, partner in both if site is not None]


def _quantisers(graph: Graph, taken: set[str]) -> Iterator[Node]:
    """Quantisers of what no activation of the model has made."""
    for node in graph.nodes:
        if "range" not in node.attributes:
            continue
        source: Node | None = node if node.kind is Kind.LINEAR else graph.producer.get(node.inputs[0])
        while source is not None and source.kind in _PASSED and source.output not in taken:
            source = graph.producer.get(source.inputs[0])
        if source is not None and source.kind in _FOUND and source.output not in taken:
            yield node


def _feeds(model: Inspection, site: Site, other: Inspection, node: Node) -> bool:
    """Whether a quantiser stands at the site's place, by its path or by the weights before it."""
    own, path = (".".join(re.findall(r"[^/.:]+", text.lower())) for text in (site.path, node.path))
    if own and path.startswith(f"{own}."):
        return True
    if other.graph is None:
        return False
    linear: Node | None = node
    while linear is not None and linear.kind is not Kind.LINEAR:
        linear = next((other.graph.producer[name] for name in linear.inputs if name in other.graph.producer), None)
    names = linear.inputs if linear is not None else ()
    weights = [other.graph.constants[name] for name in names if name in other.graph.constants]
    return any(akin(mine, theirs) for mine in prints(model, site) for theirs in weights)


def _computes(node: Node, site: Site) -> bool:
    """Whether the activation is a clip, and the range lies within its limits, to a step of the quantiser.

    The range may be smaller: it ends where the data did that it was made from.
    """
    if site.kind != "scalar":
        return False
    try:
        values = curve(site)
    except (ValueError, TypeError, ArithmeticError, RuntimeError):
        return False
    if values is None or not np.isfinite(values).all():
        return False
    least, most = float(values.min()), float(values.max())
    if np.abs(values - np.clip(SCALAR_GRID, least, most)).max() > _EXACT:
        return False
    low, high = node.attributes["range"]
    step = (high - low) / _STEPS
    return bool(low >= least - step and high <= most + step)
