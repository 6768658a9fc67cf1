"""Axes: from a value to a place on the page, and where ticks stand."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A monotone axis from the data interval [low, high] to the page interval [start, end]."""

    low: float
    high: float
    start: float
    end: float
    warp: Callable[[float], float]
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """The place of a value; values beyond the axis stand at its end."""
        inside = min(max(value, self.low), self.high)
        a, b = self.warp(self.low), self.warp(self.high)
        return self.start + (self.end - self.start) * ((self.warp(inside) - a) / (b - a) if b > a else 0.5)

    def holds(self, value: float) -> bool:
        """Whether the value lies on the axis."""
        return self.low <= value <= self.high


def nice_step(span: float, wanted: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that makes about `wanted` ticks."""
    raw = span / max(wanted, 1)
    base = 10.0 ** math.floor(math.log10(raw))
    return next((factor * base for factor in (1.0, 2.0, 5.0) if factor * base >= raw), 10.0 * base)


def linear_ticks(low: float, high: float, wanted: int) -> tuple[float, ...]:
    """Round values from `low` to `high`."""
    if not high > low:
        return (low,)
    step = nice_step(high - low, wanted)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def linear(low: float, high: float, page: tuple[float, float], wanted: int = 6) -> Scale:
    """A linear axis; a single value gets room on both sides."""
    if not high > low:
        room = abs(low) * 0.1 or 1.0
        low, high = low - room, high + room
    ticks = linear_ticks(low, high, wanted)
    return Scale(low=low, high=high, start=page[0], end=page[1], warp=lambda v: v, ticks=ticks)


def ratio(low: float, high: float, page: tuple[float, float], wanted: int = 6) -> Scale:
    """A logarithmic axis for ratios around 1, with ticks at round changes (-10 %, 0, +10 %) or round factors."""
    low, high = min(low, 0.999), max(high, 1.001)
    if high / low < 4.0:
        # 1 - 0.6 is a little less than 0.4: a tick at the end of the axis stays on it.
        ticks = tuple(min(max(1.0 + t, low), high) for t in linear_ticks(low - 1.0, high - 1.0, wanted))
    else:
        step = max(1, math.ceil((math.log2(high) - math.log2(low)) / wanted))
        ticks = tuple(
            2.0**e for e in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1) if e % step == 0
        )
    return Scale(low=low, high=high, start=page[0], end=page[1], warp=math.log, ticks=ticks)


def symmetric(low: float, high: float, threshold: float, page: tuple[float, float]) -> Scale:
    """Linear within the threshold (the margin), logarithmic beyond: shows a margin of .001 beside an effect of .4."""

    def warp(value: float) -> float:
        return math.copysign(math.log1p(abs(value) / threshold), value)

    powers = [threshold * 10.0**e for e in range(13)]
    marks = [-p for p in reversed(powers) if -p >= low] + [0.0] + [p for p in powers if p <= high]
    thin = marks[::2] if len(marks) > 9 else marks
    ticks = tuple(thin if 0.0 in thin else [*thin, 0.0])
    return Scale(low=low, high=high, start=page[0], end=page[1], warp=warp, ticks=tuple(sorted(ticks)))
