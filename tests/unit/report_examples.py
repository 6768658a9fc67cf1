"""Invented documents for the tests of the report: a dilution, and a result with all that is optional in it."""

import copy
from typing import Any

LEVELS = ("operator", "ffn", "layer", "model", "request")
REFUSED = {
    "estimate": None,
    "interval": None,
    "verdict": "inconclusive",
    "n": 12,
    "reason": "the baseline's twin is not yet equivalent to it (−0.60 % to +4.5 %): this cell is too noisy",
}
LEFT = {"operator": 0.3, "ffn": 0.85, "layer": 0.92, "model": 0.96, "request": 0.985}


def ratio(estimate: float, width: float = 0.004) -> dict[str, Any]:
    """A ratio with the verdict that a margin of 2 % gives."""
    low, high = estimate * (1 - width), estimate * (1 + width)
    word = "better" if high < 0.98 else "worse" if low > 1.02 else "inconclusive"
    word = "equivalent" if low > 0.98 and high < 1.02 else word
    return {"estimate": estimate, "interval": [low, high], "verdict": word, "n": 12, "reason": None}


def share(left: float) -> dict[str, Any]:
    found = ratio(left)
    return found | {"estimate": 1 - left, "interval": [1 - end for end in reversed(found["interval"])]}


def diluted(tokens: tuple[int, ...] = (1, 16, 128, 2048)) -> dict[str, Any]:
    """Two dtypes; the model at 16 tokens in float32 refused, the request at 2,048 tokens in bfloat16 not measured."""
    rows: list[dict[str, Any]] = []
    for dtype in ("float32", "bfloat16"):
        for level in LEVELS:
            for count in tokens:
                left = LEFT[level]
                row: dict[str, Any] = {
                    "level": level,
                    "dtype": dtype,
                    "tokens": count,
                    "share": share(left * 0.98),
                    "ratios": {"relu": ratio(left), "swiglu": ratio(left**0.5 * (1.04 if level == "layer" else 1.0))},
                    "times_s": {"gelu": 1e-5 * count},
                }
                if (dtype, level, count) == ("float32", "model", 16):
                    row |= {"share": REFUSED, "ratios": {"relu": REFUSED, "swiglu": REFUSED}}
                if (dtype, level, count) == ("bfloat16", "request", 2048):
                    row |= {"share": None, "ratios": {"relu": None, "swiglu": None}, "times_s": {}}
                rows.append(row)
    return {
        "schema": "gatewise.dilution/1",
        "gatewise": "0.1.0",
        "baseline": "gelu",
        "arms": ["relu", "swiglu"],
        "levels": list(LEVELS),
        "sizes": {"dim": 384, "layers": 2, "heads": 6, "batch": 1, "threads": 1},
        "judge": {"alpha": 0.05, "margin": 0.02},
        "rows": rows,
        "warnings": ["An example: the numbers are invented."],
        "interrupted": False,
        "started": "2026-01-01T10:00:00+00:00",
        "seconds": 870.0,
        "budget_s": 900.0,
        "seed": 0,
        "environment": {"cpu": "an example processor", "cores": 2, "packages": {"torch": "2.13.0"}},
        "replay": "gatewise dilution",
    }


def moved(arm: str, than: str, estimate: float, width: float | None = 0.03) -> dict[str, Any]:
    interval = None if width is None else [estimate * (1 - width), estimate * (1 + width)]
    factor = max(estimate, 1 / estimate)
    return {"arm": arm, "than": than, "estimate": estimate, "interval": interval, "factor": factor}


def move(batch: int = 1, runtime: float = 0.4166, activation: float = 0.962) -> dict[str, Any]:
    moving = moved("relu/eager", "gelu/eager", activation)
    fast = moved("gelu/onnxruntime", "gelu/eager", runtime)
    return {
        "part": "inference",
        "conditions": {"batch": batch, "tokens": 16, "threads": 1, "device": "cpu"},
        "runtime": fast,
        "activation": moving,
        "runtimes": [fast, moved("gelu/compile", "gelu/eager", 0.8)],
        "activations": [moving, moved("silu/eager", "gelu/eager", 1.01, None)],
    }


def selection() -> dict[str, Any]:
    """Five candidates, two of them dominated, one recommended."""
    objectives = [
        {"name": "latency", "unit": "s", "direction": "lower"},
        {"name": "output_difference", "unit": "1 - cosine", "direction": "lower"},
        {"name": "size_bytes", "unit": "B", "direction": "lower"},
    ]
    rows = (
        ("gelu/eager", 0.0084, 0.0, 90.9e6, ["gelu/onnxruntime"]),
        ("gelu/onnxruntime", 0.0035, 1e-7, 90.5e6, []),
        ("relu/eager", 0.0081, 0.021, 90.9e6, ["gelu/onnxruntime", "relu/onnxruntime"]),
        ("relu/onnxruntime", 0.0034, 0.021, 90.5e6, []),
        ("gelu/a runtime with a very long name indeed", 0.0024, 0.0041, None, []),
    )
    points = [
        {
            "label": label,
            "values": {
                "latency": {"estimate": time_s, "interval": [time_s * 0.95, time_s * 1.05]},
                "output_difference": {"estimate": moved_by, "interval": None},
                "size_bytes": None if size is None else {"estimate": size, "interval": None},
            },
            "dominated_by": by,
            "front": not by,
        }
        for label, time_s, moved_by, size, by in rows
    ]
    return {
        "part": "inference",
        "objectives": objectives,
        "points": points,
        "recommendation": "gelu/onnxruntime",
        "reasons": ["it is the fastest whose outputs do not move"],
    }


def relative_selection() -> dict[str, Any]:
    """As a study writes it: one condition, values against the baseline's, one candidate out of its limit."""
    found = selection()
    for each in found["objectives"]:
        each |= {"unit": "against the baseline", "margin": 0.02}
    for point in found["points"]:
        values = point["values"]
        values["latency"] = {"estimate": values["latency"]["estimate"] / 0.0084, "interval": None}
        values["size_bytes"] = {"estimate": 0.996, "interval": None}
        point["refused"] = None
    late = found["points"][3]
    late |= {"refused": "output_difference at most 0.001: not met (0.021)", "front": True}
    return found | {"conditions": {"batch": 32, "tokens": 16, "threads": 1, "device": "cpu"}}


def generation() -> dict[str, Any]:
    texts = [
        {
            "prompt": "def main(",
            "by_arm": {"gelu": "self):\n    return <b>self</b>.x & 1", "relu": "args):\n\x1b[31mself"},
        },
        {"prompt": "import ", "by_arm": {"gelu": "sys", "relu": "```\n# a fence"}},
    ]
    return {"part": "training", "texts": texts, "facts": {"new_tokens": 48, "decoding": "greedy"}}


def with_extras(document: dict[str, Any]) -> dict[str, Any]:
    """A result with moves, a selection and continuations."""
    extras = {
        "moves": [move(), move(32, 0.55, 0.9)],
        "selection": [selection(), relative_selection()],
        "generation": [generation()],
    }
    return copy.deepcopy(document) | extras
