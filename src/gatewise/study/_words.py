"""Numbers and conditions in plain words, for headlines and answers."""

from collections.abc import Mapping
from typing import Any

from gatewise.core import Comparison

FASTER = {
    "latency": ("faster", "slower"),
    "gradient_time": ("faster", "slower"),
    "step_time": ("faster", "slower"),
    "time_to_target": ("sooner", "later"),
}
OTHER = {
    "throughput": ("more throughput", "less throughput"),
    "peak_memory": ("less memory", "more memory"),
    "training_memory": ("less memory", "more memory"),
    "heldout_loss": ("lower loss", "higher loss"),
    "shifted_loss": ("lower loss", "higher loss"),
    "gradient_spread": ("less spread", "more spread"),
    "curvature_spread": ("less spread", "more spread"),
    "steps_to_target": ("fewer steps", "more steps"),
}


def percent(fraction: float) -> str:
    """0.0312 as `3.1 %`; small ones with two digits."""
    size = abs(fraction) * 100
    return f"{size:.2f} %" if size < 0.95 else f"{size:.1f} %" if size < 99.5 else f"{size:.0f} %"


def change(metric: str, comparison: Comparison) -> str:
    """The estimate in words: `3.1 % slower`, `cosine .9977 to the baseline`."""
    estimate = comparison.estimate
    if estimate is None:
        return "not measured"
    if metric == "output_difference":
        return f"mean cosine {1 - estimate:.4f} to the baseline's outputs"
    if metric in ("quality", "heldout_accuracy"):
        return f"{estimate * 100:+.1f} points of accuracy".replace("-", "−")
    if comparison.kind == "difference":
        return f"{estimate:+.4g}".replace("-", "−")
    down, up = FASTER.get(metric) or OTHER.get(metric, ("lower", "higher"))
    if metric == "throughput":
        down, up = up, down
    if estimate >= 2 and metric in FASTER:
        return f"{estimate:.2f} times as long"
    return f"{percent(estimate - 1)} {up if estimate > 1 else down}"


def signed(fraction: float) -> str:
    """0.0312 as `+3.1 %`, with a real minus."""
    return f"{'−' if fraction < 0 else '+'}{percent(fraction)}"


def span(metric: str, comparison: Comparison) -> str:
    """The interval in words, with a space before it; empty where there is none."""
    if comparison.interval is None:
        return ""
    low, high = comparison.interval
    if metric == "output_difference":
        return f" ({1 - high:.4f} to {1 - low:.4f})"
    if metric == "quality":
        return f" ({low * 100:+.1f} to {high * 100:+.1f} points)".replace("-", "−")
    if comparison.kind == "difference":
        return f" ({low:+.4g} to {high:+.4g})".replace("-", "−")
    return f" ({signed(low - 1)} to {signed(high - 1)})"


def at(conditions: Mapping[str, Any], *, tokens: bool = False) -> str:
    """` at batch 32`, with a space before it, and its tokens where several are told apart; empty without a batch."""
    length = f", {conditions['tokens']} tokens" if tokens and "tokens" in conditions else ""
    return f" at batch {conditions['batch']}{length}" if "batch" in conditions else ""


def prefix(part: str) -> str:
    """`training: ` before a sentence about one part of several; nothing where a study has one unnamed part."""
    return "" if part == "main" else f"{part}: "


def sentence(text: str) -> str:
    """The text with a capital first."""
    return text[:1].upper() + text[1:]


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
