"""Sketches that merge exactly: the sketch of two streams together is the merge of their sketches, bit for bit.

A number falls into a bucket of its binary exponent and the next `bits` bits of its mantissa, so a bucket is decided by
the number's own bits (no logarithm, the same on every machine). Its middle is within 2^-(bits+1) of every number in
it, relatively (the idea of HdrHistogram). Counts are integers, and the sum is an integer multiple of the smallest
float, so no order of adding and merging changes anything.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gatewise.core import GatewiseError

FORMAT = "gatewise.sketch/1"
_UNIT = 1074  # 2^-1074 is the smallest float; every finite one is a whole multiple of it


@dataclass(frozen=True, kw_only=True)
class Quantile:
    """A quantile of a sketch: the number at its rank lies in [low, high], which `value` stands for."""

    value: float
    low: float
    high: float


class NumberSketch:
    """How numbers are spread: counts by bucket, smallest, largest, exact sum.

    Attributes:
        bits: of the mantissa; each quantile is within `relative_error` = 2^-(bits+1) of the true one (subnormal
            numbers: within half of their bucket, which is absolutely tiny). The default, 6, is 0.8 %.
        count: how many finite numbers; `nans`, `above`, `below`: how many NaN, +inf and -inf, which stand apart.
        minimum, maximum: of the finite numbers; None without any.
    """

    def __init__(self, bits: int = 6) -> None:
        if not 1 <= bits <= 16:
            raise GatewiseError(f"bits is {bits}; valid: 1 to 16")
        self.bits = bits
        self.count = self.nans = self.above = self.below = 0
        self.minimum: float | None = None
        self.maximum: float | None = None
        self._sum = 0  # in units of 2^-1074
        self._buckets: dict[int, int] = {}

    @property
    def relative_error(self) -> float:
        """How far a quantile is from the true one at most, relative to it."""
        return 2.0 ** -(self.bits + 1)

    @property
    def num_buckets(self) -> int:
        """How many buckets are in use: what the sketch costs in memory. A decade of values takes 3.3 x 2^bits."""
        return len(self._buckets)

    def add(self, value: float, times: int = 1) -> None:
        """Count a number, `times` times."""
        value = float(value)
        if times < 0:
            raise GatewiseError(f"times is {times}; it must be at least 0")
        if times == 0:
            return
        if not math.isfinite(value):
            if value != value:
                self.nans += times
            elif value > 0:
                self.above += times
            else:
                self.below += times
            return
        bucket = _bucket(value, self.bits)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + times
        self.count += times
        self._sum += _units(value) * times
        self._stretch(value, value)

    def extend(self, values: Iterable[float]) -> "NumberSketch":
        """Count several numbers."""
        for value in values:
            self.add(value)
        return self

    def _stretch(self, low: float, high: float) -> None:
        # -0.0 and 0.0 are one number: which of them came first must not show.
        self.minimum = low + 0.0 if self.minimum is None else min(self.minimum, low + 0.0)
        self.maximum = high + 0.0 if self.maximum is None else max(self.maximum, high + 0.0)

    def merge(self, other: "NumberSketch") -> "NumberSketch":
        """The sketch of both streams together: a new one, equal to that of all their numbers."""
        if self.bits != other.bits:
            raise GatewiseError(f"sketches of {self.bits} and {other.bits} bits do not merge exactly")
        merged = NumberSketch(self.bits)
        for part in (self, other):
            for bucket, times in part._buckets.items():
                merged._buckets[bucket] = merged._buckets.get(bucket, 0) + times
            merged.count += part.count
            merged.nans += part.nans
            merged.above += part.above
            merged.below += part.below
            merged._sum += part._sum
            if part.minimum is not None and part.maximum is not None:
                merged._stretch(part.minimum, part.maximum)
        return merged

    @property
    def sum(self) -> Fraction:
        """The exact sum of the finite numbers."""
        return Fraction(self._sum, 1 << _UNIT)

    @property
    def mean(self) -> float | None:
        """The mean of the finite numbers, correctly rounded; None without any."""
        return float(self.sum / self.count) if self.count else None

    def quantile(self, q: float) -> Quantile | None:
        """The number of rank max(1, ceil(q x count)) among the finite ones, in order; None without any."""
        if not 0 <= q <= 1:
            raise GatewiseError(f"a quantile of {q}; valid: from 0 to 1")
        if not self.count or self.minimum is None or self.maximum is None:
            return None
        rank, seen = max(1, math.ceil(Fraction(q) * self.count)), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                low, high = _bounds(bucket, self.bits)
                low, high = max(low, self.minimum), min(high, self.maximum)
                return Quantile(value=low / 2 + high / 2 if abs(low) > 1e300 else (low + high) / 2, low=low, high=high)
        raise AssertionError("the buckets hold fewer than count")

    def buckets(self) -> list[tuple[float, float, int]]:
        """The buckets in order as (low, high, count), for a histogram or a distance."""
        return [(*_bounds(bucket, self.bits), self._buckets[bucket]) for bucket in sorted(self._buckets)]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; what comes back from it is equal, bit for bit."""
        return {
            "format": FORMAT,
            "bits": self.bits,
            "nans": self.nans,
            "above": self.above,
            "below": self.below,
            "minimum": None if self.minimum is None else self.minimum.hex(),
            "maximum": None if self.maximum is None else self.maximum.hex(),
            "sum": hex(self._sum),
            "buckets": [[bucket, self._buckets[bucket]] for bucket in sorted(self._buckets)],
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "NumberSketch":
        """The sketch that `to_json` wrote. Raises `GatewiseError` for anything else."""
        try:
            if found["format"] != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            sketch = cls(_count(found["bits"]))
            sketch.nans, sketch.above, sketch.below = (_count(found[name]) for name in ("nans", "above", "below"))
            sketch._buckets = {int(bucket): _count(times) for bucket, times in found["buckets"]}
            sketch.count = sum(sketch._buckets.values())
            sketch._sum = int(found["sum"], 16)
            if sketch.count:
                sketch._stretch(float.fromhex(found["minimum"]), float.fromhex(found["maximum"]))
        except (KeyError, TypeError, ValueError) as error:
            raise GatewiseError(f"this is not a sketch of numbers: {error!r}") from error
        return sketch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumberSketch) and self.to_json() == other.to_json()

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it changes


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _units(value: float) -> int:
    top, bottom = value.as_integer_ratio()
    return top * ((1 << _UNIT) // bottom)


def _bucket(value: float, bits: int) -> int:
    """The bucket of a finite number; buckets are in the order of their numbers, 0 has its own."""
    if value == 0.0:
        return 0
    mantissa, exponent = math.frexp(abs(value))  # value = mantissa x 2^exponent, mantissa in [0.5, 1)
    step = int((2.0 * mantissa - 1.0) * (1 << bits))
    index = ((exponent + _UNIT) << bits) + step + 1  # exponents begin at -1073
    return index if value > 0 else -index


def _bounds(bucket: int, bits: int) -> tuple[float, float]:
    if bucket == 0:
        return 0.0, 0.0
    index = abs(bucket) - 1
    exponent, step = (index >> bits) - _UNIT, index & ((1 << bits) - 1)
    low = math.ldexp(1.0 + step / (1 << bits), exponent - 1)
    top = 1.0 + (step + 1) / (1 << bits)
    high = math.ldexp(top, exponent - 1) if exponent < 1024 or top < 2.0 else 1.7976931348623157e308
    return (low, high) if bucket > 0 else (-high, -low)


class CategorySketch:
    """How often each category came, with bounded memory.

    Up to `most` categories are counted by name. Of more, those with the smallest hashes keep their names, and all
    others are counted together as `others`. Which ones are kept depends on their names only, so merging stays exact (a
    sketch of the most frequent ones could not merge exactly), and a count beside a name is always exact.
    """

    def __init__(self, most: int = 256) -> None:
        if most < 1:
            raise GatewiseError(f"most is {most}; it must be at least 1")
        self.most = most
        self.count = 0
        self._named: dict[str, int] = {}
        self._last: tuple[bytes, str] | None = None  # the largest name kept, once the names are full

    def add(self, name: str, times: int = 1) -> None:
        """Count a category, `times` times."""
        if times < 0:
            raise GatewiseError(f"times is {times}; it must be at least 0")
        if times == 0:
            return
        self.count += times
        if name in self._named:
            self._named[name] += times
        elif self._last is None or _order(name) < self._last:
            self._named[name] = times
            self._trim()

    def _trim(self) -> None:
        if len(self._named) > self.most:
            for name in sorted(self._named, key=_order)[self.most :]:
                del self._named[name]
        self._last = max(map(_order, self._named)) if len(self._named) >= self.most else None

    def merge(self, other: "CategorySketch") -> "CategorySketch":
        """The sketch of both streams together: a new one, equal to that of all their categories."""
        if self.most != other.most:
            raise GatewiseError(f"sketches of {self.most} and {other.most} categories do not merge exactly")
        merged = CategorySketch(self.most)
        merged.count = self.count + other.count
        for part in (self, other):
            for name, times in part._named.items():
                merged._named[name] = merged._named.get(name, 0) + times
        merged._trim()
        return merged

    @property
    def counts(self) -> dict[str, int]:
        """The exact counts of the categories that are kept by name."""
        return {name: self._named[name] for name in sorted(self._named)}

    @property
    def others(self) -> int:
        """How often any other category came."""
        return self.count - sum(self._named.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"format": FORMAT, "most": self.most, "count": self.count, "counts": self.counts}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "CategorySketch":
        """The sketch that `to_json` wrote. Raises `GatewiseError` for anything else."""
        try:
            if found["format"] != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            sketch = cls(_count(found["most"]))
            sketch._named = {str(name): _count(times) for name, times in found["counts"].items()}
            sketch.count = _count(found["count"])
            if len(sketch._named) > sketch.most or sketch.others < 0:
                raise ValueError("its counts do not fit together")
            sketch._trim()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GatewiseError(f"this is not a sketch of categories: {error!r}") from error
        return sketch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CategorySketch) and self.to_json() == other.to_json()

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it changes


def _order(name: str) -> tuple[bytes, str]:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], name
