"""The points of a selection on two axes: the front in colour, what is dominated in grey, the recommended one ringed."""

from collections.abc import Sequence

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg
from ._scale import Scale
from ._selection import Objective, Point, Selection

_MOST_NAMES = 24
_LINE = 16.0

Placed = tuple[Point, float, float]


def scatter(found: Selection, ident: str, *, narrow: bool = False) -> Markup:
    """The figure; empty where there are no two objectives to set against each other."""
    axes = found.axes
    if axes is None:
        return Markup("")
    width, height, left = (340.0, 360.0, 54.0) if narrow else (960.0, 420.0, 76.0)
    right, bottom = width - 16.0, height - 52.0
    drawn = [each for each in found.points if all(axis.name in each.values for axis in axes)]
    if len(drawn) < 2:
        return Markup("")
    xs = _axis([each.values[axes[0].name].estimate for each in drawn], (left, right), 4 if narrow else 7)
    ys = _axis([each.values[axes[1].name].estimate for each in drawn], (bottom, 36.0), 5)
    # What is dominated is drawn first, so that it never hides the front.
    placed = [
        (each, xs(each.values[axes[0].name].estimate), ys(each.values[axes[1].name].estimate))
        for each in sorted(drawn, key=lambda point: (point.recommended, point.kind == "front"))
    ]
    body = _grid(xs, ys, axes, (width, bottom))
    body += [_mark(each, xs, ys, axes) for each in placed]
    body += _names(placed, (left, right, bottom), narrow=narrow)
    dominated = sum(not point.front for point in drawn)
    title = f"{axes[1].label} against {axes[0].label}{f', {found.title}' if found.title else ''}"
    said = f"{len(drawn)} points, {dominated} of them dominated. {found.sentence} All numbers stand in the table."
    return _svg.figure((width, height), ident, title, said, body)


def _axis(values: Sequence[float], page: tuple[float, float], wanted: int) -> Scale:
    low, high = min(values), max(values)
    pad = 0.1 * (high - low) or abs(low) * 0.1 or 1.0
    return _scale.linear(low - pad, high + pad, page, wanted)


def _grid(xs: Scale, ys: Scale, axes: tuple[Objective, Objective], box: tuple[float, float]) -> list[Markup]:
    width, bottom = box
    parts: list[Markup] = []
    for tick in ys.ticks:
        parts.append(_svg.line(xs.start, ys(tick), xs.end, ys(tick), "grid"))
        parts.append(_svg.label(xs.start - 8, ys(tick) + 4, _tick(axes[1], tick), "tick", "end"))
    taken = -1e9
    for tick in xs.ticks:
        x, half = xs(tick), _svg.text_width(_tick(axes[0], tick), 12.0) / 2
        parts.append(_svg.line(x, ys.end, x, bottom, "grid"))
        if x - half > taken + 6 and x + half < width:
            parts.append(_svg.label(x, bottom + 20, _tick(axes[0], tick), "tick", "middle"))
            taken = x + half
    up, across = ("lower is better" if axis.lower_is_better else "higher is better" for axis in (axes[1], axes[0]))
    room = width - 4.0
    parts.append(_svg.label(0.0, 16.0, _svg.shortened(f"{axes[1].head}: {up}", room, 13.0), "side"))
    named = _svg.shortened(f"{axes[0].head}: {across}", room, 13.0)
    parts.append(_svg.label(xs.end, bottom + 42, named, "side", "end"))
    return parts


def _tick(axis: Objective, value: float) -> str:
    shown = num.plain(float(f"{value:.6g}"))
    if axis.ratio:
        return f"{shown}×"
    return axis.show(value) if axis.unit in ("s", "B") else shown


def _mark(placed: Placed, xs: Scale, ys: Scale, axes: tuple[Objective, Objective]) -> Markup:
    point, x, y = placed
    shown = ", ".join(f"{axis.label} {axis.show(point.values[axis.name].estimate)}" for axis in axes)
    parts = [_svg.tag("title", _svg.escape(f"{point.label}: {shown}; {point.says}"))]
    across, up = (point.values[axis.name].interval for axis in axes)
    if across:
        parts.append(_svg.line(xs(across[0]), y, xs(across[1]), y, "range"))
    if up:
        parts.append(_svg.line(x, ys(up[0]), x, ys(up[1]), "range"))
    if point.recommended:
        parts.append(_svg.tag("circle", cx=x, cy=y, r=11.0, class_="halo"))
    if point.kind in ("beaten", "out"):  # another shape too, so that it does not hang on the colour
        parts.append(_svg.tag("rect", x=x - 4.0, y=y - 4.0, width=8.0, height=8.0, class_="spot"))
    else:
        parts.append(_svg.tag("circle", cx=x, cy=y, r=6.0, class_="spot"))
    return _svg.tag("g", *parts, class_=f"candidate c-{point.kind}")


def _names(placed: Sequence[Placed], box: tuple[float, float, float], *, narrow: bool) -> list[Markup]:
    """The names beside their marks, pushed apart; of very many only those that nothing dominates."""
    left, right, bottom = box
    wanted = [each for each in placed if (len(placed) <= _MOST_NAMES and not narrow) or each[0].front]
    taken: list[tuple[float, float, float]] = [(x - 8.0, x + 8.0, y) for _, x, y in placed]
    parts: list[Markup] = []
    for point, x, y in sorted(wanted, key=lambda each: (not each[0].recommended, not each[0].front)):
        name = _svg.shortened(f"{point.label}{' · recommended' if point.recommended else ''}", right - left - 40, 13.0)
        wide = _svg.text_width(name, 13.0)
        start = x + 14.0 if x + 14.0 + wide <= right + 12.0 else x - 14.0 - wide
        start = max(start, 2.0)
        spots = sorted((y + step * _LINE / 2 for step in range(-8, 9)), key=lambda spot: abs(spot - y))
        free = [
            spot
            for spot in spots
            if 24.0 < spot < bottom
            and all(start > high or start + wide < low or abs(spot - other) >= _LINE - 1 for low, high, other in taken)
        ]
        if not free:
            continue  # the table has it
        taken.append((start, start + wide, free[0]))
        parts.append(_svg.label(start, free[0] + 4.5, name, f"candidate-name c-{point.kind}"))
    return parts
