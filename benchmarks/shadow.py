"""Are a shadow and a canary on equal footing? A real server, two versions of the same cost, and one that is slower.

    python benchmarks/shadow.py --starts 10 --requests 3000       # A/A: the false alarms
    python benchmarks/shadow.py --slower 4 --starts 5             # 24 layers instead of 20
    python benchmarks/shadow.py --canary 0.1 --requests 6000      # a canary with a tenth of the requests

Each start is a process of its own: live, a shadow, and a copy of live beside it; or live, a canary, and a control: a
copy of live with as many requests as the canary. Requests come by a Poisson process whose rate waves. The records are
then judged twice: by the times of shadow or canary and copy (`beside`), and by those of the two versions' own answers,
as if there were no copy (`as they came`). For each it prints the ratio of medians, the p99s, how
many requests of each were beyond the other's limit, and which alarms were raised at alpha.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from serve import load, server

from gatewise.monitor import LiveJudge, LiveSettings, Record, read_records


def judged(records: list[Record], alpha: float) -> dict[str, Any]:
    """What the judge says of these records."""
    settings = LiveSettings(alpha=alpha, metrics=("latency", "tail"), tail_window=500)
    judge = LiveJudge(settings)
    raised = [alarm for record in records for alarm in judge.add(record)]
    found = {each.metric: each for each in judge.comparisons()}
    latency, tail = found["latency"], found["tail"]
    return {
        "n": latency.n,
        "ratio": latency.estimate,
        "verdict": latency.verdict,
        "evidence": latency.evidence,
        "tail": tail.estimate,
        "tail evidence": tail.evidence,
        "alarms": [alarm.kind for alarm in raised],
    }


def times(records: list[Record]) -> Iterator[tuple[str, list[float]]]:
    """Seconds by what was timed."""
    ok = [each for each in records if each.status == "ok"]
    yield "live", [each.compute_s for each in ok if each.role == "live" and not each.control]
    yield "canary", [each.compute_s for each in ok if each.role == "canary"]
    yield "control", [each.compute_s for each in ok if each.control]
    yield "shadow", [each.compute_s for each in ok if each.role == "shadow"]
    yield "copy", [each.beside_s for each in ok if each.beside_s]
    yield "shadow, where timed", [each.compute_s for each in ok if each.beside_s]
    yield "first of the two", [each.compute_s if each.first else each.beside_s for each in ok if each.beside_s]
    yield "second", [each.beside_s if each.first else each.compute_s for each in ok if each.beside_s]


def start(asked: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """One process, its load, and its records judged in both ways."""
    record = folder / f"records-{seed}"
    other = {"shadow": asked.layers + asked.slower}
    if asked.canary:
        other = {"canary": asked.layers + asked.slower, "share": asked.canary}
    options = {"model": "work", "layers": asked.layers, **other}
    with server("ours", folder, **options, record=record) as (url, _):
        load(url, folder, callers=1, seconds=1)
        done = 0
        while done < asked.requests:
            wave = 1.0 + 0.6 * (-1) ** (done // 200 + seed)
            done += len(load(url, folder, rate=asked.rate * wave, seconds=4, seed=seed * 1000 + done)["seen"])
    records = list(read_records(record))
    return {
        "ms": {
            name: {f"p{100 * q:g}": round(1e3 * float(np.quantile(found, q)), 3) for q in (0.5, 0.99)}
            for name, found in times(records)
            if found
        },
        "beside": judged(records, asked.alpha),
        "as they came": judged([replace(each, beside_s=None, control=None) for each in records], asked.alpha),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--requests", type=int, default=3000, help="of each start")
    parser.add_argument("--rate", type=float, default=60, help="requests a second, in the middle")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--canary", type=float, help="a canary with this share, in place of the shadow")
    parser.add_argument("--slower", type=int, default=0, help="layers that the shadow has more")
    parser.add_argument("--alpha", type=float, default=1e-3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(asked.starts):
            found.append(start(asked, seed, Path(folder)))
            print(json.dumps(found[-1]), flush=True)
    for way in ("beside", "as they came"):
        alarms = [each[way]["alarms"] for each in found]
        ratios = [each[way]["ratio"] for each in found if each[way]["ratio"] is not None]
        print(
            f"{way}: latency alarms in {sum('latency' in each for each in alarms)} of {len(found)} starts, "
            f"tail alarms in {sum('tail' in each for each in alarms)}, ratio {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
