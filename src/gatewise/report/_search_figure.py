"""The search's figure: one small panel an arm, loss over learning rate, a line for each look, the basin as a band.

All panels share both axes, so that arms can be compared by eye. An edge of the basin that was not found is open: the
band fades into dashes there instead of ending in a line.
"""

import math
from dataclasses import dataclass

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg
from ._scale import Scale
from ._search import Basin, Found, Rung, Search, rate

_HEAD, _FOOT, _LEFT = 52.0, 46.0, 46.0
_FADED = 4


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The page's width and how many panels stand side by side."""

    width: float
    across: int
    height: float = 250.0
    gap: float = 18.0


WIDE = Layout(width=960.0, across=3)
NARROW = Layout(width=340.0, across=1)


def figure(view: Search, ident: str, layout: Layout = WIDE) -> Markup:
    """The panels of one part; empty where no loss is known."""
    losses = [loss for each in view.found for rung in each.rungs for _, loss in rung.losses]
    if not losses:
        return Markup("")
    many = len(view.found)
    across = min(layout.across, 2 if many == 4 else many)
    wide = (layout.width - layout.gap * (across - 1)) / across
    body: list[Markup] = []
    for index, found in enumerate(view.found):
        line, column = divmod(index, across)
        body += _panel(view, found, (column * (wide + layout.gap), line * layout.height), wide, _span(losses))
    height = layout.height * -(-len(view.found) // across)
    title = f"Held-out loss over learning rate, {view.part}"
    said = f"{len(view.found)} panels, one an arm, {len(view.steps)} looks each. The numbers stand in the tables below."
    return _svg.figure((layout.width, height), ident, title, said, body)


def _span(losses: list[float]) -> tuple[float, float]:
    """What the loss axis shows: all but what lies far above the better half, which would press the rest together."""
    ordered = sorted(losses)
    low, middle = ordered[0], ordered[len(ordered) // 2]
    high = min(ordered[-1], low + 4.0 * (middle - low)) if middle > low else ordered[-1]
    pad = (high - low) * 0.08 or abs(low) * 0.02 or 1.0
    return low - pad, high + pad


def _panel(
    view: Search, found: Found, corner: tuple[float, float], wide: float, span: tuple[float, float]
) -> list[Markup]:
    left, top = corner[0] + _LEFT, corner[1] + _HEAD
    right, bottom = corner[0] + wide - 8.0, corner[1] + 250.0 - _FOOT
    pad = math.log(view.rates[1] / view.rates[0]) * 0.5
    xs = _logarithmic(view.rates[0] * math.exp(-pad), view.rates[-1] * math.exp(pad), (left, right))
    ys = _scale.linear(span[0], span[1], (bottom, top), 6)
    parts = [_svg.label(corner[0], corner[1] + 18, _svg.shortened(found.arm, wide, 14.0), "group")]
    chosen = "every rate failed" if found.chosen is None else f"chosen: {found.shown}"
    tag = " · unfair match" if found.unfair else ""
    parts.append(_svg.label(corner[0], corner[1] + 36, chosen + tag, "tick"))
    last = found.last
    if last and last.within_distance:
        parts += _band(last.within_distance, xs, (top, bottom))
    parts += _axes(view, xs, ys, (left, right, bottom))
    shown = found.rungs[-_FADED:]
    for index, rung in enumerate(shown):
        parts += _look(rung, xs, ys, len(shown) - 1 - index)
    parts += [_failure(xs(at), top, why, at) for at, why in found.failed]
    best = dict(last.losses).get(found.chosen) if last and found.chosen is not None else None
    if best is not None and found.chosen is not None:
        parts.append(_svg.tag("circle", cx=xs(found.chosen), cy=ys(best), r=8.0, class_="halo"))
    return parts


def _logarithmic(low: float, high: float, page: tuple[float, float]) -> Scale:
    ticks = [
        m * 10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in (1.0, 3.0)
    ]
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) > 5:
        inside = [tick for tick in inside if round(math.log10(tick), 6) == round(math.log10(tick))]
    return Scale(low=low, high=high, start=page[0], end=page[1], warp=math.log, ticks=tuple(inside))


def _band(basin: Basin, xs: Scale, span: tuple[float, float]) -> list[Markup]:
    """The basin, from its lowest to its highest rate; an end that was found has a line, one that was not is dashed."""
    top, bottom = span
    low, high = xs(basin.low) - 7.0, xs(basin.high) + 7.0
    parts = [_svg.tag("rect", x=low, y=top, width=high - low, height=bottom - top, class_="basin")]
    for x, why in ((low, basin.low_open), (high, basin.high_open)):
        parts.append(_svg.line(x, top, x, bottom, "basin-end open" if why else "basin-end"))
    said = f"basin: {basin.range}, {basin.width}; {basin.ends}"
    return [_svg.tag("g", _svg.tag("title", _svg.escape(said)), *parts)]


def _axes(view: Search, xs: Scale, ys: Scale, box: tuple[float, float, float]) -> list[Markup]:
    left, right, bottom = box
    parts: list[Markup] = []
    step = ys.ticks[1] - ys.ticks[0] if len(ys.ticks) > 1 else 0.01
    places = max(0, min(4, -math.floor(math.log10(step) + 1e-9)))
    for tick in ys.ticks:
        parts.append(_svg.line(left, ys(tick), right, ys(tick), "grid"))
        parts.append(_svg.label(left - 7, ys(tick) + 4, f"{tick:.{places}f}".replace("-", num.MINUS), "tick", "end"))
    for at in view.rates:
        parts.append(_svg.line(xs(at), bottom, xs(at), bottom + 4, "axis"))
    for tick in xs.ticks:
        parts.append(_svg.label(xs(tick), bottom + 18, rate(tick), "tick", "middle"))
    parts.append(_svg.label((left + right) / 2, bottom + 36, "learning rate", "tick", "middle"))
    return parts


def _look(rung: Rung, xs: Scale, ys: Scale, age: int) -> list[Markup]:
    """The line of one look, the last one bold. A loss above the axis stands at its top as a small arrow."""
    kind = f"look look-{min(age, _FADED - 1)}"
    places = [(xs(at), ys(loss), at, loss) for at, loss in rung.losses]
    parts = [_svg.path([(x, y) for x, y, _, _ in places], f"{kind} line")] if len(places) > 1 else []
    for x, y, at, loss in places:
        said = _svg.tag("title", _svg.escape(f"{rung.steps:,} steps at {rate(at)}: loss {loss:.4f}"))
        if ys.holds(loss):
            shape = _svg.tag("circle", cx=x, cy=y, r=4.0 if age == 0 else 2.8, class_="spot")
        else:
            shape = _svg.path([(x - 4, y + 6), (x, y), (x + 4, y + 6)], "line")
        parts.append(_svg.tag("g", said, shape, class_=kind))
    return parts


def _failure(x: float, top: float, why: str, at: float) -> Markup:
    """A cross at the top where a run of that rate failed."""
    said = _svg.tag("title", _svg.escape(f"failed at {rate(at)}: {why}"))
    arms = [_svg.path([(x - 4, top + s * 4), (x + 4, top - s * 4)], "cross") for s in (-1, 1)]
    return _svg.tag("g", said, *arms)


def legend(age: int) -> Markup:
    """A look's line beside its name."""
    kind = f"look look-{min(age, _FADED - 1)}"
    drawn = _svg.path([(1.0, 7.0), (29.0, 7.0)], "line"), _svg.tag("circle", cx=15.0, cy=7.0, r=3.4, class_="spot")
    return _svg.tag("svg", *drawn, viewBox="0 0 30 14", class_=f"key {kind}", aria_hidden="true")
