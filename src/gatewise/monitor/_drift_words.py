"""How far a feature has moved, in numbers that people can read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ._reference import NOT_FINITE, Histogram, bucket

SHARES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A feature now against its reference.

    Attributes:
        before, now: the 10 %, 50 % and 90 % points; None where no value is finite.
        gap: the largest distance of the two cumulative distributions: so large a share of the values lies elsewhere.
        psi: the population stability index over tenths of the reference, for those who know it; it has no error rate.
        not_finite_before, not_finite_now: shares that are NaN, infinite or missing.
        mean_before, mean_now: of a feature of zeros and ones these are its shares; None for any other.
        recent: of how many values `now`, `gap` and the rest are: the last ones, since the change seems to have begun.
    """

    before: tuple[float | None, ...]
    now: tuple[float | None, ...]
    gap: float
    psi: float
    not_finite_before: float
    not_finite_now: float
    mean_before: float | None = None
    mean_now: float | None = None
    recent: int = 0


def moved(reference: Histogram, values: Sequence[float]) -> Moved:
    """The movement of some values against a histogram."""
    recent = Histogram()
    for value in values:
        recent.add(value)
    share = {bucket(0.0), bucket(1.0)} >= set(reference.counts) | set(recent.counts)
    one = bucket(1.0)
    return Moved(
        before=tuple(reference.quantile(each) for each in SHARES),
        now=tuple(recent.quantile(each) for each in SHARES),
        gap=round(_gap(reference, recent), 4),
        psi=round(_psi(reference, recent), 4),
        not_finite_before=reference.not_finite / reference.n,
        not_finite_now=recent.not_finite / recent.n,
        mean_before=reference.counts.get(one, 0) / reference.n if share else None,
        mean_now=recent.counts.get(one, 0) / recent.n if share else None,
        recent=recent.n,
    )


def _gap(reference: Histogram, recent: Histogram) -> float:
    n, m = reference.n, recent.n
    below = largest = 0.0
    for number in sorted({*reference.counts, *recent.counts}):
        below += reference.counts.get(number, 0) / n - recent.counts.get(number, 0) / m
        largest = max(largest, abs(below))
    return largest


def _psi(reference: Histogram, recent: Histogram) -> float:
    """Over about ten cells. Half a value is added to each, or an empty cell would make it infinite."""
    cuts = [*reference.cells(10)[1:-1], NOT_FINITE]

    def shares(histogram: Histogram) -> list[float]:
        counts = [0.5] * len(cuts)
        for number, count in histogram.counts.items():
            counts[next(place for place, cut in enumerate(cuts) if number <= cut)] += count
        return [count / sum(counts) for count in counts]

    return sum((b - a) * math.log(b / a) for a, b in zip(shares(reference), shares(recent), strict=True))


def sentence(name: str, now: Moved) -> str:
    """The movement as one line. Of how many values is said: a share of the last eight is no share of the traffic."""
    of = f"of the last {now.recent:,} values"
    if now.not_finite_now > now.not_finite_before + 0.01:
        missing = f"{now.not_finite_now:.1%} {of} are missing, NaN or infinite"
        return f"{name}: {missing}, not {now.not_finite_before:.1%} as in the reference"
    if now.mean_before is not None and now.mean_now is not None:
        return f"{name}: {now.mean_now:.1%} {of}, not {now.mean_before:.1%} as in the reference"
    words = ("10 % point", "median", "90 % point")
    pairs = [
        (word, a, b) for word, a, b in zip(words, now.before, now.now, strict=True) if a is not None and b is not None
    ]
    changed = ", ".join(f"{word} {a:.4g} -> {b:.4g}" for word, a, b in pairs if a != b)
    elsewhere = f"{now.gap:.0%} {of} lie elsewhere than in the reference (PSI {now.psi:.2f})"
    return f"{name}: {changed or 'another distribution'}; {elsewhere}"
