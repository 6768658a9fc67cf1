"""What moves the time of a call, the runtime or the activation: two bars on one scale, and all ratios as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg
from ._read import Document, number, pair, record, records, text
from ._scale import Scale

MOST_DRAWN = 4
"""Conditions that are drawn; the table has all."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One ratio of times. `factor` is its distance from 1 as a number of times: 2 for twice as long and for half."""

    arm: str
    than: str
    estimate: float
    interval: tuple[float, float] | None

    @property
    def factor(self) -> float:
        """At least 1."""
        return max(self.estimate, 1.0 / self.estimate)

    @property
    def reach(self) -> tuple[float, float] | None:
        """The interval on the factor's scale; below 1 it lies on the other side of no change."""
        if self.interval is None:
            return None
        low, high = self.interval
        return (1.0 / high, 1.0 / low) if self.estimate < 1.0 else (low, high)

    @property
    def shown(self) -> str:
        """The factor as people read it."""
        return f"{times(self.factor)}×"

    @property
    def between(self) -> str:
        """The interval of the factor on one line."""
        return f"{times(self.reach[0])}× to {times(self.reach[1])}×" if self.reach else "no interval yet"

    @property
    def crosses(self) -> bool:
        """Whether the interval has no change in it, or is not there."""
        return self.interval is None or self.interval[0] <= 1.0 <= self.interval[1]

    @property
    def says(self) -> str:
        """Who is compared with whom."""
        return f"{self.arm} {'faster' if self.estimate < 1.0 else 'slower'} than {self.than}"


@dataclass(frozen=True, kw_only=True)
class Move:
    """One timed condition of one part."""

    part: str
    where: str
    runtime: Ratio
    activation: Ratio
    runtimes: tuple[Ratio, ...]
    activations: tuple[Ratio, ...]
    told: str

    @property
    def title(self) -> str:
        """The part and the condition, whichever are there."""
        return ", ".join(each for each in (self.part, self.where) if each)

    @property
    def bars(self) -> tuple[tuple[str, Ratio], ...]:
        """What is drawn."""
        return ("the runtime", self.runtime), ("the activation", self.activation)

    @property
    def rows(self) -> tuple[tuple[str, Ratio], ...]:
        """Every ratio, for the table."""
        return (*(("runtime", each) for each in self.runtimes), *(("activation", each) for each in self.activations))


def times(value: float) -> str:
    """A factor: three decimals where two would hide that it is not 1."""
    return f"{value:.3f}" if 0.9 < value < 1.1 else f"{value:.2f}" if value < 10.0 else num.significant(value)


def moves(document: Document) -> tuple[Move, ...]:
    """What the document says of runtimes and activations; nothing in older documents."""
    found = records(document, "moves")
    several = len({text(each.get("part")) for each in found}) > 1
    return tuple(made for each in found if (made := _move(each, several=several)) is not None)


def _move(held: Document, *, several: bool) -> Move | None:
    runtime, activation = _ratio(record(held, "runtime")), _ratio(record(held, "activation"))
    if runtime is None or activation is None:
        return None
    conditions = record(held, "conditions")
    where = ", ".join(f"{name} {text(conditions[name])}" for name in ("batch", "tokens") if text(conditions.get(name)))
    return Move(
        part=text(held.get("part")) if several else "",
        where=where,
        runtime=runtime,
        activation=activation,
        runtimes=tuple(_ratios(held, "runtimes")) or (runtime,),
        activations=tuple(_ratios(held, "activations")) or (activation,),
        told=text(held.get("text")) or _sentence(where, runtime, activation),
    )


def _ratios(held: Document, key: str) -> Iterator[Ratio]:
    for each in records(held, key):
        made = _ratio(each)
        if made is not None:
            yield made


def _ratio(held: Document) -> Ratio | None:
    estimate, interval = number(held.get("estimate")), pair(held.get("interval"))
    if estimate is None or not 1e-9 < estimate < 1e9:
        return None
    if interval is not None and not (interval[0] > 1e-9 and interval[1] < 1e9):
        interval = None
    return Ratio(arm=text(held.get("arm")), than=text(held.get("than")), estimate=estimate, interval=interval)


def _sentence(where: str, runtime: Ratio, activation: Ratio) -> str:
    """Both moves in one sentence; where an interval has no change in it, that is said too."""
    lead = f"At {where}, t" if where else "T"
    parts = [f"{lead}he runtime moves the time of a call {_moved(runtime)}", f"the activation {_moved(activation)}"]
    return "; ".join(parts) + "."


