"""How soon drift is found, and what likeness of neighbours does to false alarms: the figures of docs/drift.md.

    python benchmarks/drift.py --streams 4          a minute
    python benchmarks/drift.py                      all figures, in one run

Streams are seeded and normal, three features each, against a reference of 2,000 independent values. `found` changes one
feature after 1,000 records. `alike` changes nothing: neighbours have the stated correlation (AR(1)), once as it is and
once without thinning. `level` asks for so many false alarms that they can be counted, on independent records. Exits
with 1 where that count could not come from the promised rate (exact binomial test, 1 %).
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from judging.gates import Gate, failures
from numpy.typing import NDArray

from gatewise.monitor import DriftSettings, Reference
from gatewise.monitor._drift import FeatureWatch
from gatewise.monitor._reference import Histogram

Array = NDArray[np.float64]
FEATURES, REFERENCE, BEFORE, MOST = 3, 2000, 1000, 4000
CHANGES: dict[str, Callable[[Array], Array]] = {
    "shift by 1 SD": lambda x: x + 1.0,
    "shift by .3 SD": lambda x: x + 0.3,
    "spread x 1.5": lambda x: 1.5 * x,
}
CORRELATIONS = (0.0, 0.5, 0.8, 0.95, 0.99)
LEVEL = 5000.0


def reference(rng: np.random.Generator) -> Reference:
    """Of independent normal values."""
    found: dict[str, Histogram] = {}
    for at in range(FEATURES):
        found[f"input {at}"] = Histogram()
        for value in rng.standard_normal(REFERENCE):
            found[f"input {at}"].add(float(value))
    return Reference(histograms=found)


def alike(rng: np.random.Generator, n: int, phi: float) -> Array:
    """Three stationary AR(1), mean 0 and SD 1."""
    x = rng.standard_normal((n, FEATURES))
    for at in range(1, n):
        x[at] = phi * x[at - 1] + math.sqrt(1 - phi * phi) * x[at]
    return x


def first(watch: FeatureWatch, x: Array) -> tuple[int | None, list[int]]:
    """Where the first alarm comes, and about which features."""
    for at, row in enumerate(x.tolist()):
        hits = watch.add(row)
        if hits:
            return at, hits
    return None, []


def found(streams: int, seed: int) -> list[dict[str, Any]]:
    """Records from the change to the alarm; `early` came before it, `other` named another feature."""
    rows: list[dict[str, Any]] = []
    for name, change in CHANGES.items():
        after, early, other = list[float](), 0, 0
        for at in range(streams):
            rng = np.random.default_rng((seed, at))
            watch = FeatureWatch(reference(rng), DriftSettings(seed=at))
            x = rng.standard_normal((BEFORE + MOST, FEATURES))
            x[BEFORE:, 1] = change(x[BEFORE:, 1])
            when, hits = first(watch, x)
            early += when is not None and when < BEFORE
            other += when is not None and when >= BEFORE and hits != [1]
            after.append(math.inf if when is None or when < BEFORE else when - BEFORE + 1)
        missed = sum(math.isinf(each) for each in after) - early
        rows.append({"change": name, "streams": streams, "median": median(after), "most": max(after),
                     "early": early, "other": other, "missed": missed})  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def calm(streams: int, records: int, seed: int) -> list[dict[str, Any]]:
    """Streams with an alarm, where there is nothing to find."""
    rows: list[dict[str, Any]] = []
    for phi in CORRELATIONS:
        for thin in (True, False):
            at_alarm, gaps = list[int](), list[int]()
            for at in range(streams):
                rng = np.random.default_rng((seed, 1, at))
                watch = FeatureWatch(reference(rng), DriftSettings(seed=at, thin=thin))
                when, _ = first(watch, alike(rng, records, phi))
                gaps.append(watch.drifts()[0].gap)
                if when is not None:
                    at_alarm.append(when + 1)
            rows.append({"correlation": phi, "thin": thin, "streams": streams, "records": records,
                         "alarms": len(at_alarm), "median_at": median(at_alarm) if at_alarm else None,
                         "gap": [min(gaps), median(gaps), max(gaps)]})  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    return rows


def level(streams: int, seed: int) -> Gate:
    """At one false alarm in `LEVEL` records, a stream of a tenth of that has one with a chance of at most .1."""
    count = 0
    for at in range(streams):
        rng = np.random.default_rng((seed, 2, at))
        settings = DriftSettings(false_alarm_every=LEVEL, least_gap=0.0, seed=at)
        when, _ = first(FeatureWatch(reference(rng), settings), alike(rng, round(LEVEL / 10), 0.0))
        count += when is not None
    return Gate(name=f"one in {LEVEL:g}, streams of {LEVEL / 10:g}", count=count, trials=streams, limit=0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all three. 1 where the level is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--records", type=int, default=10_000, help="of the streams in which nothing changes")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args(arguments)
    found(given.streams, given.seed)
    calm(given.streams, given.records, given.seed)
    gate = level(10 * given.streams, given.seed)
    print(gate.line(), flush=True)
    return 1 if failures([gate]) else 0


if __name__ == "__main__":
    sys.exit(main())
