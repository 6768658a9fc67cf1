"""What a number looked like in training: its distribution, kept so that parts of it merge exactly.

Every value is put into a bucket by the leading bits of its floating-point number: 128 buckets for each power of two, so
a bucket is at most 0.8 % wide, and the whole numbers up to 256 have one each. The buckets are the same everywhere,
which is why two histograms add up to that of all the values. NaN and infinities are counted in the last bucket.
"""

import json
import struct
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from gatewise.core import GatewiseError

from ._record import Record

SCHEMA = "gatewise.reference/1"
SHIFT = 45
"""Bits of the mantissa that are dropped: 52 - 45 = 7 stay."""
NOT_FINITE = 0x7FF << (52 - SHIFT)
"""The bucket of NaN and the infinities; all others are smaller."""
MOST_CLASSES = 20
"""Predictions with at most this many whole values are classes, and each of them is watched."""
PREDICTION, CONFIDENCE = "prediction", "confidence"


def bucket(value: float) -> int:
    """The number of a value's bucket; greater values never have a smaller one."""
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    magnitude = (bits & 0x7FFFFFFFFFFFFFFF) >> SHIFT
    if magnitude >= NOT_FINITE:
        return NOT_FINITE
    return -magnitude if bits < 0 else magnitude


def lowest(number: int) -> float:
    """The smallest magnitude in a bucket, with its sign: 0.0 in bucket 0, 1.0 in the one that holds 1."""
    value: float = struct.unpack("<d", struct.pack("<q", min(abs(number), NOT_FINITE) << SHIFT))[0]
    return -value if number < 0 else value


