"""Is the live judge right? Seeded replays of known truth through `LiveJudge`, beside River's detectors.

    python benchmarks/live.py --streams 20 --pairs 2000     a minute
    python benchmarks/live.py --streams 200                 the tables of docs/live.md: an hour of one core
    python benchmarks/live.py --streams 200 --only tails    one part of them

The noise is stated in `NOISE`. Beside what our test needed stands the information bound, ln(1 / alpha) / KL: about what
any test at this level needs that knows the effect and the noise beforehand. River is optional: without it, its columns
are left out, with a line that says so. Exits with 1 where a number of false alarms could not come from the level that
was promised (exact binomial test, 1 % over all gates), or where an order of labels changed a verdict.
"""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from judging.gates import Gate, failures
from numpy.typing import NDArray

from gatewise.core import SequentialComparison
from gatewise.monitor import Label, LiveJudge, LiveSettings, Record

Array = NDArray[np.float64]
ALPHA = 1e-3
MEDIAN_S = 0.03
LIMIT_S = 0.1
PERIOD_NS = 100_000_000
TENTH = math.log(1.1)
RIVAL_STREAMS = 20
"""Streams for River: KSWIN takes milliseconds a value."""
CHANGED_STREAMS = 100
"""Streams with a change in their middle."""
NOISE = {
    "iid": "log-normal, SD .3, independent for both versions",
    "waves": "an AR(1) load that the pair shares (phi .99, SD .5), and a private SD of .1",
    "tail": "log-normal, SD .15, and 1 % of the calls of each version x 10",
}
SECTIONS = (*NOISE, "tails", "canary", "private", "accuracy")
PRIVATE_SD = {"iid": 0.3, "waves": 0.1, "tail": 0.15}


def autocorrelated(rng: np.random.Generator, n: int, phi: float, sd: float) -> Array:
    """A stationary AR(1)."""
    values = rng.normal(0, sd, n)
    for i in range(1, n):
        values[i] = phi * values[i - 1] + math.sqrt(1 - phi * phi) * values[i]
    return values


def calls(kind: str, rng: np.random.Generator, n: int, *, tails: tuple[float, float] = (0.01, 0.01)) -> Array:
    """Log times (2, n) of the live version and of one that does not differ from it."""
    times = rng.normal(0, PRIVATE_SD.get(kind, 0.1), (2, n))
    if kind == "waves":
        times += autocorrelated(rng, n, 0.99, 0.5)
    elif kind == "tail":
        times += math.log(10) * (rng.random((2, n)) < np.asarray(tails)[:, None])
    elif kind.startswith("private"):
        times[1] += autocorrelated(rng, n, float(kind.split()[1]), 0.1)
    return times


def pair(i: int, logs: Sequence[float], predictions: Sequence[float] = ()) -> list[Record]:
    """The two records of one request, in an order that is drawn by chance elsewhere; the judge takes either."""
    return [
        Record(
            request=str(i),
            at_ns=i * PERIOD_NS,
            model="m",
            version=version,
            digest=version,
            role="live" if version == "v1" else "shadow",
            first=(i + (version == "v1")) % 2 == 0,
            compute_s=MEDIAN_S * math.exp(log_s),
            predictions=tuple(predictions[place : place + 1]),
        )
        for place, (version, log_s) in enumerate(zip(("v1", "v2"), logs, strict=True))
    ]


def replay(settings: LiveSettings, times: Array, *, stop: bool = True, until: str = "") -> dict[str, int]:
    """The pair after which each kind of alarm was raised first; ends at the first alarm, or at the one asked for."""
    judge, found = LiveJudge(settings), dict[str, int]()
    for i, logs in enumerate(times.T.tolist()):
        for record in pair(i, logs):
            for alarm in judge.add(record):
                found.setdefault(f"{alarm.kind} {alarm.evidence['question']}", i + 1)
        if until in found or (stop and found):
            break
    return found


def answers(rng: np.random.Generator, n: int, gained: float, lost: float) -> tuple[Array, Array]:
    """Predictions (2, n) and labels of two classes: the shadow alone is right in `gained`, live alone in `lost`."""
    labels = rng.integers(0, 2, n).astype(float)
    drawn = rng.random(n)
    right = np.stack(
        [(drawn >= gained) & (drawn < 0.85), (drawn < gained) | ((drawn >= gained + lost) & (drawn < 0.85))]
    )
    return np.where(right, labels, 1 - labels), labels


