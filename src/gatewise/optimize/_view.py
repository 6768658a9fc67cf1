"""What `gatewise optimize` did, for people and as JSON."""

import math
from dataclasses import asdict
from typing import Any

from gatewise.core import Comparison

from ._optimize import SCHEMA, Gain, Optimized, Repair


def to_json(found: Optimized) -> dict[str, Any]:
    """One document; a number that is not there is null."""
    return {
        "schema": SCHEMA,
        "source": str(found.source),
        "out": str(found.out),
        "sites": found.sites,
        "replaced": [_repair(repair) for repair in found.replaced],
        "left": [_repair(repair) for repair in found.repairs if repair.taken is None],
        "difference": found.difference,
        "checked": found.checked,
        "gains": [
            {"batch": gain.batch, "threads": found.threads, "time": asdict(gain.time), "twin": asdict(gain.twin)}
            for gain in found.gains
        ],
    }


def _repair(repair: Repair) -> dict[str, Any]:
    return {
        "path": repair.site.path,
        "identity": repair.site.found.name,
        "distance": _number(repair.site.found.distance),
        "ops": list(repair.site.ops),
        "op": repair.taken.op.name if repair.taken else None,
        "reason": repair.reason,
        "tried": [
            {"op": c.op.name, "difference": _number(c.difference), "ratio_alone": _number(c.ratio), "reason": c.reason}
            for c in repair.tried
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def show(found: Optimized) -> str:
    """A few plain lines."""
    lines: list[str] = []
    for repair in found.replaced:
        if repair.taken is not None:
            name, count = repair.site.found.name or repair.site.found.nearest, len(repair.site.ops)
            lines.append(f"{repair.site.path}: {name} of {count} operations is now {repair.taken.op.name}")
    for repair in found.repairs:
        if repair.taken is None:
            lines.append(f"left as it is, {repair.site.path}: {repair.reason}")
    if not found.replaced:
        one = found.sites - len(found.repairs)
        lines.append(f"nothing was replaced; {one} of {found.sites} activations are single operations already")
        lines.append(f"{found.out} is a copy of {found.source}, byte by byte")
        return "\n".join(lines)
    lines.append(f"outputs differ by at most {found.difference:.1e} ({found.checked})")
    lines += [_gain(gain, found.threads) for gain in found.gains]
    lines.append(f"saved in {found.out}")
    return "\n".join(lines)


def _gain(gain: Gain, threads: int) -> str:
    threaded = f"{threads} thread{'s' if threads > 1 else ''}"
    where = f"batch {gain.batch}, {threaded}, ONNX Runtime: "
    if gain.twin.verdict != "equivalent":
        return (
            f"{where}no verdict: a copy of the old file differs from itself by {_span(gain.twin)} on this machine now"
        )
    words = {"better": "faster", "worse": "slower", "equivalent": "the same speed", "inconclusive": "not decided"}
    return f"{where}{words[gain.time.verdict]}, time {_span(gain.time)}"


def _span(found: Comparison) -> str:
    if found.estimate is None or found.interval is None:
        return f"not known ({found.reason})"
    low, high = found.interval
    return f"{found.estimate - 1:+.1%} ({low - 1:+.1%} to {high - 1:+.1%})"
