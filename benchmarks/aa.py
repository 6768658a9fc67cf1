"""A/A studies through the main job: how often does it cry wolf, and does it find a slowdown that was planted?

Each study judges three arms against GELU on the real sentence encoder: the baseline under another label (no effect at
all), the baseline made 10 % slower on purpose, and the baseline made 0.5 % slower, inside the margin of 2 %.

    python benchmarks/aa.py --studies 10 --budget 60s

A false alarm is `better` or `worse` on the first or the third arm; the slow arm is found when it is `worse`. The rates
come with their Clopper-Pearson intervals. Nothing else should run on the machine.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from gatewise.study import evaluate, to_plan

ARMS = [
    "gelu",
    {"name": "gelu", "label": "same"},
    {"name": "gelu", "label": "slower by 0.5 %", "slowdown": 0.005},
    {"name": "gelu", "label": "slower by 10 %", "slowdown": 0.1},
]


def plan(seed: int, budget: str, batch: list[int]) -> dict[str, Any]:
    """The tables of one study."""
    return {
        "study": {"name": "A/A", "arms": ARMS, "seed": seed, "budget": budget},
        "subject": {"workload": "sentence-encoder"},
        "measure": {"metrics": ["latency"], "batch": batch},
    }


def main() -> int:
    """Run the studies and print a line each, then the rates; 1 when a rate contradicts what the judge promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="append one line a study to this file")
    options = parser.parse_args()
    found: dict[str, Counter[str]] = {}
    for number in range(options.studies):
        folder = Path(tempfile.mkdtemp(prefix="gatewise-aa-"))
        try:
            document = evaluate(to_plan(plan(options.seed + number, options.budget, options.batch)), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        words: list[str] = []
        for comparison in document["comparisons"]:
            found.setdefault(comparison["arm"], Counter())[comparison["verdict"]] += 1
            low, high = comparison["interval"] or (float("nan"), float("nan"))
            words.append(f"{comparison['arm']}: {comparison['verdict']} [{low - 1:+.1%}, {high - 1:+.1%}]")
        print(f"{number + 1:3d}  {'  '.join(words)}  ({document['comparisons'][0]['n']} processes)", flush=True)
        if options.json:
            with options.json.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"seed": options.seed + number, "comparisons": document["comparisons"]}) + "\n")
    return _summary(found)


def _summary(found: dict[str, Counter[str]]) -> int:
    failed = 0
    for arm, verdicts in found.items():
        total = verdicts.total()
        hits = verdicts["worse"] + verdicts["better"]
        interval = binomtest(hits, total).proportion_ci()
        print(f"{arm}: {dict(verdicts)}; called different {hits} of {total} [{interval.low:.3f}, {interval.high:.3f}]")
        planted = arm == "slower by 10 %"
        failed += (verdicts["worse"] < total) if planted else interval.low > 0.05
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
