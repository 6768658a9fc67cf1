"""What the requests of a window came to, version by version and role by role."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ._record import STATUSES, Record

PERCENTILES = (0.5, 0.9, 0.99)
NOTHING: dict[str, float] = {}
MOST_REASONS = 8
SECOND_NS = 10**9

Stream = tuple[str, str, str]
"""A model, a version of it, and the role in which it ran."""


def slim(record: Record) -> Record:
    """The record without what only the judge and the watches read, so that many of them fit into memory."""
    return replace(record, features=NOTHING, outputs=NOTHING, confidences=(), content=None, fingerprint="")


def window_of(records: Sequence[Record], since_ns: int | None) -> tuple[int, int] | None:
    """From the first arrival (or `since_ns`) to the end of the last work; None where there is no record."""
    if not records:
        return None
    start = min(record.at_ns for record in records) if since_ns is None else since_ns
    end = max(record.at_ns + round(record.latency_s * SECOND_NS) for record in records)
    return start, max(end, start) + 1


def streams(records: Sequence[Record]) -> dict[Stream, list[Record]]:
    """The records by model, version and role, in order of names."""
    found: dict[Stream, list[Record]] = {}
    for record in records:
        found.setdefault((record.model, record.version, record.role), []).append(record)
    return dict(sorted(found.items()))


def traffic(stream: Stream, records: Sequence[Record], window: tuple[int, int], confidence: float) -> dict[str, Any]:
    """One version in one role: how much came, what became of it, how long it took."""
    seconds = (window[1] - window[0]) / SECOND_NS
    by_status = Counter(record.status for record in records)
    ok = [record for record in records if record.status == "ok"]
    sizes = Counter(record.batch_rows for record in ok)
    # A batch is in as many records as it has requests: each stands for its part of it.
    batches = sum(record.rows / max(record.batch_rows, 1) for record in ok)
    rows = sum(record.rows for record in ok)
    why = Counter((record.status, record.reason or "no reason given") for record in records if record.status != "ok")
    return {
        "model": stream[0],
        "version": stream[1],
        "role": stream[2],
        "requests": len(records),
        "requests_per_s": len(records) / seconds,
        **{status: by_status.get(status, 0) for status in STATUSES},
        "reasons": [
            {"status": status, "reason": reason, "requests": n}
            for (status, reason), n in sorted(why.items(), key=lambda item: (-item[1], item[0]))[:MOST_REASONS]
        ],
        "rows": rows,
        "latency": spread([record.latency_s for record in ok], confidence),
        "queue": spread([record.queue_s for record in ok], confidence),
        "compute": spread([record.compute_s for record in ok], confidence),
        "batch_rows": {
            "mean": rows / batches if batches else None,
            "most": max(sizes) if sizes else None,
            "sizes": [{"rows": size, "requests": n} for size, n in sorted(sizes.items())],
        },
    }


def spread(values_s: Sequence[float], confidence: float) -> list[dict[str, Any]]:
    """Percentiles with order-statistic intervals; an end that so few values cannot give is null. Empty without any."""
    if not values_s:
        return []
    from gatewise.scenarios import percentile_of

    found = [percentile_of(values_s, percentile, confidence) for percentile in PERCENTILES]
    return [
        {
            "percentile": each.percentile,
            "value_s": each.value_s,
            "low_s": each.low_s,
            "high_s": each.high_s,
            "n": each.n,
            "needs": each.needs,
        }
        for each in found
    ]


def timeline(found: dict[Stream, list[Record]], window: tuple[int, int], buckets: int) -> dict[str, Any]:
    """The window in equal parts: requests, unanswered ones and percentiles of the latency in each; null where none."""
    start, end = window
    width = -(-(end - start) // buckets)
    return {
        "start_ns": start,
        "bucket_ns": width,
        "series": [
            {"model": stream[0], "version": stream[1], "role": stream[2]} | _buckets(records, start, width, buckets)
            for stream, records in found.items()
        ],
    }


def _buckets(records: Sequence[Record], start: int, width: int, buckets: int) -> dict[str, list[Any]]:
    held: list[list[float]] = [[] for _ in range(buckets)]
    counts, lost = [0] * buckets, [0] * buckets
    for record in records:
        index = min(max((record.at_ns - start) // width, 0), buckets - 1)
        counts[index] += 1
        if record.status == "ok":
            held[index].append(record.latency_s)
        else:
            lost[index] += 1
    for values in held:
        values.sort()
    return {
        "requests": counts,
        "unanswered": lost,
        "p50_s": [_at(values, 0.5) for values in held],
        "p99_s": [_at(values, 0.99) for values in held],
    }


def _at(ordered: Sequence[float], percentile: float) -> float | None:
    """A percentile of values in order; None where they are too few to have one above all others."""
    if len(ordered) * (1 - percentile) < 1:
        return None if percentile > 0.5 or not ordered else ordered[(len(ordered) - 1) // 2]
    return ordered[min(len(ordered) - 1, int(percentile * len(ordered)))]