def _moved(ratio: Ratio) -> str:
    open_ = " (its interval does not rule out no change)" if ratio.crosses else ""
    return f"{times(ratio.factor)} times: {ratio.says}{open_}"


def drawn(found: Sequence[Move]) -> tuple[Move, ...]:
    """The conditions that the figure shows."""
    return tuple(found[:MOST_DRAWN])


def plot(found: Sequence[Move], ident: str, *, narrow: bool = False) -> Markup:
    """Two bars for each condition, all from no change (1×) on one scale of factors."""
    shown = drawn(found)
    if not shown:
        return Markup("")
    width, left, right = (340.0, 8.0, 92.0) if narrow else (960.0, 150.0, 390.0)
    scale = _axis(shown, (left, width - right))
    body: list[Markup] = []
    y = 4.0
    for move in shown:
        if move.title:
            body.append(_svg.label(0.0, y + 14, _svg.shortened(move.title, width, 13.0), "group"))
            y += 24.0
        for name, ratio in move.bars:
            body.append(_bar(name, ratio, scale, y, narrow=narrow, width=width))
            y += 62.0 if narrow else 40.0
        y += 8.0
    floor = y
    grid = [_svg.line(scale(tick), 20.0, scale(tick), floor, "grid") for tick in scale.ticks]
    grid.append(_svg.line(scale(1.0), 20.0, scale(1.0), floor, "zero"))
    for tick in scale.ticks:
        grid.append(_svg.label(scale(tick), floor + 18, f"{num.plain(round(tick, 6))}×", "tick", "middle"))
    grid.append(_svg.label(scale(1.0) if narrow else scale(1.0) - 12, floor + 36, "1× is no change", "tick", "start"))
    said = "; ".join(f"{name} {ratio.shown}, {ratio.says}" for move in shown for name, ratio in move.bars)
    title = "How many times the runtime and the activation move the time of a call"
    return _svg.figure((width, floor + 44), ident, title, f"{said}. All ratios stand in the table.", [*grid, *body])


def _axis(shown: Sequence[Move], page: tuple[float, float]) -> Scale:
    """From no change to the largest factor; intervals may take it a little further on both sides."""
    ratios = [ratio for move in shown for _, ratio in move.bars]
    high = max(ratio.factor for ratio in ratios)
    ends = [end for ratio in ratios for end in ratio.reach or ()]
    low = max(min([1.0, *ends]), 0.8)
    high = max(min(max([high, *ends]), high * 1.3), 1.05)
    return _scale.ratio(low, high * 1.02, page, 5)


def _bar(name: str, ratio: Ratio, scale: Scale, y: float, *, narrow: bool, width: float) -> Markup:
    kind = "runtime" if name == "the runtime" else "activation"
    start, end = scale(1.0), scale(ratio.factor)
    top = y + (24.0 if narrow else 4.0)
    middle = top + 11.0
    said = f"{name}: {ratio.shown}, {ratio.between}, {ratio.says}"
    parts = [_svg.tag("title", _svg.escape(said))]
    parts.append(_svg.label(14.0 if narrow else 0.0, y + 16 if narrow else middle + 5, name, "arm"))
    parts.append(_svg.tag("rect", x=start, y=top, width=max(end - start, 1.5), height=22.0, rx=2, class_="weight"))
    if ratio.reach:
        low, high = (scale(each) for each in ratio.reach)
        parts.append(_svg.line(low, middle, high, middle, "whisker"))
        parts += [_svg.line(x, middle - 5, x, middle + 5, "whisker") for x in (low, high)]
    far = max(end, scale(ratio.reach[1]) if ratio.reach else end) + 10
    parts.append(_svg.label(far, middle + 6, ratio.shown, "huge"))
    if narrow:
        room = width - 16 - _svg.text_width(name, 14.0)
        parts.append(_svg.label(width - 8, y + 16, _svg.shortened(ratio.arm, room, 12.0), "tick", "end"))
    else:
        x = scale.end + 92
        parts.append(_svg.label(x, middle - 2, _svg.shortened(ratio.says, width - x, 12.0), "tick"))
        parts.append(_svg.label(x, middle + 13, ratio.between, "tick"))
    return _svg.tag("g", *parts, class_=f"move m-{kind}")
