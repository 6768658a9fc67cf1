"""A service of one model over half an hour, made up with a seed: two versions as a shadow pair, the new one 10 % slower
and a little less often right, labels late, doubled and out of order, a burst that is refused, an input that drifts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

import numpy as np

from gatewise.monitor import Label, Record, Role
from gatewise.monitor._log import Log
from gatewise.monitor._log_settings import LogSettings
from gatewise.monitor._reference import Reference

START_NS = 1_772_460_000 * 10**9  # 2026-03-02 14:00:00 UTC
MINUTE_S = 60.0
CLASSES = 4


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happens. `slower`: latency of v2 over v1's. `wrong`: how often v2 errs of its own. `shadowed`: a share."""

    seed: int = 1
    requests: int = 6000
    minutes: float = 30.0
    slower: float = 1.10
    wrong: float = 0.02
    shadowed: float = 0.25
    drift: bool = True
    burst: bool = True
    canary: bool = False


def digest(version: str) -> str:
    return hashlib.sha256(f"encoder {version}".encode()).hexdigest()


def example(story: Story | None = None) -> tuple[list[Record], list[Label]]:
    """The records in the order in which they were written, and the labels in the order in which they came."""
    told = story or Story()
    rng = np.random.default_rng(told.seed)
    span_s = told.minutes * MINUTE_S
    arrivals = np.sort(rng.uniform(0.0, span_s, told.requests))
    records: list[Record] = []
    labels: list[Label] = []
    for index, at_s in enumerate(arrivals):
        request, at_ns = f"q{index:05d}", START_NS + int(at_s * 1e9)
        position = at_s / span_s
        if told.burst and 0.45 < position < 0.47 and rng.random() < 0.4:
            records.append(_record(request, at_ns, "v1", "live", status="refused", reason="the queue is full"))
            continue
        # Waves of load that both versions share, and a tail.
        wave = 1.0 + 0.25 * np.sin(6.0 * np.pi * position) ** 2
        truth = int(rng.integers(CLASSES))
        answer = truth if rng.random() > 0.08 else (truth + 1) % CLASSES
        shadowed = rng.random() < told.shadowed
        first = bool(rng.random() < 0.5) if shadowed else None
        tokens = float(rng.lognormal(3.2 + (0.35 if told.drift and position > 0.6 else 0.0), 0.4))
        role: Role = "canary" if told.canary and not shadowed and rng.random() < 0.05 else "live"
        runs: list[tuple[str, Role]] = [("v2" if role == "canary" else "v1", role)]
        runs += [("v2", "shadow")] if shadowed else []
        for version, ran_as in runs:
            slow, wrong = (told.slower, told.wrong) if version == "v2" else (1.0, 0.0)
            rows = int(rng.integers(1, 4))
            answered = rng.random() > 0.001
            records.append(
                _record(
                    request,
                    at_ns,
                    version,
                    ran_as,
                    first=first if ran_as == "live" or first is None else not first,
                    status="ok" if answered else "error",
                    reason=None if answered else "the model gave NaN",
                    queue_s=float(rng.exponential(0.003)),
                    compute_s=0.04
                    * slow
                    * wave
                    * float(rng.lognormal(0.0, 0.12))
                    * (4.0 if rng.random() < 0.01 else 1.0),
                    batch_rows=max(rows, int(rng.integers(1, 7))),
                    features={"tokens": tokens},
                    predictions=(float(answer if rng.random() >= wrong else (truth + 2) % CLASSES),),
                    confidences=(float(rng.beta(9.0, 1.5)),),
                )
            )
        late_s = float(rng.exponential(4 * MINUTE_S))
        if rng.random() < 0.6 and at_s + late_s < span_s:
            labels += [Label(request=request, value=float(truth), at_ns=at_ns + int(late_s * 1e9))] * (
                1 + (index % 50 == 0)
            )
    labels.sort(
        key=lambda label: (label.at_ns // (300 * 10**9), int(label.request[1:]) * 7919 % 101)
    )  # shuffled within 5 minutes
    return records, labels


def _record(request: str, at_ns: int, version: str, role: Role, **more: object) -> Record:
    return Record(
        request=request, at_ns=at_ns, model="encoder", version=version, digest=digest(version), role=role, **more
    )  # type: ignore[arg-type]


def write(folder: Path, story: Story | None = None) -> Path:
    """The example as a folder of records."""
    records, labels = example(story)
    with Log(folder, LogSettings(queue=len(records) + len(labels) + 1)) as log:
        for each in written(records, labels):
            log.append(each) if isinstance(each, Record) else log.label(each)
    return folder


def written(records: list[Record], labels: list[Label]) -> Iterator[Record | Label]:
    """Both in the order in which a server writes them: a record when it is done, a label when it is known."""
    return merge(sorted(records, key=_done), labels, key=_done)


def _done(each: Record | Label) -> int:
    return each.at_ns + (round(each.latency_s * 1e9) if isinstance(each, Record) else 0)


def reference(records: list[Record], version: str = "v1") -> Reference:
    """What training looked like: the example's first half."""
    half = START_NS + (max(record.at_ns for record in records) - START_NS) // 2
    return Reference.of(record for record in records if record.version == version and record.at_ns < half)