def judged(settings: LiveSettings, predictions: Array, labels: Array, order: str, seed: int) -> tuple[Any, int]:
    """The verdict on accuracy for one order of the labels, and the labelled pairs at its first alarm (0: none)."""
    judge, rng, first = LiveJudge(settings), random.Random(seed), 0
    records = [pair(i, (0.0, 0.0), said) for i, said in enumerate(predictions.T.tolist())]
    told = [Label(request=str(i), value=value, at_ns=i * PERIOD_NS + 1) for i, value in enumerate(labels.tolist())]
    if order == "as they come":
        for i, both in enumerate(records):
            raised = [alarm for record in both for alarm in judge.add(record)] + judge.label(told[i])
            if raised and not first:
                first = i + 1
    else:
        late = {
            "late": told,
            "doubled": [one for one in told for _ in range(2)],
            "shuffled": rng.sample(told, len(told)),
        }
        early = rng.sample(range(len(told)), len(told) // 3) if order == "shuffled" else []
        for i in early:
            judge.label(told[i])
        for both in records:
            for record in rng.sample(both, 2):
                judge.add(record)
        for label in late[order]:
            judge.label(label)
    judge.finish()
    (found,) = judge.comparisons()
    return (found.verdict, found.estimate, found.interval, found.alarmed, round(found.evidence, 9)), first


def canary(settings: LiveSettings, rng: np.random.Generator, n: int, share: float, effect: float) -> int:
    """Requests (of both) until the alarm of a canary under shared load waves; 0: none."""
    logs = autocorrelated(rng, n, 0.99, 0.5) + rng.normal(0, 0.1, n)
    judge = LiveJudge(settings)
    for i, mine in enumerate((rng.random(n) < share).tolist()):
        record = Record(
            request=str(i),
            at_ns=i * PERIOD_NS,
            model="m",
            version="v2" if mine else "v1",
            digest="v2" if mine else "v1",
            role="canary" if mine else "live",
            compute_s=MEDIAN_S * math.exp(logs[i] + effect * mine),
        )
        if judge.add(record):
            return i + 1
    return 0


def river_detectors() -> dict[str, Callable[[], Any]]:
    """River's detectors at their defaults, and ADWIN at our level too; empty where River is absent."""
    try:
        from river import drift
    except ImportError:
        print("River is not installed: its detectors are left out (pip install river)\n")
        return {}
    return {
        "ADWIN": drift.ADWIN,
        "ADWIN .001": lambda: drift.ADWIN(delta=ALPHA),
        "PageHinkley": drift.PageHinkley,
        "KSWIN": lambda: drift.KSWIN(seed=0),
    }


def detected(detector: Any, values: Sequence[float]) -> int:
    """The first value at which a River detector reports a change; 0: none."""
    for i, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            return i + 1
    return 0


def spread(found: Sequence[int]) -> str:
    """Median / 90th percentile / how many were never found."""
    reached = np.where(np.asarray(found) > 0, found, np.inf)
    middle, late = (float(np.quantile(reached, q, method="higher")) for q in (0.5, 0.9))
    return f"{middle:,.0f} / {late:,.0f} / {int(np.isinf(reached).sum())}"


def pairs_section(
    options: argparse.Namespace, rng: np.random.Generator, kind: str
) -> tuple[list[Gate], dict[str, Any]]:
    """False alarms and power on latency under one kind of noise, and a change in mid-stream for the detectors."""
    gates: list[Gate] = []
    rivals = river_detectors()
    both = LiveSettings(alpha=ALPHA, tail_limit_s=LIMIT_S, metrics=("latency", "tail", "errors"), run_length=1e7)
    latency = LiveSettings(alpha=ALPHA, metrics=("latency",))
    watched = replace(latency, run_length=1e7)
    quiet = [calls(kind, rng, options.pairs) for _ in range(options.streams)]
    alarms = [replay(both, times, stop=False) for times in quiet]
    row: dict[str, Any] = {"streams": options.streams, "pairs": options.pairs}
    for name in ("latency start", "tail start", "latency change", "tail change"):
        row[f"false: {name}"] = sum(name in found for found in alarms)
        gates.append(Gate(name=f"{kind}, {name}", count=row[f"false: {name}"], trials=options.streams, limit=ALPHA))
    slower = [calls(kind, rng, 5_000) + np.array([[0.0], [TENTH]]) for _ in range(options.streams)]
    row["+10 %"] = spread([replay(latency, times).get("latency start", 0) for times in slower])
    row["information bound"] = math.log(1 / ALPHA) / (TENTH**2 / (4 * PRIVATE_SD[kind] ** 2))
    changed = [calls(kind, rng, 4_000) for _ in range(min(options.streams, CHANGED_STREAMS))]
    for times in changed:
        times[1, 1_000:] += TENTH
    name = "latency change"
    ends = [replay(watched, times, stop=False, until=name).get(name, 0) for times in changed]
    row["+10 % after 1,000, called too early"] = sum(0 < end <= 1_000 for end in ends)
    row["+10 % after 1,000, ours"] = spread([max(end - 1_000, 0) for end in ends])
    for name, make in rivals.items():
        ratios = [(times[1] - times[0]).tolist() for times in quiet[:RIVAL_STREAMS]]
        row[f"{name}: false"] = f"{sum(detected(make(), one) > 0 for one in ratios)} of {len(ratios)}"
        ends = [detected(make(), (times[1] - times[0]).tolist()) for times in changed[:RIVAL_STREAMS]]
        early = sum(0 < end <= 1_000 for end in ends)
        row[f"{name}: change"] = f"{spread([max(end - 1_000, 0) for end in ends])}, of those {early} before it"
    print(f"{kind}: {NOISE[kind]}")
    for name, value in row.items():
        print(f"    {name:28} {value if isinstance(value, str) else format(value, ',.0f')}", flush=True)
    return gates, row


def tails_section(options: argparse.Namespace, rng: np.random.Generator) -> dict[str, Any]:
    """A tail that triples."""
    tail = LiveSettings(alpha=ALPHA, tail_limit_s=LIMIT_S, metrics=("tail",))
    own = LiveSettings(alpha=ALPHA, metrics=("tail",), tail_window=1_000)
    row: dict[str, Any] = {}
    streams = [calls("tail", rng, 6_000, tails=(0.01, 0.03)) for _ in range(options.streams)]
    row["tail 1 % -> 3 %, limit stated"] = spread([replay(tail, one).get("tail start", 0) for one in streams])
    row["the same, limit: live's own p99 of 1,000"] = spread([replay(own, one).get("tail start", 0) for one in streams])
    row["  bound for the signs of discordant pairs"] = f"{math.log(1 / ALPHA) / (0.0394 * 0.1309):,.0f}"
    told(row)
    return row


def told(row: dict[str, Any]) -> None:
    """Print what a part found."""
    for name, value in row.items():
        print(f"{name:60} {value}", flush=True)


def accuracy_section(options: argparse.Namespace, rng: np.random.Generator) -> tuple[list[Gate], dict[str, Any], int]:
    """Accuracy that falls, and labels in other orders."""
    row: dict[str, Any] = {}
    accuracy = LiveSettings(alpha=ALPHA, metrics=("accuracy",), waiting=50_000)
    found, quiet = [], 0
    for seed in range(options.streams):
        found.append(judged(accuracy, *answers(rng, 6_000, 0.015, 0.035), "as they come", seed)[1])
        quiet += judged(accuracy, *answers(rng, options.pairs, 0.025, 0.025), "as they come", seed)[1] > 0
    row["accuracy -2 points at 5 % disagreement"] = spread(found)
    row["  bound"] = f"{math.log(1 / ALPHA) / (0.05 * 0.0823):,.0f}"
    row["accuracy the same: false alarms"] = quiet
    changed = 0
    for seed in range(min(options.streams, 20)):
        drawn = answers(rng, 4_000, 0.015, 0.035) if seed % 2 else answers(rng, 4_000, 0.025, 0.025)
        one = judged(accuracy, *drawn, "as they come", seed)[0]
        changed += sum(judged(accuracy, *drawn, order, seed)[0] != one for order in ("late", "doubled", "shuffled"))
    row["verdicts changed by late, doubled or shuffled labels"] = changed
    told(row)
    return [Gate(name="accuracy", count=quiet, trials=options.streams, limit=ALPHA)], row, changed


def canary_section(options: argparse.Namespace, rng: np.random.Generator) -> tuple[list[Gate], dict[str, Any]]:
    """The unpaired test under load waves."""
    settings = LiveSettings(alpha=ALPHA, metrics=("latency",))
    row: dict[str, Any] = {}
    gates: list[Gate] = []
    for share in (0.05, 0.5):
        quiet = sum(canary(settings, rng, options.pairs, share, 0.0) > 0 for _ in range(options.streams))
        gates.append(Gate(name=f"canary {share:.0%}", count=quiet, trials=options.streams, limit=ALPHA))
        row[f"canary {share:.0%}, waves: false alarms"] = quiet
        ends = [canary(settings, rng, 40_000, share, TENTH) for _ in range(min(options.streams, 50))]
        row[f"canary {share:.0%}, waves: +10 %, requests of both"] = spread(ends)
    told(row)
    return gates, row


def private_section(options: argparse.Namespace, rng: np.random.Generator) -> dict[str, Any]:
    """A load that one version has to itself: no required rate, for no stream can tell it from an effect for long."""
    row: dict[str, Any] = {}
    streams = min(options.streams, 100)
    ways = {"pairs": LiveSettings(alpha=ALPHA, metrics=("latency",))}
    ways["blocks of 3,125 stated"] = LiveSettings(alpha=ALPHA, metrics=("latency",), block=3_125)
    for phi in ("0.9", "0.99"):
        drawn = [calls(f"private {phi}", rng, options.pairs) for _ in range(streams)]
        for name, settings in ways.items():
            wrong = sum(bool(replay(settings, one)) for one in drawn)
            row[f"private AR(1) {phi}, ours, {name}"] = f"{wrong} of {streams}"
        wrong = sum(_unguarded(one) for one in drawn)
        row[f"private AR(1) {phi}, sign test of pairs, no guard"] = f"{wrong} of {streams}"
    told(row)
    return row


def _unguarded(times: Array) -> bool:
    judge = SequentialComparison(margin=0.0, alpha=ALPHA)
    for live, shadow in np.exp(times[:, :2_000]).T.tolist():
        judge.update(live, shadow)
        if judge.comparison().verdict == "worse":
            return True
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=10_000, help="pairs of a stream without an effect")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every number to this file")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="these parts only")
    options = parser.parse_args(arguments)
    if options.streams < 1 or options.pairs < 1 or options.seed < 0:
        parser.error("--streams and --pairs must be 1 or more, --seed 0 or more")
    began = time.perf_counter()
    rngs = [np.random.default_rng(child) for child in np.random.SeedSequence(options.seed).spawn(len(SECTIONS))]
    print(f"alpha = {ALPHA}, seed {options.seed}; found: median / 90th percentile / never, in pairs\n")
    chosen = set(options.only or SECTIONS)
    gates: list[Gate] = []
    rows: dict[str, Any] = {}
    for kind, rng in zip(NOISE, rngs, strict=False):
        if kind in chosen:
            found, rows[kind] = pairs_section(options, rng, kind)
            gates += found
    tails = tails_section(options, rngs[3]) if "tails" in chosen else {}
    yet, unpaired = canary_section(options, rngs[4]) if "canary" in chosen else ([], {})
    private = private_section(options, rngs[5]) if "private" in chosen else {}
    more, accuracy, changed = accuracy_section(options, rngs[6]) if "accuracy" in chosen else ([], {}, 0)
    gates += [*more, *yet]
    failed = failures(gates) if gates else []
    for gate in failed:
        print(f"FAILED {gate.line()}")
    if changed:
        print(f"FAILED {changed} verdicts depend on the order of labels")
    print(f"\n{len(gates) - len(failed)} of {len(gates)} required rates hold; {time.perf_counter() - began:.0f} s")
    if options.json:
        document = {"pairs": rows, "tails": tails, "canary": unpaired, "private": private, "accuracy": accuracy}
        document |= {"seed": options.seed, "streams": options.streams}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if failed or changed else 0


if __name__ == "__main__":
    sys.exit(main())
