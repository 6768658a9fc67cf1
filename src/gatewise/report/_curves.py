"""Training curves (a thin line a seed, a bold mean an arm) and activation curves (one small panel a function)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg
from ._read import Document, number, records, text
from ._scale import Scale

Points = tuple[tuple[float, float], ...]
_COLOURS = 8


@dataclass(frozen=True, kw_only=True)
class Series:
    """One arm's curves over seeds, and their mean where all seeds have a value."""

    arm: str
    runs: tuple[Points, ...]
    mean: Points
    style: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """The curves of one part."""

    part: str
    unit: str
    series: tuple[Series, ...]

    @property
    def late(self) -> bool:
        """Whether the last third has enough points for a plot of its own."""
        steps = sorted({x for each in self.series for x, _ in each.mean})
        return sum(step >= _late(steps[0], steps[-1]) for step in steps) >= 3 if steps else False

    def table(self) -> tuple[tuple[float, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
        """The means at no more than seven steps: the steps, then per arm its numbers."""
        steps = sorted({x for each in self.series for x, _ in each.mean})
        picked = tuple(steps[i] for i in sorted({round(k * (len(steps) - 1) / 6) for k in range(7)})) if steps else ()
        rows: list[tuple[str, tuple[str, ...]]] = []
        for each in self.series:
            held = dict(each.mean)
            rows.append((each.arm, tuple(f"{held[x]:.3f}" if x in held else num.MISSING for x in picked)))
        return picked, tuple(rows)


@dataclass(frozen=True, kw_only=True)
class Function:
    """One activation curve, drawn once although several arms may share it."""

    name: str
    formula: str
    paper: str
    points: Points
    reference: Points


def training(document: Document) -> tuple[Training, ...]:
    """The held-out curves of every part that trained."""
    found: dict[str, dict[str, list[Points]]] = {}
    units: dict[str, str] = {}
    baselines = {text(a.get("label")) for a in records(document, "arms") if a.get("role") == "baseline"}
    for each in records(document, "measurements"):
        run = _points(each.get("pairs"), each.get("values"))
        if text(each.get("metric")) == "heldout_curve" and run:
            part = text(each.get("part"))
            units.setdefault(part, text(each.get("unit")))
            found.setdefault(part, {}).setdefault(text(each.get("arm")), []).append(run)
    made: list[Training] = []
    for part, arms in found.items():
        others = [arm for arm in arms if arm not in baselines]
        series = tuple(
            Series(arm=arm, runs=tuple(runs), mean=_mean(runs), style=_style(arm, others)) for arm, runs in arms.items()
        )
        made.append(Training(part=part, unit=units[part], series=series))
    return tuple(made)


def functions(document: Document) -> tuple[Function, ...]:
    """The activation curves of the arms, each function once; the first one is drawn faintly behind the others."""
    made: dict[str, Function] = {}
    reference: Points = ()
    for arm in records(document, "arms"):
        curve = arm.get("curve")
        points = _points(curve.get("x"), curve.get("y")) if isinstance(curve, dict) else ()
        name = text(arm.get("name")) or text(arm.get("label"))
        if not points or name in made:
            continue
        reference = reference or points
        made[name] = Function(
            name=name,
            formula=text(arm.get("formula")),
            paper=text(arm.get("paper")),
            points=points,
            reference=() if points is reference else reference,
        )
    return tuple(made.values())


def _style(arm: str, others: Sequence[str]) -> str:
    """The baseline is ink; the others take eight colours, then the same with other dashes."""
    if arm not in others:
        return "s-base"
    index = others.index(arm)
    return f"s-{index % _COLOURS} d-{index // _COLOURS % 4}"


def _points(xs: object, ys: object) -> Points:
    if not isinstance(xs, list) or not isinstance(ys, list):
        return ()
    pairs = ((number(x), number(y)) for x, y in zip(xs, ys, strict=False))
    return tuple(sorted((x, y) for x, y in pairs if x is not None and y is not None))


def _mean(runs: Sequence[Points]) -> Points:
    tables = [dict(run) for run in runs]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    return tuple((x, sum(table[x] / len(tables) for table in tables)) for x in shared)


def _late(first: float, last: float) -> float:
    return first + (last - first) * 2.0 / 3.0 - 1e-9


def training_plot(data: Training, ident: str, late: bool) -> Markup:
    """The curves; `late` shows the last third of the steps only, where small differences can be seen.

    The names stand where the curves are apart; beside the whole run they would only pile up.
    """
    width, height, left, top, bottom = 500.0, 320.0, 46.0, 26.0, 44.0
    lines = [run for each in data.series for run in (*each.runs, each.mean)]
    last = max((x for run in lines for x, _ in run), default=0.0)
    first = min((x for run in lines for x, _ in run), default=0.0)
    seen = [(x, y) for run in lines for x, y in run if not late or x >= _late(first, last)]
    if not seen or not last > first:
        return Markup("")
    start = min(x for x, _ in seen)
    named = late or not data.late
    names = max(_svg.text_width(each.arm, 13.0) for each in data.series) + 16.0 if named else 10.0
    right = width - min(names, 120.0)
    low, high = min(y for _, y in seen), max(y for _, y in seen)
    pad = (high - low) * 0.06 or 1.0
    xs = _scale.linear(start, last, (left, right), 4)
    ys = _scale.linear(low - pad, high + pad, (height - bottom, top), 5)
    body = _grid(xs, ys, (left, right, height - bottom), data.unit)
    for each in data.series:
        body += [_svg.path(_drawn(run, xs, ys), f"run {each.style}") for run in each.runs if len(_kept(run, xs)) > 1]
    for each in data.series:
        if len(_kept(each.mean, xs)) > 1:
            body.append(_svg.path(_drawn(each.mean, xs, ys), f"mean {each.style}"))
    body += _ends(data.series, ys, (right, top, height - bottom)) if named else []
    span = "the last third of the steps" if late else "all steps"
    title = f"Held-out loss over {span}, {data.part}"
    seeds = max((len(each.runs) for each in data.series), default=0)
    description = f"{len(data.series)} arms, up to {seeds} seeds each. The means stand in the table that follows."
    return _svg.figure((width, height), ident, title, description, body)


def _kept(run: Points, xs: Scale) -> Points:
    return tuple(point for point in run if point[0] >= xs.low - 1e-9)


def _drawn(run: Points, xs: Scale, ys: Scale) -> list[tuple[float, float]]:
    return [(xs(x), ys(y)) for x, y in _kept(run, xs)]


def _grid(xs: Scale, ys: Scale, box: tuple[float, float, float], unit: str) -> list[Markup]:
    left, right, bottom = box
    parts = [_svg.label(0.0, 14.0, unit, "tick")]
    places = 1 if len(ys.ticks) < 2 else max(0, min(4, _decimals(min(b - a for a, b in pairwise(ys.ticks)))))
    for tick in ys.ticks:
        y = ys(tick)
        parts.append(_svg.line(left, y, right, y, "grid"))
        parts.append(_svg.label(left - 8, y + 4, f"{tick:.{places}f}".replace("-", num.MINUS), "tick", "end"))
    for tick in xs.ticks:
        parts.append(_svg.label(xs(tick), bottom + 20, num.count(tick), "tick", "middle"))
    parts.append(_svg.label((left + right) / 2, bottom + 40, "steps", "tick", "middle"))
    return parts


def _decimals(step: float) -> int:
    return next((places for places in range(5) if step >= 10.0**-places * 0.999), 4)


def _ends(series: Sequence[Series], ys: Scale, box: tuple[float, float, float]) -> list[Markup]:
    """The arms' names at the ends of their means, pushed apart; none where they do not fit (the legend has them)."""
    right, top, bottom = box
    shown = [each for each in series if each.mean] if len(series) <= 12 else []
    wanted = sorted(((ys(each.mean[-1][1]), each) for each in shown), key=lambda item: item[0])
    parts: list[Markup] = []
    floor = top
    places: list[float] = []
    for y, _ in wanted:
        floor = max(y, floor + 16.0)
        places.append(floor)
    for index in range(len(places) - 1, -1, -1):
        ceiling = bottom if index == len(places) - 1 else places[index + 1] - 16.0
        places[index] = min(places[index], ceiling)
    for place, (_, each) in zip(places, wanted, strict=True):
        name = _svg.shortened(each.arm, 500.0 - right - 10, 13.0)
        parts.append(_svg.label(right + 8, place + 4, name, f"end {each.style}"))
    return parts


def function_plot(data: Function, ident: str) -> Markup:
    """One function over its inputs, the first arm's function faintly behind it."""
    width, height = 220.0, 150.0
    both = (*data.points, *data.reference)
    xs = _scale.linear(min(x for x, _ in both), max(x for x, _ in both), (6.0, width - 6.0), 4)
    ys = _scale.linear(min(y for _, y in both), max(y for _, y in both), (height - 20.0, 8.0), 4)
    body: list[Markup] = []
    if ys.holds(0.0):
        body.append(_svg.line(6.0, ys(0.0), width - 6.0, ys(0.0), "axis"))
    if xs.holds(0.0):
        body.append(_svg.line(xs(0.0), 8.0, xs(0.0), height - 20.0, "axis"))
    for tick in xs.ticks:
        shown = num.plain(tick)
        half = _svg.text_width(shown, 11.0) / 2
        place = min(max(xs(tick), half + 2), width - half - 2)
        body.append(_svg.label(place, height - 4.0, shown, "tick", "middle"))
    if data.reference:
        body.append(_svg.path(_drawn(data.reference, xs, ys), "behind"))
    body.append(_svg.path(_drawn(data.points, xs, ys), "curve"))
    low = min(data.points, key=lambda point: point[1])
    description = (
        f"{data.formula or data.name} from {num.significant(xs.low)} to {num.significant(xs.high)}; "
        f"lowest drawn value {num.significant(low[1])} at {num.significant(low[0])}."
    )
    return _svg.figure((width, height), ident, f"The curve of {data.name}", description, body)
