"""Is the judge right? Seeded streams of known truth, judged after every pair, beside the ways of others.

    python benchmarks/judge.py --quick      about a minute on one core
    python benchmarks/judge.py              the full table of docs/calibration.md

Exits with 1 when a rate of ours leaves its binomial interval, when a clear effect is not found, or when the vectorised
twin that makes this fast ends a study otherwise than the real judge. A sound judge fails a run with a probability of
at most 1 % (Bonferroni over all required rates). The rates of others are printed and required of nobody.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from judging import fixed, table
from judging.gates import FALSE_FAILURES, failures
from judging.price import price
from judging.streams import PAIRS, PAIRS_EACH, PROCESSES, STREAMS
from judging.timings import simulate

QUICK, FULL = 2_000, 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print the tables, and return the exit code."""
    options = _options(arguments)
    studies = options.studies or (QUICK if options.quick else FULL)
    began = time.perf_counter()
    children = np.random.SeedSequence(options.seed).spawn(len(STREAMS) + 3)
    rngs = [np.random.default_rng(child) for child in children]
    timings = [simulate(stream, rng, studies) for stream, rng in zip(STREAMS, rngs, strict=False)]
    seed_rows, item_rows = fixed.seeds(rngs[-3], studies), fixed.items(rngs[-2], studies)
    prices = price(rngs[-1], studies)
    gates = [gate for timing in timings for gate in timing.gates()] + fixed.gates(seed_rows, item_rows)
    failed = failures(gates)
    twin = sum(timing.disagreements for timing in timings)

    print(
        f"{studies:,} studies a row, seed {options.seed}, alpha 5 %; rates in percent, 95 % Clopper-Pearson intervals"
    )
    print(f"At most {PAIRS} pairs, or {PROCESSES} processes of {PAIRS_EACH} pairs, judged after every one of them.\n")
    for title, text in (
        ("Ours: is it right?", table.calibration(timings)),
        ("Ours: called worse, median/90th percentile of units to that, never ended", table.power(timings)),
        ("Everybody, no effect: called different (a false alarm)", table.rivals(timings, "no_effect")),
        ("Everybody, exactly at a margin of 2 %: any verdict (wrong)", table.rivals(timings, "at_margin")),
        ("Everybody, +2 %, margin 0: called slower (power, for what it is worth)", table.rivals(timings, "worse")),
        ("Pairs to a power of 50 / 80 / 90 %, independent noise", table.price(prices)),
        ("Seeds, SD .0019 nat, paired at a correlation of .8", table.seeds(seed_rows)),
        ("Binary items, the same for both arms", table.items(item_rows)),
    ):
        print(f"{title}\n\n{text}\n")
    for gate in failed:
        print(f"FAILED {gate.line()}")
    if twin:
        print(f"FAILED the vectorised twin ends {twin} studies otherwise than the real judge")
    print(
        f"{len(gates) - len(failed)} of {len(gates)} required rates hold; a sound judge fails this run with a "
        f"probability of at most {FALSE_FAILURES:.0%}; {time.perf_counter() - began:.0f} s"
    )
    if options.json:
        document = {
            "studies": studies,
            "seed": options.seed,
            "timings": [timing.json() for timing in timings],
            "price": prices,
            "seeds": seed_rows,
            "items": item_rows,
            "gates": len(gates),
            "failed": [gate.line() for gate in failed],
            "disagreements": twin,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if failed or twin else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} studies a cell instead of {FULL:,}")
    parser.add_argument("--studies", type=int, help="another number of studies a cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every count to this file")
    options = parser.parse_args(arguments)
    if options.studies is not None and options.studies < 1:
        parser.error(f"--studies must be 1 or more, not {options.studies}")
    if options.seed < 0:
        parser.error(f"--seed must be 0 or more, not {options.seed}")
    if options.json is not None and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    return options


if __name__ == "__main__":
    sys.exit(main())