@dataclass(kw_only=True)
class Histogram:
    """The distribution of one number: how many values fell into each bucket."""

    counts: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def n(self) -> int:
        return sum(self.counts.values())

    def add(self, value: float) -> None:
        number = bucket(value)
        self.counts[number] = self.counts.get(number, 0) + 1

    def merged(self, other: "Histogram") -> "Histogram":
        """The histogram of the values of both."""
        counts = dict(self.counts)
        for number, count in other.counts.items():
            counts[number] = counts.get(number, 0) + count
        return Histogram(counts=counts)

    def quantile(self, share: float) -> float | None:
        """The value below which a share of the finite ones lies, to the width of a bucket; None where there is none."""
        finite = sorted(number for number in self.counts if number < NOT_FINITE)
        if not finite:
            return None
        sums = list(accumulate(self.counts[number] for number in finite))
        return lowest(finite[min(bisect_right(sums, share * sums[-1]), len(finite) - 1)])

    @property
    def not_finite(self) -> int:
        """How many values were NaN, infinite or missing."""
        return self.counts.get(NOT_FINITE, 0)

    def cells(self, most: int) -> list[int]:
        """Where to cut the buckets into cells: the last bucket of each.

        A cell has about a `most`-th of the weight; a bucket that has so much by itself is a cell of its own, so there
        are less than twice as many. Where the reference ends, a cell begins: what was never seen stands apart.
        """
        numbers = sorted(number for number, count in self.counts.items() if count)
        total, cuts, inside = self.n, list[int](), 0
        for place, number in enumerate(numbers):
            if inside and self.counts[number] * most >= total:
                cuts.append(numbers[place - 1])
                inside = 0
            inside += self.counts[number]
            if inside * most >= total:
                cuts.append(number)
                inside = 0
        return sorted({numbers[0] - 1, *cuts, numbers[-1]}) if numbers else []


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The distributions of a model's inputs and outputs where all was well: its training or validation data.

    Attributes:
        histograms: by name: `input NAME`, `output NAME`, `confidence`, `prediction`, and `prediction = CLASS` (1 or 0).
        after_ns: live records up to this Unix time are not compared with it: it was made of them, or came after them.
    """

    histograms: Mapping[str, Histogram]
    after_ns: int = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Reference":
        """The reference of records, such as those of the validation data sent once through the model.

        Raises `GatewiseError` where no record has status `ok` or none says anything of its inputs or outputs.
        """
        histograms: dict[str, Histogram] = {}
        n = 0
        for record in records:
            if record.status != "ok":
                continue
            n += 1
            for name, value in _plain(record).items():
                histograms.setdefault(name, Histogram()).add(value)
        if not histograms:
            raise GatewiseError("a reference needs records of status ok with features, outputs or predictions")
        for histogram in histograms.values():
            if n > histogram.n:
                histogram.counts[NOT_FINITE] = histogram.not_finite + n - histogram.n
        return cls(histograms=histograms)

    @property
    def classes(self) -> tuple[float, ...]:
        """The classes that are predicted, or nothing where predictions are numbers."""
        found = self.histograms.get(PREDICTION)
        values = [lowest(number) for number in sorted(found.counts) if number < NOT_FINITE] if found else []
        whole = all(value == int(value) and abs(value) <= 256 for value in values)
        return tuple(values) if whole and len(values) <= MOST_CLASSES else ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that is watched, in order."""
        plain = [name for name in self.histograms if name != PREDICTION or not self.classes]
        return (*sorted(plain), *(f"{PREDICTION} = {value:g}" for value in self.classes))

    def histogram(self, name: str) -> Histogram:
        """The distribution of one of `names`; that of a class is of zeros and ones."""
        if name in self.histograms:
            return self.histograms[name]
        found = self.histograms[PREDICTION]
        hits = found.counts.get(bucket(float(name.rpartition(" = ")[2])), 0)
        counts = {bucket(0.0): found.n - hits, bucket(1.0): hits}
        return Histogram(counts={number: count for number, count in counts.items() if count})

    def values(self, record: Record) -> list[float]:
        """What a record says for each of `names`; NaN where it says nothing."""
        plain = _plain(record)
        prediction = plain.get(PREDICTION, float("nan"))
        classes = [float(prediction == value) for value in self.classes]
        return [plain.get(name, float("nan")) for name in self.names[: len(self.names) - len(classes)]] + classes

    def merged(self, other: "Reference") -> "Reference":
        """The reference of both sets of records. Both must watch the same."""
        if set(self.histograms) != set(other.histograms):
            raise GatewiseError("two references that watch different features cannot be merged")
        return Reference(
            histograms={name: own.merged(other.histograms[name]) for name, own in self.histograms.items()},
            after_ns=max(self.after_ns, other.after_ns),
        )

    def to_json(self) -> str:
        """One JSON document."""
        histograms = {
            name: [[number, each.counts[number]] for number in sorted(each.counts)]
            for name, each in sorted(self.histograms.items())
        }
        after = {"after_ns": self.after_ns} if self.after_ns else {}
        return json.dumps({"schema": SCHEMA, **after, "histograms": histograms}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Reference":
        """The reference that `to_json` wrote. Raises `GatewiseError` for anything else."""
        try:
            document: Any = json.loads(text)
            if document["schema"] != SCHEMA:
                raise GatewiseError(f"not a reference: schema {document['schema']!r}, valid: {SCHEMA!r}")
            after_ns = document.get("after_ns", 0)
            if type(after_ns) is not int or after_ns < 0:
                raise GatewiseError(f"not a reference: after_ns is a time in nanoseconds, not {after_ns!r}")
            histograms: dict[str, Histogram] = {}
            for name, pairs in document["histograms"].items():
                counts = {int(number): int(count) for number, count in pairs}
                if not counts or min(counts.values()) < 1 or max(map(abs, counts)) > NOT_FINITE:
                    raise GatewiseError(f"not a reference: the counts of {name!r} are not those of a histogram")
                histograms[str(name)] = Histogram(counts=counts)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise GatewiseError(f"not a reference: {type(error).__name__}: {error}") from error
        return cls(histograms=histograms, after_ns=after_ns)


def _plain(record: Record) -> dict[str, float]:
    """The numbers of a record by name. Of several rows the first stands for all: they came together."""
    found = {f"input {name}": value for name, value in record.features.items()}
    found |= {f"output {name}": value for name, value in record.outputs.items()}
    if record.predictions:
        found[PREDICTION] = record.predictions[0]
    if record.confidences:
        found[CONFIDENCE] = record.confidences[0]
    return found
