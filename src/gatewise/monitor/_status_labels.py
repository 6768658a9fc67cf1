"""What the labels say so far: how many came, and how often each version was right."""

from collections.abc import Mapping, Sequence
from typing import Any

from ._record import Record
from ._status_traffic import Stream

Labels = Mapping[tuple[str, int], float]
"""The first label of each row of a request."""


NO_PREDICTIONS = (
    "no predictions in the answers (no classes, no single number a row): labels have nothing to be held against"
)
ON_PREDICTIONS = ("disagreement", "accuracy")


def explained(comparisons: Sequence[Any], found: Mapping[Stream, Sequence[Record]]) -> list[Any]:
    """The comparisons; one that waits for predictions of versions that answer and predict nothing says so."""
    answered = {stream[:2] for stream, records in found.items() if any(each.status == "ok" for each in records)}
    predict = {stream[:2] for stream, records in found.items() if any(each.predictions for each in records)}
    return [
        each | {"reason": NO_PREDICTIONS}
        if each["metric"] in ON_PREDICTIONS
        and not each["n"]
        and any((each["model"], each[name]) in answered - predict for name in ("version", "baseline"))
        else each
        for each in comparisons
    ]


def labelled(found: Mapping[Stream, Sequence[Record]], labels: Labels, confidence: float) -> list[dict[str, Any]]:
    """One entry for each version in a role that predicted anything."""
    entries = (_entry(stream, records, labels, confidence) for stream, records in found.items())
    return [entry for entry in entries if entry["rows"]]


def _entry(stream: Stream, records: Sequence[Record], labels: Labels, confidence: float) -> dict[str, Any]:
    rows = known = right = 0
    classes = True
    for record in records:
        for row, prediction in enumerate(record.predictions):
            rows += 1
            label = labels.get((record.request, row))
            if label is None:
                continue
            known += 1
            right += prediction == label
            classes = classes and float(prediction).is_integer() and float(label).is_integer()
    low, high = share_interval(right, known, confidence) if known and classes else (None, None)
    return {
        "model": stream[0],
        "version": stream[1],
        "role": stream[2],
        "rows": rows,
        "labelled": known,
        "share_labelled": known / rows if rows else None,
        "right": right if known and classes else None,
        "accuracy": right / known if known and classes else None,
        "low": low,
        "high": high,
    }


def share_interval(hits: int, n: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934), valid at one look, not at every look."""
    from scipy.special import betaincinv

    level = (1 - confidence) / 2
    low = float(betaincinv(hits, n - hits + 1, level)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - level)) if hits < n else 1.0
    return low, high
