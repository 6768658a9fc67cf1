"""One region, from its root to a value that others read: cut into segments, and its activations found among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ._graph import Array, Kind, Node
from ._identity import identify_values
from ._identity_elementary import elementary
from ._identity_probes import GRID, TOLERANCE, distance, is_affine
from ._regions_segments import Segment, segments
from ._regions_values import Values
from ._site import Found

_LONGEST_RUN = 24
_MOST_SCALES = 3
# How much nearer a stretch must come to a function, and how near, to take the scales beside it in.
_NEARER, _NEAR = 0.25, 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Part of a region, from one value to another, and what it computes.

    `elementary` names its steps where all are single pieces of mathematics. `replaced`: a fused bias, taken as 0.
    """

    values: Values
    start: str
    end: str
    nodes: tuple[Node, ...]
    found: Found
    elementary: tuple[str, ...] = ()
    replaced: Mapping[str, Array] = field(default_factory=dict[str, Array])

    def evaluate(self, inputs: Sequence[Array]) -> Array:
        """The function itself, of an array of any shape; constants that differ by channel are those of the first."""
        x = np.asarray(inputs[0], dtype=np.float64)
        y = self.values.compute(self.nodes, {self.start: x.ravel()}, self.end, self.replaced)
        return y[:, 0].reshape(x.shape)


def pieces(values: Values, start: str, end: str) -> list[Piece]:
    """Everything nonlinear from start to end: the fewest activations that cover it, and what remains."""
    chain = segments(values, start, end)
    if all(segment.affine for segment in chain):
        return []
    chosen = _cover(values, chain)
    found: list[Piece] = []
    index = free = 0
    while index < len(chain):
        if index in chosen:
            stop, found_here = chosen[index]
            if found_here is not None:
                found.append(_piece(values, _trimmed(chain[index:stop]), found_here))
            index = free = stop
        elif chain[index].affine:
            index += 1
        else:
            stop = _rest_end(chain, index, chosen)
            first, last = _nearest_stretch(values, chain, (free, index, stop), chosen)
            found += _rest(values, chain[first:last])
            index = free = last
    return found


def _nearest_stretch(
    values: Values, chain: Sequence[Segment], places: tuple[int, int, int], chosen: Mapping[int, object]
) -> tuple[int, int]:
    """The unnamed stretch, with the scales before or behind it that bring it much nearer to a function of the table.

    A function that is nearly one of the table's, with its last factor apart, is near to nothing without that factor.
    """
    free, index, stop = places
    best, near = (index, stop), _identify(values, chain[index:stop]).distance
    least, most = index, stop
    while least > max(free, index - _MOST_SCALES) and chain[least - 1].affine and not chain[least - 1].vectors:
        least -= 1
    while (
        most < min(len(chain), stop + _MOST_SCALES)
        and most not in chosen
        and chain[most].affine
        and not chain[most].vectors
    ):
        most += 1
    for first in range(index, least - 1, -1):
        for last in range(stop, most + 1):
            away = _identify(values, chain[first:last]).distance if (first, last) != best else near
            if away < min(_NEARER * near, _NEAR):
                best, near = (first, last), away
    return best


def _rest_end(chain: Sequence[Segment], index: int, chosen: dict[int, tuple[int, Found | None]]) -> int:
    """Where the unnamed stretch that starts at `index` ends: after its last nonlinear segment."""
    stop = last = index
    while stop < len(chain) and stop not in chosen:
        stop += 1
        if not chain[stop - 1].affine:
            last = stop
    return last


def _trimmed(run: Sequence[Segment]) -> Sequence[Segment]:
    """Without casts and copies, and other segments that change nothing, at both ends."""
    first, last = 0, len(run)
    while last - first > 1 and run[first].idle:
        first += 1
    while last - first > 1 and run[last - 1].idle:
        last -= 1
    return run[first:last]


def _cover(values: Values, chain: Sequence[Segment]) -> dict[int, tuple[int, Found | None]]:
    """The runs of segments to take, by their first: the least left over, then named ones, then few, then long ones.

    A run that bends nothing as a whole is taken as nothing.
    """
    num = len(chain)
    best: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)] * (num + 1)
    step: dict[int, tuple[int, Found | None]] = {}
    for first in range(num - 1, -1, -1):
        after = best[first + 1]
        best[first] = (after[0] + (not chain[first].affine), *after[1:])
        for stop in range(first + 1, min(num, first + _LONGEST_RUN) + 1):
            run = chain[first:stop]
            if all(segment.affine for segment in run) or (len(run) > 1 and any(segment.vectors for segment in run)):
                continue
            if _is_affine(values, run):  # an activation and its inverse, or what is cut off before it bends
                if best[stop] < best[first]:
                    best[first], step[first] = best[stop], (stop, None)
                continue
            found = _identify(values, run)
            if found.name is None and (not found.settings or "scale" in found.settings):
                continue
            after = best[stop]
            cost = (after[0], after[1] + (found.name is None), after[2] + 1, after[3] - len(run) ** 2)
            if cost < best[first]:
                best[first], step[first] = cost, (stop, found)
    chosen: dict[int, tuple[int, Found | None]] = {}
    index = 0
    while index < num:
        if index in step:
            chosen[index] = step[index]
            index = step[index][0]
        else:
            index += 1
    return chosen


