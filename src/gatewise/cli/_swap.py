"""`gatewise swap`: surgery on a real model."""

import argparse
import json
from pathlib import Path


def run(parsed: argparse.Namespace) -> int:
    """Load, swap, save, and say what changed."""
    from gatewise import surgery
    from gatewise.core import GatewiseError
    from gatewise.workloads import WORKLOADS, workload

    out = Path(parsed.out)
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise GatewiseError(f"{out} is not empty; give another --out")
    named = parsed.model in WORKLOADS
    found = workload(name=parsed.model if named else "", model="" if named else parsed.model)
    model, report = surgery.swap(
        found.original(),
        parsed.to,
        only=parsed.only,
        matching=parsed.matching,
        multiple_of=parsed.multiple_of,
        seed=parsed.seed,
    )
    surgery.save(model, out)
    if parsed.json:
        print(json.dumps(report.to_json(), allow_nan=False))
        return 0
    print(f"{len(report.sites)} sites now compute {report.to}; weights: {report.weights_state}")
    for site in report.sites:
        counts = f"{site.parameters_before:,} -> {site.parameters_after:,} parameters"
        print(f"  {site.path}: {site.before} -> {site.after}, {counts}")
    for path, reason in report.left:
        print(f"  left alone {path}: {reason}")
    print(f"parameters {report.parameters_before:,} -> {report.parameters_after:,}; saved in {out}")
    return 0