def _nodes(run: Sequence[Segment]) -> tuple[Node, ...]:
    return tuple(node for segment in run for node in segment.nodes)


def constants_dtype(values: Values, nodes: Sequence[Node]) -> str:
    """The coarsest dtype that a constant of these nodes is stored in, of those that move it."""
    names = {name for node in nodes for name in node.inputs if name and values.is_constant(name)}
    found = {constant.dtype for name in names for constant in values.stored(name)}
    return next((dtype for dtype in ("bfloat16", "float16") if dtype in found), "float32")


def _on_grid(values: Values, run: Sequence[Segment]) -> Array:
    return run[0].on_grid if len(run) == 1 else values.compute(_nodes(run), {run[0].start: GRID}, run[-1].end)


def _is_affine(values: Values, run: Sequence[Segment]) -> bool:
    """Whether a run bends nothing as a whole, other than by a factor of 0 behind what bends."""
    bends = [index for index, segment in enumerate(run) if not segment.affine]
    zeroed = any(segment.constant for segment in run[bends[0] :])
    return len(run) > 1 and not zeroed and is_affine(_on_grid(values, run))


def _identify(values: Values, run: Sequence[Segment]) -> Found:
    return _of_channels(_on_grid(values, run), constants_dtype(values, _nodes(run)))


def _of_channels(on_grid: Array, dtype: str) -> Found:
    """What all channels compute; no name where they differ."""
    channels = {column.tobytes(): column for column in np.ascontiguousarray(on_grid.T)}
    each = [identify_values(column, dtype) for column in channels.values()]
    first = each[0]
    if all((found.name, found.settings) == (first.name, first.settings) for found in each):
        return max(each, key=lambda found: found.distance)
    names = sorted({str(found.name or f"near {found.nearest}") for found in each})
    ranges: list[str] = []
    for key in sorted({key for found in each for key in found.settings}):
        own = [found.settings[key] for found in each if key in found.settings]
        ranges.append(f"{key} from {min(own):g} to {max(own):g}")
    worst = max(each, key=lambda found: found.distance)
    reason = f"its channels differ: {', '.join([*ranges, *names])}"
    return Found(name=None, nearest=worst.nearest, distance=worst.distance, reason=reason)


def _piece(values: Values, run: Sequence[Segment], found: Found) -> Piece:
    return Piece(values=values, start=run[0].start, end=run[-1].end, nodes=_nodes(run), found=found)


def _rest(values: Values, run: Sequence[Segment]) -> list[Piece]:
    """A stretch that has no name as a whole: a fused bias, a residual sum around an activation, or truly unnamed."""
    if len(run) == 1:
        shifted = _with_bias_apart(values, run[0])
        if shifted is not None:
            return [shifted]
        inside = _inside_a_sum(values, run[0])
        if inside:
            return inside
    piece = _piece(values, run, _identify(values, run))
    names = [elementary(segment.on_grid[:, 0]) for segment in run if not segment.affine]
    if piece.found.name is not None:
        return [piece]
    return [replace(piece, elementary=tuple(str(name) for name in names) if all(names) else ())]


def _with_bias_apart(values: Values, segment: Segment) -> Piece | None:
    """A fused operation f(x + b), as BiasGelu: the function is that with b = 0."""
    if len(segment.nodes) != 1:
        return None

    def run(x: Array, b: Array) -> Array:
        return values.compute(segment.nodes, {segment.start: x}, segment.end, {name: b.reshape(1, -1)})

    for name in dict.fromkeys(segment.nodes[0].inputs):
        bias = values.constant(name) if name and values.is_constant(name) else None
        if bias is None:
            continue
        zero = np.zeros(1)
        found = _of_channels(run(GRID, zero), constants_dtype(values, segment.nodes))
        shifts = np.linspace(float(bias.min()), float(bias.max()), 16 if bias.size > 1 else 1)
        if found.name is None or not shifts.any():
            continue
        expected = np.concatenate([run(GRID + shift, zero) for shift in shifts], axis=1)
        if distance(run(GRID, shifts), expected, GRID[:, None]) <= TOLERANCE:
            return replace(_piece(values, [segment], found), replaced={name: zero.reshape(1, 1)})
    return None


def _inside_a_sum(values: Values, segment: Segment) -> list[Piece]:
    """The activations of g in x + g(x), where that sum itself is none: a residual sum is never part of a site."""
    last = segment.nodes[-1]
    parts = [name for name in values.varying(last) if name != segment.start]
    if last.kind is not Kind.POINTWISE or segment.start not in last.inputs or len(parts) != 1:
        return []
    inner = values.compute(values.between([segment.start], parts[0]), {segment.start: GRID}, parts[0])
    if distance(segment.on_grid, inner + GRID[:, None], GRID[:, None]) > TOLERANCE:
        return []
    found = pieces(values, segment.start, parts[0])
    return found if found and all(piece.found.name for piece in found) else []
